/**
 * Lays an image's layers out for a start (docs/layout.md): when all of them are converted, and before any is pushed, what a
 * start reads is looked for in them, and each layer that has some of it is written again with that first.
 */
import { rm } from 'node:fs/promises';
import { withPlace } from '../../../base/error.ts';
import { SECTOR_SIZE } from '../../../formats/lsmt/layout.ts';
import type { FrontRange } from '../../../formats/lsmt/rearrange.ts';
import { digestOf } from '../../../oci/digest.ts';
import { encodeJson } from '../../../oci/manifest.ts';
import type { ArtifactOptions } from '../../options.ts';
import type { PrefetchList } from '../../prefetch/prefetch-list.ts';
import type { CachedLayer, LayerBlobs } from '../../publish/output-manifest.ts';
import type { LayerBlob } from '../engines/engine.ts';
import type { ImageJob } from '../image-job.ts';
import { rearrangeFull, rearrangeIndexOnly } from './rearrange-layer.ts';
import { openSpooled } from './spooled-stack.ts';
import { rangesByLayer, startupRanges } from './startup-ranges.ts';

/** Bytes between the access points that are chosen from, unless the span is smaller or the layer very large. */
const LEAST_SPAN = 131_072;
/** Access points that are chosen from, about: their windows are held in memory. */
const MOST_POINTS = 8192;
/** Bytes of a tar for each of its gzip stream, at most, as layers of programs have it. */
const EXPANSION = 4;

/** Whether the request asks for this order. */
export function isLaidOut({ layout }: Pick<ArtifactOptions, 'layout'>): boolean {
  return layout === 'startup';
}

/** The layers that this conversion made, in the order of a start, given those below that were taken over. */
export async function layOut(
  job: ImageJob,
  reused: readonly CachedLayer[],
  made: readonly LayerBlobs[],
): Promise<LayerBlobs[]> {
  const { session, source } = job;
  const all = [...reused, ...made];
  const stack = await openSpooled(
    session,
    all.map(({ full, index }) => (full ?? index)!),
  );
  let ranges: FrontRange[][];
  try {
    const wanted = { lines: listOf(job)?.lines, config: source.config };
    const found = await startupRanges(stack.device, wanted, session.signal);
    ranges = rangesByLayer(stack.device, found, all.length);
  } finally {
    await stack.close();
  }
  const out: LayerBlobs[] = [];
  for (const [at, { full, index }] of made.entries()) {
    const position = reused.length + at;
    try {
      const own = ranges[position]!;
      out.push({
        full: full && (await replaced(full, await rearrangeFull(session, full, own))),
        index: index && (await replaced(index, await rearrangeIndexOnly(session, index, own))),
      });
    } catch (error) {
      throw withPlace(error, { layer: `${position + 1} of ${all.length}` });
    }
  }
  return out;
}

/** The new blob; the file of the old one is removed. */
async function replaced(old: LayerBlob, made: LayerBlob): Promise<LayerBlob> {
  if (made.path !== old.path && old.path !== undefined) await rm(old.path, { force: true });
  return made;
}

/** The list that the results carry: that of the request, else the one that is kept. */
function listOf({ session: { prefetch, kept }, source, kinds }: ImageJob): PrefetchList | undefined {
  if (prefetch !== undefined) return prefetch;
  for (const kind of ['full', 'containerd', 'index-only'] as const) {
    const list = kinds.has(kind) ? kept.of(kind, source.platform) : undefined;
    if (list !== undefined) return list;
  }
  return undefined;
}

/**
 * Stands for everything that decides the order of an image's layers, for the record of them: undefined without one. A layer's
 * bytes depend then on what the layers above it replace, too.
 */
export function layoutName(job: ImageJob): string | undefined {
  if (!isLaidOut(job.session.request.artifact)) return undefined;
  const { config } = job.source.config;
  const list = listOf(job);
  const source = list === undefined ? { config } : { list: list.lines.map(({ path }) => path) };
  return digestOf(encodeJson({ layout: 'startup', top: job.chain.at(-1), ...source }));
}

/** The distance of access points to record for a gzip layer of so many bytes, of which some are chosen later. */
export function recordedSpan(artifact: ArtifactOptions, size: number): number {
  const { span } = artifact;
  if (!isLaidOut(artifact)) return span;
  let out = span;
  // The points of the span itself have to be among them.
  while (out % (2 * SECTOR_SIZE) === 0 && out / 2 >= LEAST_SPAN && (size * EXPANSION) / (out / 2) <= MOST_POINTS)
    out /= 2;
  return out;
}
