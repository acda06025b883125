/**
 * The threads of one conversion, or of several that share them: some compress, two hash finished files, two read each gzip
 * stream. A thread starts when it is first needed and is kept for the next layer; one that fails is replaced. The output does
 * not depend on their number.
 */
import { Worker } from 'node:worker_threads';
import { AccelError } from '../../../base/error.ts';
import { threadProgram } from '../../../base/thread-code.ts';
import { GzipStream } from '../../../formats/gzip/stream.ts';
import { BatchPool } from '../../../formats/zfile/batches.ts';
import { type BlockFormat, makeBlockCompressor } from '../../../formats/zfile/compressor.ts';
import type { BlockCompressor } from '../../../formats/zfile/writer.ts';
import { Digester } from '../../../oci/digest.ts';
import { CompressThreads } from './compress-threads.ts';
import { digestOfFile, type FileDigest } from './digest-file.ts';
import { type GunzipOptions, type GunzipResult, GunzipThread } from './gunzip-thread.ts';
import { JobThread } from './job-thread.ts';
import type { WorkerRole } from './worker-messages.ts';

/** Bytes that are hashed once in about the time that a thread needs to start. */
const HASHED_AT_ONCE = 100_000_000;

/** Threads make few objects: room for more young ones (V8 takes 48 MiB) is filled with garbage before it is used again. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 6 };

/** A file to hash. */
export interface DigestFileOptions {
  /** Bytes of the file. */
  readonly size: number;
  /** Make its piece list, too. */
  readonly pieces: boolean;
}

/** Threads that convert; {@link Threads.close} ends them. */
export class Threads {
  readonly #count: number;
  readonly #compress: CompressThreads;
  /** Without threads: the memory of all batches. */
  readonly #batches = new BatchPool();
  #hashing: JobThread | undefined;
  #hashingPieces: JobThread | undefined;
  readonly #idle: GunzipThread[] = [];
  readonly #workers = new Set<Worker>();
  #closed = false;

  /** At most `count` threads compress; with 0 everything runs in the calling thread. */
  constructor(count: number) {
    this.#count = count;
    this.#compress = new CompressThreads(count, () => this.#jobThread());
  }

  /** Starts what a first layer needs, so that it is there when the layer's first bytes are. */
  warmUp(): void {
    if (this.#count === 0 || this.#workers.size > 0) return;
    this.#idle.push(this.#gunzipThread());
    this.#compress.warmUp();
  }

  /** A compressor of ZFile blocks, for any number of files at once. Throws `usage` for an invalid block size. */
  compressor(format: BlockFormat): BlockCompressor {
    return this.#count === 0 ? makeBlockCompressor(format, this.#batches) : this.#compress.compressor(format);
  }

  /**
   * Hashes a finished file of `size` bytes, and with `pieces` each piece of it. A short file is hashed by an idle thread, else
   * by separate ones, so that the blocks of the next layer do not wait: one for the whole and, as that hashes every byte a
   * second time, one for the pieces.
   */
  async digestFile(path: string, { size, pieces }: DigestFileOptions): Promise<FileDigest> {
    if (this.#count === 0) return digestOfFile(path, { pieces });
    const isShort = (pieces ? 2 : 1) * size <= HASHED_AT_ONCE;
    const idle = isShort && this.#hashing?.isAlive !== true ? this.#compress.idle : undefined;
    if (idle !== undefined) return idle.run({ type: 'digest', path, pieces });
    this.#hashing = this.#alive(this.#hashing);
    if (isShort || !pieces) return this.#hashing.run({ type: 'digest', path, pieces });
    this.#hashingPieces = this.#alive(this.#hashingPieces);
    const [whole, { pieceList }] = await Promise.all([
      this.#hashing.run({ type: 'digest', path, pieces: false }),
      this.#hashingPieces.run({ type: 'pieces', path }),
    ]);
    return { digest: whole.digest, pieceList };
  }

  /** Decompresses gzip; the pieces are views that are valid until the next one is asked for. */
  async *gunzip(source: AsyncIterable<Uint8Array>, options: GunzipOptions): AsyncGenerator<Uint8Array, GunzipResult> {
    if (this.#count === 0) return yield* gunzipHere(source, options);
    let thread = this.#idle.pop();
    while (thread?.isAlive === false) thread = this.#idle.pop();
    thread ??= this.#gunzipThread();
    let isFinished = false;
    try {
      const result = yield* thread.run(source, options);
      isFinished = true;
      return result;
    } finally {
      // A thread that failed or was left is somewhere within its stream and cannot read another one.
      if (isFinished) this.#idle.push(thread);
      else thread.terminate();
    }
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

  #alive(thread: JobThread | undefined): JobThread {
    return thread?.isAlive === true ? thread : this.#jobThread();
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

const STEP = 1 << 16;
