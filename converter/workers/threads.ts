/**
 * The threads of a conversion: some that compress, one for each gzip stream that is being read. Started when first
 * needed, kept for the next layer, ended together. The bytes that come out do not depend on how many there are.
 */
import { Worker } from 'node:worker_threads';
import { GzipStream } from '../../formats/gzip/stream.ts';
import { compressedBound, makeBlockCompressor } from '../../formats/zfile/compressor.ts';
import type { ZFileAlgorithm } from '../../formats/zfile/layout.ts';
import type { BlockCompressor } from '../../formats/zfile/writer.ts';
import { Digester } from '../../oci/digest.ts';
import { digestOfFile } from './digest-file.ts';
import { type GunzipOptions, type GunzipResult, GunzipThread } from './gunzip-thread.ts';
import { JobPool } from './job-pool.ts';
import type { WorkerRole } from './messages.ts';

/** The threads of one conversion. */
export class Threads {
  readonly #count: number;
  readonly #jobs: JobPool;
  readonly #idle: GunzipThread[] = [];
  readonly #workers = new Set<Worker>();

  /** `count` threads that compress and hash; with 0 everything runs in the calling thread. */
  constructor(count: number) {
    this.#count = count;
    this.#jobs = new JobPool(count, () => this.#start({ role: 'jobs' }));
  }

  /** Starts what a first layer needs, so that it is there when the layer's first bytes are. */
  warmUp(): void {
    if (this.#count === 0 || this.#workers.size > 0) return;
    this.#idle.push(this.#gunzipThread());
    this.#jobs.warmUp();
  }

  /** A compressor of ZFile blocks; its {@link BlockCompressor.compress} may be called many times at once. */
  async compressor(algorithm: ZFileAlgorithm, blockSize: number, level?: number): Promise<BlockCompressor> {
    if (this.#count === 0) return makeBlockCompressor(algorithm, blockSize, level);
    // Memory that a thread fills and the writer empties goes round: fresh buffers by the gigabyte keep V8 collecting.
    const free: Uint8Array[] = [];
    return {
      compress: async (bytes) => {
        const bound = compressedBound(bytes.length, blockSize);
        let into = free.pop();
        if (into === undefined || into.length < bound) into = new Uint8Array(new SharedArrayBuffer(bound));
        const { length, lengths } = await this.#jobs.run({
          type: 'compress',
          algorithm,
          blockSize,
          level,
          bytes,
          into,
        });
        const lent = into;
        return { bytes: lent.subarray(0, length), lengths, release: () => free.push(lent) };
      },
    };
  }

  /** SHA-256 of a finished file, as a digest. */
  async digestFile(path: string): Promise<string> {
    if (this.#count === 0) return digestOfFile(path);
    return (await this.#jobs.run({ type: 'digest', path })).digest;
  }

  /** Decompresses gzip; the pieces are views that are valid until the next one is asked for. */
  async *gunzip(source: AsyncIterable<Uint8Array>, options: GunzipOptions): AsyncGenerator<Uint8Array, GunzipResult> {
    if (this.#count === 0) return yield* gunzipHere(source, options);
    const thread = this.#idle.pop() ?? this.#gunzipThread();
    const result = yield* thread.run(source, options);
    // Only a thread that came to its end is clean; one that failed or was left is ended with the others.
    this.#idle.push(thread);
    return result;
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.terminate()));
  }

  #gunzipThread(): GunzipThread {
    return new GunzipThread((role) => this.#start(role));
  }

  #start(role: WorkerRole): Worker {
    const transferList = role.role === 'gunzip' ? [role.companion] : role.role === 'companion' ? [role.gunzip] : [];
    const worker = new Worker(workerFile(), { workerData: role, transferList });
    this.#workers.add(worker);
    worker.once('exit', () => this.#workers.delete(worker));
    // What they wait for keeps the process alive, not that they exist.
    worker.unref();
    return worker;
  }
}

/** The built worker; from the TypeScript sources (tests) the one in dist/, for Node 20 cannot run the source itself. */
function workerFile(): URL {
  const isSource = import.meta.url.endsWith('.ts');
  return new URL(isSource ? '../../dist/converter/workers/worker.js' : './worker.js', import.meta.url);
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
    // Short steps: what one of them may inflate to is all that is held.
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
