/**
 * The threads of one conversion, or of several that share them: some compress and hash, two read each gzip stream. A thread
 * starts when it is first needed and is kept for the next layer; one that fails is replaced. Small layers need none. The
 * output does not depend on their number.
 */
import { Worker } from 'node:worker_threads';
import { AccelError } from '../../../base/error.ts';
import { threadProgram } from '../../../base/thread-code.ts';
import { GzipStream } from '../../../formats/gzip/stream.ts';
import { deflatePart, type PartDeflater } from '../../../formats/gzip/writer.ts';
import { BatchPool } from '../../../formats/zfile/batches.ts';
import { type BlockFormat, makeBlockCompressor } from '../../../formats/zfile/compressor.ts';
import type { BlockCompressor } from '../../../formats/zfile/writer.ts';
import { zstdDecompressStream } from '../../../formats/zstd/stream.ts';
import { Digester } from '../../../oci/digest.ts';
import { CompressThreads } from './compress-threads.ts';
import { digestOfFile } from './digest-file.ts';
import { type FilePieces, LocalPieces } from './file-pieces.ts';
import {
  type GunzipOptions,
  type GunzipResult,
  GunzipThread,
  type StreamFormat,
  type StreamResult,
} from './gunzip-thread.ts';
import { JobThread } from './job-thread.ts';
import type { WorkerRole } from './worker-messages.ts';

/** Bytes of a compressed layer that is converted in the calling thread. */
const SMALL_LAYER = 1 << 19;
/**
 * Compressed bytes, in layers of any size, that are converted in the calling thread before threads start, which takes two tenths
 * of a processor second (README.md).
 */
const FIRST_BYTES = 1 << 22;
/** Bytes of a file that is hashed in the calling thread, and those where no thread runs. */
const SMALL_FILE = 1 << 21;
const FIRST_FILE = 1 << 23;
/** Bytes that are hashed in about the time that a thread needs to start. */
const HASHED_AT_ONCE = 100_000_000;

/** Threads make few objects: room for more young ones (V8 takes 48 MiB) is filled with garbage before it is used again. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 6 };

/** Threads that convert; {@link Threads.close} ends them. */
export class Threads {
  readonly #count: number;
  readonly #compress: CompressThreads;
  /** Without threads: the memory of all batches. */
  readonly #batches = new BatchPool();
  #hashing: JobThread | undefined;
  readonly #idle: GunzipThread[] = [];
  /** Gzip streams that are being read. */
  #streams = 0;
  readonly #workers = new Set<Worker>();
  /** Compressed bytes of the layers that were announced. */
  #bytes = 0;
  #closed = false;

  /** At most `count` threads compress; with 0 everything runs in the calling thread. */
  constructor(count: number) {
    this.#count = count;
    this.#compress = new CompressThreads(count, () => this.#jobThread());
  }

  /**
   * Announces a layer of `size` compressed bytes, each once: the first that is worth it starts the threads, so that they are
   * there when its first bytes are.
   */
  warmUp(size: number): void {
    this.#bytes += size;
    const isEnough = size > SMALL_LAYER && this.#bytes > FIRST_BYTES;
    if (this.#count === 0 || !isEnough || this.#workers.size > 0) return;
    this.#idle.push(this.#gunzipThread());
    this.#compress.warmUp();
  }

  /**
   * A compressor of ZFile blocks, for any number of files at once, made of a layer of `size` compressed bytes. Throws `usage`
   * for an invalid block size.
   */
  compressor(format: BlockFormat, size: number): BlockCompressor {
    return this.#isHere(size) ? makeBlockCompressor(format, this.#batches) : this.#compress.compressor(format);
  }

  /** Deflates the blob that is made of a layer of `size` compressed bytes. */
  deflater(size: number): PartDeflater {
    if (!this.#isHere(size)) return (bytes) => this.#compress.deflate(bytes);
    return async (bytes) => deflatePart(bytes);
  }

  /** Hashes the pieces of a file that is made of a layer of `size` compressed bytes, while it is written. */
  pieces(size: number): FilePieces {
    return this.#isHere(size) ? new LocalPieces() : this.#compress.pieces();
  }

  /**
   * The digest of a finished file of `size` bytes. A compress thread hashes it if that takes short or nothing else is to be
   * compressed, else a thread for that, so that the blocks of the next layer do not wait.
   */
  async digestFile(path: string, size: number): Promise<string> {
    const most = this.#workers.size === 0 ? FIRST_FILE : SMALL_FILE;
    if (this.#count === 0 || size <= most) return digestOfFile(path);
    const isLast = this.#streams === 0;
    const idle =
      (isLast || size <= HASHED_AT_ONCE) && this.#hashing?.isAlive !== true ? this.#compress.idle : undefined;
    if (idle === undefined && this.#hashing?.isAlive !== true) this.#hashing = this.#jobThread();
    return (await (idle ?? this.#hashing!).run({ type: 'digest', path })).digest;
  }

  /** Decompresses gzip; the pieces are views that are valid until the next one is asked for. */
  async *gunzip(source: AsyncIterable<Uint8Array>, options: GunzipOptions): AsyncGenerator<Uint8Array, GunzipResult> {
    if (this.#isHere(options.size)) return yield* gunzipHere(source, options);
    const { span, members } = options;
    const { gzip, digest } = yield* this.#decompress(source, { format: 'gzip', span, members });
    return { gzip: gzip!, digest };
  }

  /**
   * Decompresses zstd; the pieces are views that are valid until the next one is asked for. Returns the digest of all.
   * `size`: bytes of the stream, as far as they are known.
   */
  async *unzstd(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array, string> {
    if (this.#isHere(size)) return yield* hashed(zstdDecompressStream(source));
    return (yield* this.#decompress(source, { format: 'zstd' })).digest;
  }

  async *#decompress(
    source: AsyncIterable<Uint8Array>,
    format: StreamFormat,
  ): AsyncGenerator<Uint8Array, StreamResult> {
    let thread = this.#idle.pop();
    while (thread?.isAlive === false) thread = this.#idle.pop();
    thread ??= this.#gunzipThread();
    let isFinished = false;
    this.#streams++;
    try {
      const result = yield* thread.run(source, format);
      isFinished = true;
      return result;
    } finally {
      this.#streams--;
      // A thread that failed or was left is somewhere within its stream and cannot read another one.
      if (isFinished) this.#idle.push(thread);
      else thread.terminate();
    }
  }

  /** Threads that run. */
  get started(): number {
    return this.#workers.size;
  }

  /** Ends all threads, whatever they do; none can be used afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    // A late answer unrefs its thread; then only this timer keeps the process alive until the thread has ended.
    const alive = setInterval(() => undefined, 1000);
    try {
      await Promise.all([...this.#workers].map((worker) => worker.terminate()));
    } finally {
      clearInterval(alive);
    }
  }

  /** Whether a layer of so many compressed bytes is converted in the calling thread, as things are. */
  #isHere(size: number): boolean {
    return this.#count === 0 || size <= (this.#workers.size === 0 ? FIRST_BYTES : SMALL_LAYER);
  }

  #jobThread(): JobThread {
    return new JobThread(this.#start({ role: 'jobs' }));
  }

  #gunzipThread(): GunzipThread {
    return new GunzipThread((role) => this.#start(role));
  }

  #start(role: WorkerRole): Worker {
    if (this.#closed) throw new AccelError('internal', 'the threads of the conversion are closed');
    const transferList = role.role === 'gunzip' ? [role.companion] : role.role === 'companion' ? [role.gunzip] : [];
    const thread = threadProgram(workerFile()) ?? { program: workerFile(), eval: false };
    const worker = new Worker(thread.program, {
      eval: thread.eval,
      workerData: role,
      transferList,
      resourceLimits: RESOURCE_LIMITS,
    });
    this.#workers.add(worker);
    worker.once('exit', () => this.#workers.delete(worker));
    // Work in progress keeps the process alive, an idle thread does not.
    worker.unref();
    return worker;
  }
}

/** The built worker; for the TypeScript sources (tests) the one in dist/, because Node 20 cannot run the source itself. */
function workerFile(): URL {
  const isSource = import.meta.url.endsWith('.ts');
  return new URL(isSource ? '../../../dist/converter/layer/workers/worker.js' : './worker.js', import.meta.url);
}

async function* hashed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, string> {
  const digester = new Digester();
  for await (const piece of source) {
    digester.update(piece);
    yield piece;
  }
  return digester.digest();
}

async function* gunzipHere(
  source: AsyncIterable<Uint8Array>,
  options: GunzipOptions,
): AsyncGenerator<Uint8Array, GunzipResult> {
  const digester = new Digester();
  let pieces: Uint8Array[] = [];
  const stream = new GzipStream({
    members: options.members,
    ...(options.span === undefined ? {} : { span: options.span }),
    onOutput(bytes) {
      digester.update(bytes);
      pieces.push(bytes.slice());
    },
  });
  for await (const chunk of source) {
    // Short steps bound the memory: only what one step inflates to is held.
    for (let from = 0; from < chunk.length; from += STEP) {
      stream.push(chunk.subarray(from, from + STEP));
      yield* pieces;
      pieces = [];
    }
  }
  const gzip = stream.finish();
  yield* pieces;
  return { gzip, digest: digester.digest() };
}

/** Bytes inflated at a time: to at most a thousand times as many. */
const STEP = 1 << 13;
