/** One layer, in one pass: fetch, verify, decompress, verify, apply to the file system, hand on to the engines. */
import { AccelError, withPlace } from '../base/error.ts';
import { TarApplier } from '../formats/ext4/apply-tar.ts';
import type { Ext4Image } from '../formats/ext4/image.ts';
import { BLOCK_SIZE } from '../formats/ext4/layout.ts';
import type { GzipSummary } from '../formats/gzip/stream.ts';
import { TarParser } from '../formats/tar/parser.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { Digester } from '../oci/digest.ts';
import { layerMediaType, mediaFamily } from '../oci/media-types.ts';
import type { Fetcher } from '../oci/storage.ts';
import type { LayerEngine } from './engines/engine.ts';
import { refuseUnindexable } from './engines/index-only.ts';
import { decompress, type SniffedLayer, type SourceSummary, sniffLayer } from './source-layer.ts';
import type { Threads } from './workers/threads.ts';

/** What to convert and with what. */
export interface LayerJob {
  readonly source: Fetcher;
  readonly descriptor: Descriptor;
  /** The digest that the image config gives for the uncompressed tar. */
  readonly diffId: string;
  /** The state after the layers below; holds this layer too when the job is done. */
  readonly image: Ext4Image;
  /** What makes the blobs; closed by the caller. */
  readonly engines: readonly LayerEngine[];
  /** Distance of access points in bytes; undefined when no engine wants an index. */
  readonly span: number | undefined;
  /** True when a layer that cannot be indexed is an error, not a reason to keep to the full blob. */
  readonly mustIndex: boolean;
  readonly threads: Threads;
  readonly signal: AbortSignal | undefined;
  onRead(bytes: number): void;
  onWarning(message: string, path?: string): void;
}

/** A layer that was applied and given to the engines; their blobs are complete once each has finished. */
export interface AppliedLayer {
  /** What the engines need to finish. */
  readonly source: SourceSummary;
  /** Entries of the tar. */
  readonly entries: number;
}

/** Reads one layer into the state and the engines. What it throws names the byte or path, not yet the layer. */
export async function applyLayer(job: LayerJob): Promise<AppliedLayer> {
  const blob = await job.source.fetch(job.descriptor, { signal: job.signal });
  const reader = counted(blob, job)[Symbol.asyncIterator]();
  try {
    const sniffed = await sniffLayer(reader, job.descriptor.mediaType);
    if (sniffed.mismatch !== undefined) job.onWarning(sniffed.mismatch);
    if (job.mustIndex) refuseUnindexable({ compression: sniffed.compression, gzip: undefined });
    const { gzip, tarSize, entries } = await apply(job, sniffed);
    // A decompressor stops at the end of its stream; the rest belongs to the digest all the same.
    await drain(reader);
    await commit(job);
    return { source: summarize(job.descriptor, sniffed, gzip, tarSize), entries };
  } catch (error) {
    throw await rootCause(error, reader);
  } finally {
    await reader.return?.(undefined);
  }
}

async function* counted(blob: AsyncIterable<Uint8Array>, job: LayerJob): AsyncGenerator<Uint8Array> {
  for await (const chunk of blob) {
    job.onRead(chunk.length);
    yield chunk;
  }
}

async function apply(
  job: LayerJob,
  layer: SniffedLayer,
): Promise<{ gzip: GzipSummary | undefined; tarSize: number; entries: number }> {
  const { image, engines } = job;
  image.beginLayer();
  const applier = new TarApplier(image, tee(engines), (message, path) => job.onWarning(message, path));
  const parser = new TarParser(applier);
  const digester = new Digester();
  const pieces = decompress(layer, job.span, job.threads);
  for (;;) {
    const next = await pieces.next();
    if (next.done === true) {
      parser.end();
      checkDiffId(digester, job.diffId);
      return { gzip: next.value, tarSize: digester.size, entries: applier.entries };
    }
    digester.update(next.value);
    parser.push(next.value);
    for (const engine of engines) if (engine.saturated) await engine.drain();
    job.signal?.throwIfAborted();
  }
}

/** One sink that feeds all engines: the layer is read once, whatever is made of it. */
function tee(engines: readonly LayerEngine[]): Pick<LayerEngine, 'beginRun' | 'write'> {
  const [only] = engines;
  if (engines.length === 1 && only !== undefined) return only;
  return {
    beginRun(...run) {
      for (const engine of engines) engine.beginRun(...run);
    },
    write(bytes) {
      for (const engine of engines) engine.write(bytes);
    },
  };
}

function checkDiffId(digester: Digester, expected: string): void {
  const found = digester.digest();
  if (found === expected) return;
  throw new AccelError('diff-id-mismatch', 'the uncompressed layer is not the one that the image config names', {
    expected,
    found,
    hint: 'the image is damaged or was put together wrongly: build and push it again',
  });
}

async function commit({ image, engines }: LayerJob): Promise<void> {
  for (const { first, count } of image.discarded) {
    for (const engine of engines) engine.discard(first * BLOCK_SIZE, count * BLOCK_SIZE);
  }
  for (const { block, bytes } of image.commit()) {
    for (const engine of engines) {
      engine.metadata(block * BLOCK_SIZE, bytes);
      if (engine.saturated) await engine.drain();
    }
  }
}

function summarize(
  { digest, size, mediaType }: Descriptor,
  { compression, mismatch }: SniffedLayer,
  gzip: GzipSummary | undefined,
  tarSize: number,
): SourceSummary {
  // Where the media type lies, the artifact says what the blob is.
  const trueType = mismatch === undefined ? mediaType : layerMediaType(mediaFamily(mediaType), compression);
  return { descriptor: { mediaType: trueType, digest, size }, compression, tarSize, gzip };
}

async function drain(reader: AsyncIterator<Uint8Array>): Promise<void> {
  while ((await reader.next()).done !== true);
}

/** Codes that damaged bytes may have caused. */
const MAYBE_DAMAGED = new Set(['gzip-invalid', 'zstd-invalid', 'tar-invalid', 'diff-id-mismatch', 'layer-unsupported']);

/**
 * The reason behind a failure: where bytes did not make sense, the rest of the blob is read too, and if it is not what
 * its digest says, that is what is wrong.
 */
async function rootCause(error: unknown, reader: AsyncIterator<Uint8Array>): Promise<unknown> {
  if (!(error instanceof AccelError) || !MAYBE_DAMAGED.has(error.code)) return error;
  try {
    await drain(reader);
    return error;
  } catch (source) {
    const isSourceFault =
      source instanceof AccelError && (source.code === 'digest-mismatch' || source.code === 'size-mismatch');
    return isSourceFault ? withPlace(source, { seen: error.message }) : error;
  }
}
