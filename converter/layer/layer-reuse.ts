/** Takes layers over from earlier conversions, and records the new ones for later conversions. */
import { awaitAll, Limiter } from '../../base/limiter.ts';
import { unlessAborted } from '../../base/unless-aborted.ts';
import type { LayerKind } from '../events.ts';
import { type CachedBlob, type CacheEntry, type LayerKey, nameOf } from '../publish/layer-record.ts';
import { type CachedLayer, chooseBlobs, type LayerBlobs } from '../publish/output-manifest.ts';
import { type ImageJob, layerIdOf, wantsFull, wantsIndex } from './image-job.ts';
import type { Claim } from './layer-claims.ts';
import { isFlattened, sourcesOf } from './layer-groups.ts';
import { wantsPieceLists, withPieceList } from './piece-lists.ts';
import { bringSourceBlob } from './source-blob.ts';
import { layoutName } from './startup/startup-layout.ts';
import { problemOfReused } from './verify-reused.ts';

/** Layers that are looked for at a time. */
const LOOKUPS_AT_ONCE = 8;

/** The record's entries of a layer. */
interface KnownLayer {
  readonly full: CacheEntry | undefined;
  readonly index: CacheEntry | undefined;
}

/** The layers that need no conversion. */
export interface ReusedLayers {
  /** The lowest layers of the image. */
  readonly layers: readonly CachedLayer[];
  /** False if the bottom layer cannot be indexed: then no layer above it may be index-only (docs/formats.md §5). */
  readonly canIndex: boolean;
  /** Of the layers above them, which this conversion makes. */
  readonly claim: Claim;
}

/** Layers that this run made, as they are recorded. */
export interface MadeLayers {
  /** Position of the lowest one in the image. */
  readonly first: number;
  readonly blobs: readonly LayerBlobs[];
  /** Why layers have no index-only blob, by position. */
  readonly notIndexable: ReadonlyMap<number, string>;
}

/**
 * Takes over the lowest layers whose wanted blobs the target has, up to the first that it lacks, and claims the others;
 * where another conversion makes one of them, it waits for that. With `verifyReused` the layers are compared with the
 * source, and none is taken over, after a warning, if they differ.
 */
export async function reuseLayers(job: ImageJob): Promise<ReusedLayers> {
  const { known, claim } = await lookUpAndClaim(job);
  try {
    return { ...(await takeOver(job, known)), claim };
  } catch (error) {
    claim.releaseAll();
    throw error;
  }
}

/** The lowest layers that are known, when no other conversion makes one of the layers above them. */
async function lookUpAndClaim(
  job: ImageJob,
): Promise<{ readonly known: readonly CachedLayer[]; readonly claim: Claim }> {
  const { claims } = job.session.cache;
  const keys = job.groups.map((_, index) => claimOf(job, index));
  for (;;) {
    await unlessAborted(claims.pending(keys) ?? Promise.resolve(), job.session.signal);
    const known = knownLayers(job, await lookUp(job));
    const missing = keys.slice(known.length);
    // Another conversion may have begun one of them meanwhile.
    if (claims.pending(missing) === undefined) return { known, claim: claims.claim(missing) };
  }
}

/** The layers up to the first of which a wanted blob is not known. */
function knownLayers(job: ImageJob, looked: readonly KnownLayer[]): CachedLayer[] {
  const layers: CachedLayer[] = [];
  let canIndex = true;
  for (const [index, known] of looked.entries()) {
    const reused = reusable(job, known, canIndex);
    if (reused === undefined) break;
    if (index === 0 && reused.index === undefined) canIndex = false;
    layers.push(reused);
  }
  return layers;
}

async function takeOver(
  job: ImageJob,
  known: readonly CachedLayer[],
): Promise<Pick<ReusedLayers, 'layers' | 'canIndex'>> {
  const layers: CachedLayer[] = [];
  for (const [index, reused] of known.entries()) {
    const full = await withList(job, index, reused.full);
    layers.push({ full, index: await withList(job, index, reused.index) });
  }
  const problem = await findProblem(job, layers);
  if (problem === undefined) {
    for (const [index, layer] of layers.entries()) await announce(job, index, layer);
    return { layers, canIndex: layers.length === 0 || layers[0]!.index !== undefined };
  }
  layers.forEach((_, index) => {
    for (const kind of ['full', 'index-only'] as const) job.session.cache.forget(kind, keyOf(job, index));
  });
  const message = `${job.source.platform}: layers of the record are not those of the source and are converted again: ${problem}`;
  job.session.emit({ type: 'warning', message });
  return { layers: [], canIndex: true };
}

/** Names a layer with the blobs that the job wants of it. */
export function claimOf(job: ImageJob, index: number): string {
  const key = keyOf(job, index);
  return [wantsFull(job) ? nameOf('full', key) : '', wantsIndex(job) ? nameOf('index-only', key) : ''].join(' ');
}

/** Adds layers to the session's record. */
export function recordLayers(job: ImageJob, { first, blobs, notIndexable }: MadeLayers): void {
  const { cache } = job.session;
  blobs.forEach(({ full, index }, at) => {
    const position = first + at;
    const key = keyOf(job, position);
    if (full !== undefined) cache.add('full', key, full);
    if (index !== undefined) cache.add('index-only', key, index);
    const reason = notIndexable.get(position);
    if (reason !== undefined) cache.add('index-only', key, { notIndexable: reason });
  });
}

/** Looks up the wanted blobs of each layer: those in the record that the target has. */
async function lookUp(job: ImageJob): Promise<KnownLayer[]> {
  const limiter = new Limiter(LOOKUPS_AT_ONCE);
  const find = (kind: LayerKind, index: number): Promise<CacheEntry | undefined> =>
    limiter.run(() => job.session.cache.find(kind, keyOf(job, index)));
  const looking = job.groups.map(async (group, at) => {
    const [full, index] = await awaitAll([
      wantsFull(job) ? find('full', at) : undefined,
      wantsIndex(job) && !isFlattened(group) ? find('index-only', at) : undefined,
    ]);
    return { full, index: isFlattened(group) ? { notIndexable: 'flattened' } : index };
  });
  return awaitAll(looking);
}

/** The blobs of a layer if all that are wanted are known. */
function reusable(job: ImageJob, { full, index }: KnownLayer, canIndex: boolean): CachedLayer | undefined {
  if (wantsFull(job) && (full === undefined || 'notIndexable' in full)) return undefined;
  if (wantsIndex(job) && canIndex && index === undefined) return undefined;
  const isIndexed = index !== undefined && !('notIndexable' in index);
  if (index !== undefined && !isIndexed && job.kinds.has('index-only')) return undefined;
  return { full: full as CachedBlob | undefined, index: canIndex && isIndexed ? index : undefined };
}

/** The blob with the list of piece hashes that the request wants; a new list is recorded. */
async function withList(job: ImageJob, index: number, blob: CachedBlob | undefined): Promise<CachedBlob | undefined> {
  const { session } = job;
  if (blob === undefined) return undefined;
  const listed = await withPieceList(session, blob);
  if (listed !== blob && wantsPieceLists(session.request)) session.cache.add(blob.kind, keyOf(job, index), listed);
  return listed;
}

async function announce(job: ImageJob, index: number, reused: CachedLayer): Promise<void> {
  if (reused.index !== undefined) await bringSourceBlob(job.session, sourcesOf(job.source, job.groups[index]!)[0]!);
  const outputs = [reused.full, reused.index]
    .filter((blob) => blob !== undefined)
    .map(({ kind, digest, size }) => ({ kind, digest, size }));
  job.session.emit({ type: 'layer-reused', layer: layerIdOf(job, index), outputs });
}

async function findProblem(job: ImageJob, layers: readonly CachedLayer[]): Promise<string | undefined> {
  if (job.session.request.verifyReused !== true || layers.length === 0) return undefined;
  const stacks = [...job.kinds].map((kind) => chooseBlobs(kind, layers));
  // Kinds may share all blobs.
  const distinct = new Map(stacks.map((stack) => [stack.map(({ digest }) => digest).join(), stack]));
  for (const stack of distinct.values()) {
    const problem = await problemOfReused(job, stack);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function keyOf(job: ImageJob, index: number): LayerKey {
  const { session, source, virtualSize, chain, groups } = job;
  const sourceDigest = sourcesOf(source, groups[index]!).at(-1)!.digest;
  const { artifact } = session.request;
  return { chainId: chain[index]!, virtualSize, artifact, sourceDigest, layout: layoutName(job) };
}
