/** Reads one layer in one pass: fetch, verify, decompress, verify, apply to the file system, feed the engines. */
import { AccelError, withPlace } from '../../base/error.ts';
import { Pacer } from '../../base/pacer.ts';
import { TarApplier, type WarningSink } from '../../formats/ext4/apply-tar.ts';
import type { Ext4Image } from '../../formats/ext4/ext4-image.ts';
import { BLOCK_SIZE } from '../../formats/ext4/layout.ts';
import type { SurveyedContent, SurvivorStore } from '../../formats/ext4/surveyed-content.ts';
import { TarParser } from '../../formats/tar/parser.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { Digester, splitDigest } from '../../oci/digest.ts';
import { layerMediaType, mediaFamily } from '../../oci/media-types.ts';
import type { Fetcher } from '../../oci/storage.ts';
import type { LayerEngine } from './engines/engine.ts';
import { refuseUnindexable } from './engines/index-only.ts';
import { decompress, type SniffedLayer, type SourceSummary, sniffLayer, type TarSummary } from './sniff.ts';
import type { Threads } from './workers/threads.ts';

/** A layer to read. */
export interface LayerSource {
  readonly source: Fetcher;
  readonly descriptor: Descriptor;
  /** Distance of access points in bytes; undefined when no engine wants an index. */
  readonly span: number | undefined;
  /** Whether a layer that cannot be indexed is an error. */
  readonly mustIndex: boolean;
  readonly threads: Threads;
  /** Decompressing waits for it, fetching does not; omitted: for nothing. Must not reject. */
  readonly after?: Promise<void> | undefined;
  readonly signal: AbortSignal | undefined;
  onRead(bytes: number): void;
  onWarning(message: string, path?: string): void;
}

/** Where a layer's tar goes. */
export interface LayerJob {
  /** Limit of the tar's size in bytes. */
  readonly maxSize: number;
  /** The digest that the image config gives for the uncompressed tar. */
  readonly diffId: string;
  /** The state after the layers below; it includes this layer when the job is done. */
  readonly image: Ext4Image;
  /** Engines that make the blobs; the caller closes them. */
  readonly engines: readonly LayerEngine[];
  /** One of several readings from which one layer is made; omitted: the layer is read once and complete then. */
  readonly reading?: Reading;
  /** Called when the last byte of the blob has come: the next one may be fetched, to wait until this one is decompressed. */
  onFetched(): void;
}

/**
 * One of the readings of layers that become one: a survey applies the tree, a store the content that is left. The caller
 * commits after the last one.
 */
export interface Reading {
  readonly kind: 'survey' | 'store';
  readonly content: SurveyedContent;
}

/** A layer that was applied and written to the engines, which are yet to be finished. */
export interface AppliedLayer {
  /** Input of {@link LayerEngine.finish}. */
  readonly source: SourceSummary;
  /** Entries of the tar. */
  readonly entries: number;
}

/** A layer that is being read. Its errors name the byte or path; the caller adds the layer. */
export class OpenLayer {
  readonly #source: LayerSource;
  readonly #reader: AsyncIterator<Uint8Array>;
  readonly #sniffed: SniffedLayer;
  readonly #pieces: AsyncGenerator<Uint8Array, TarSummary>;
  /** The first piece is requested as soon as it may be: decompressing starts, and continues until the buffers are full. */
  readonly #first: Promise<IteratorResult<Uint8Array, TarSummary>>;
  readonly #fetched: Promise<void>;
  readonly #decompressed = new Signal();
  readonly #giveUp: AbortController;

  private constructor(source: LayerSource, blob: OpenBlob, sniffed: SniffedLayer) {
    this.#source = source;
    this.#reader = blob.reader;
    this.#fetched = blob.fetched;
    this.#giveUp = blob.giveUp;
    this.#sniffed = sniffed;
    this.#pieces = decompress(sniffed, { span: source.span, size: source.descriptor.size }, source.threads);
    this.#first = source.after === undefined ? this.#pieces.next() : source.after.then(() => this.#pieces.next());
    // `apply` reports a failure; that of a layer that is never applied does not matter.
    this.#first.catch(() => undefined);
  }

  /** Starts to fetch and decompress a layer. */
  static async open(source: LayerSource): Promise<OpenLayer> {
    const giveUp = new AbortController();
    const signal = source.signal === undefined ? giveUp.signal : AbortSignal.any([source.signal, giveUp.signal]);
    const blob = await source.source.fetch(source.descriptor, { signal, transient: true });
    const counted = { ...count(blob, source), giveUp };
    const { reader } = counted;
    try {
      const sniffed = await sniffLayer(reader, source.descriptor.mediaType);
      if (sniffed.mismatch !== undefined) source.onWarning(sniffed.mismatch);
      if (source.mustIndex) refuseUnindexable({ compression: sniffed.compression, gzip: undefined });
      return new OpenLayer(source, counted, sniffed);
    } catch (error) {
      const cause = await rootCause(error, reader);
      await reader.return?.(undefined);
      throw cause;
    }
  }

  /** Resolves when the threads that decompress are free for another layer. */
  get decompressed(): Promise<void> {
    return this.#decompressed.given;
  }

  /** Reads the layer into the state and the engines. */
  async apply(job: LayerJob): Promise<AppliedLayer> {
    void this.#fetched.then(() => job.onFetched());
    try {
      const { tar, entries } = await this.#read(job);
      this.#decompressed.give();
      // A decompressor stops at the end of its stream; the rest of the blob is part of the digest too.
      await drain(this.#reader);
      if (job.reading === undefined) await commitLayer(job, this.#source.signal);
      return { source: summarize(this.#source.descriptor, this.#sniffed, tar), entries };
    } catch (error) {
      throw await rootCause(await this.#streamFault(error, job.maxSize), this.#reader);
    } finally {
      await this.close();
    }
  }

  /**
   * Replaces an error in the content by the damage of the stream that caused it, if there is any: checksums are verified at
   * the end of the stream, after its output was used. Reads at most `maxSize` bytes, because a stream may be endless.
   */
  async #streamFault(error: unknown, maxSize: number): Promise<unknown> {
    if (!(error instanceof AccelError) || !MAYBE_DAMAGED.has(error.code)) return error;
    try {
      for (let left = maxSize; left > 0; ) {
        this.#source.signal?.throwIfAborted();
        const next = await this.#pieces.next();
        if (next.done === true) break;
        left -= next.value.length;
      }
      return error;
    } catch (fault) {
      return fault instanceof AccelError && STREAM_FAULTS.has(fault.code)
        ? withPlace(fault, { seen: error.message })
        : error;
    }
  }

  /** Ends reading, also of a source that sends nothing; {@link apply} does so itself. */
  async close(): Promise<void> {
    this.#giveUp.abort();
    await this.#pieces.return(undefined as never);
    this.#decompressed.give();
    await this.#reader.return?.(undefined);
  }

  async #read(job: LayerJob): Promise<{ tar: TarSummary; entries: number }> {
    const { engines, diffId, maxSize } = job;
    const { signal, onWarning } = this.#source;
    const pacer = new Pacer(signal);
    const applier = handlerFor(job, onWarning);
    // Threads compute sha256, which almost all images use.
    const { algorithm } = splitDigest(diffId);
    const other = algorithm === 'sha256' ? undefined : new Digester(algorithm);
    const parser = new TarParser(applier, { archiveBytes: maxSize });
    for (let next = await this.#first; ; next = await this.#pieces.next()) {
      if (next.done === true) {
        parser.end();
        checkDiffId(other?.digest() ?? next.value.digest, diffId);
        return { tar: next.value, entries: applier.entries };
      }
      other?.update(next.value);
      for (const _ of parser.steps(next.value)) if (pacer.due) await pacer.pause();
      for (const engine of engines) if (engine.saturated) await engine.drain();
      if (pacer.due) await pacer.pause();
      signal?.throwIfAborted();
    }
  }
}

function handlerFor({ image, engines, reading }: LayerJob, onWarning: WarningSink): TarApplier | SurvivorStore {
  if (reading?.kind === 'store') return reading.content.store(tee(engines));
  image.beginLayer();
  return new TarApplier(image, reading?.content ?? tee(engines), onWarning);
}

/** A blob whose bytes are reported as they come. */
interface CountedBlob {
  readonly reader: AsyncIterator<Uint8Array>;
  /** Resolves after the last byte; never if reading fails or is given up. */
  readonly fetched: Promise<void>;
}

/** A blob that is being fetched. */
interface OpenBlob extends CountedBlob {
  /** Ends it. */
  readonly giveUp: AbortController;
}

function count(blob: AsyncIterable<Uint8Array>, source: LayerSource): CountedBlob {
  const fetched = new Signal();
  async function* read(): AsyncGenerator<Uint8Array> {
    for await (const chunk of blob) {
      source.onRead(chunk.length);
      yield chunk;
    }
    fetched.give();
  }
  return { reader: read(), fetched: fetched.given };
}

/** A promise that is resolved from outside. */
class Signal {
  give: () => void = () => undefined;
  readonly given: Promise<void> = new Promise((resolve) => {
    this.give = resolve;
  });
}

/** A sink that feeds all engines, so that the layer is read once. */
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

function checkDiffId(found: string, expected: string): void {
  if (found === expected) return;
  throw new AccelError('diff-id-mismatch', 'the uncompressed layer is not the one that the image config names', {
    expected,
    found,
    hint: 'the image is damaged or inconsistent: build and push it again',
  });
}

/** Steps of a commit between two looks at the clock, which take as long as a step does. */
const STEPS_BETWEEN_LOOKS = 16;

/** Ends a layer: the metadata of the file system follows its content. */
export async function commitLayer(
  { image, engines }: Pick<LayerJob, 'image' | 'engines'>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pacer = new Pacer(signal);
  for (const { first, count } of image.discarded) {
    for (const engine of engines) engine.discard(first * BLOCK_SIZE, count * BLOCK_SIZE);
  }
  let steps = 0;
  for (const step of image.commitSteps()) {
    if (++steps % STEPS_BETWEEN_LOOKS === 0 && pacer.due) await pacer.pause();
    if (step === undefined) continue;
    for (const engine of engines) {
      engine.metadata(step.block * BLOCK_SIZE, step.bytes);
      if (engine.saturated) await engine.drain();
    }
  }
}

function summarize(
  { digest, size, mediaType }: Descriptor,
  { compression }: SniffedLayer,
  { gzip, size: tarSize }: TarSummary,
): SourceSummary {
  // The type of the content: a declared one may be wrong, and of non-distributable ones runtimes do not know that they are gzip.
  const trueType = layerMediaType(mediaFamily(mediaType), compression);
  return { descriptor: { mediaType: trueType, digest, size }, compression, tarSize, gzip };
}

async function drain(reader: AsyncIterator<Uint8Array>): Promise<void> {
  while ((await reader.next()).done !== true);
}

/** Codes of a damaged compressed stream or blob. */
const STREAM_FAULTS = new Set(['gzip-invalid', 'zstd-invalid', 'digest-mismatch', 'size-mismatch']);

/** Codes that damaged bytes may cause. */
const MAYBE_DAMAGED = new Set(['gzip-invalid', 'zstd-invalid', 'tar-invalid', 'diff-id-mismatch', 'layer-unsupported']);

/**
 * Finds the cause of a failure: if the content was invalid, the rest of the blob is read too, and a digest or size that does
 * not match is reported instead.
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
