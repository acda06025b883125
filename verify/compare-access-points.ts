/**
 * Checks each access point of a gzip index. Reading files in device order runs through most points without restarting at
 * them; a node reads at random and does restart.
 */
import { createHash, type Hash } from 'node:crypto';
import { withPlace } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import type { SeekIndex, SeekPoint } from '../formats/gzip/points.ts';
import { GzipIndexReader } from '../formats/gzip/reader.ts';
import { Inflater } from '../formats/kernels/inflate.ts';
import type { InflateMachine } from '../formats/kernels/inflate-machine.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { RangeFetcher, ReadOptions } from '../oci/storage.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** Bytes of output after a point that can depend on its window (RFC 1951: distances reach back 32 KiB). */
const PROBED = 32_768;
/** Bytes fetched for them: incompressible data takes slightly more than its size. */
const FETCHED = 40_960;
/** Largest number of points within {@link PROBED} bytes; usual indexes have one in a megabyte. */
const MAX_CROWD = 64;
const PARALLEL = 4;

/** Hashes the part of the tar that follows each access point, while the tar is read once. */
export class PointProbe {
  readonly index: SeekIndex;
  readonly #digests = new Map<number, string>();
  #active: { readonly start: number; readonly end: number; readonly hash: Hash }[] = [];
  #next = 0;
  #offset = 0;
  #crowded = false;

  constructor(index: SeekIndex) {
    this.index = index;
  }

  /** Bytes of the tar so far. */
  get size(): number {
    return this.#offset;
  }

  /** Whether some points were not probed because too many lie close to each other. */
  get crowded(): boolean {
    return this.#crowded;
  }

  /** Processes the next bytes of the tar. */
  update(chunk: Uint8Array): void {
    const from = this.#offset;
    this.#offset += chunk.length;
    this.#begin();
    for (const { start, end, hash } of this.#active)
      hash.update(chunk.subarray(Math.max(0, start - from), Math.max(0, end - from)));
    this.#active = this.#active.filter((probe) => this.#offset < probe.end || this.#close(probe));
  }

  /** Digest of the {@link PROBED} bytes from `outputOffset` on, or fewer at the end; undefined if the point was not probed. */
  digestAt(outputOffset: number): string | undefined {
    for (const probe of this.#active.splice(0)) this.#close(probe);
    return this.#digests.get(outputOffset);
  }

  /** Starts the probes that begin in the bytes received so far. */
  #begin(): void {
    const { points } = this.index;
    for (let point = points[this.#next]; point !== undefined && point.outputOffset < this.#offset; ) {
      const start = point.outputOffset;
      if (this.#active.length >= MAX_CROWD) this.#crowded = true;
      else if (this.#active.at(-1)?.start !== start)
        this.#active.push({ start, end: start + PROBED, hash: createHash('sha256') });
      point = points[++this.#next];
    }
  }

  #close({ start, hash }: { readonly start: number; readonly hash: Hash }): false {
    this.#digests.set(start, hash.digest('hex'));
    return false;
  }
}

/** A gzip source layer, and where to read it. */
export interface ProbedLayer extends ReadOptions {
  readonly fetcher: RangeFetcher;
  readonly descriptor: Descriptor;
}

/** Restarts decompression at every point of a layer's index and compares the output with the probe's hashes. */
export async function compareAccessPoints(
  name: string,
  probe: PointProbe,
  source: ProbedLayer,
  log: DifferenceLog,
): Promise<void> {
  const { index } = probe;
  log.image(name, 'uncompress_file_size', String(probe.size), String(index.uncompressedSize));
  if (probe.crowded) log.image(name, 'access points', `at most ${MAX_CROWD} within ${PROBED} bytes`, 'more');
  const limiter = new Limiter(PARALLEL);
  // A machine is 1.5 MiB of WebAssembly memory that V8 collects late: PARALLEL of them serve all points.
  const machines: InflateMachine[] = [];
  const restartAt = async (point: SeekPoint): Promise<string> => {
    const machine = machines.pop() ?? new Inflater();
    const result = await restart(index, { point, machine }, source);
    machines.push(machine);
    return result;
  };
  const found = await Promise.all(index.points.map((point) => limiter.run(() => restartAt(point))));
  index.points.forEach((point, i) => {
    const expected = probe.digestAt(point.outputOffset);
    if (expected !== undefined) log.image(name, `access point ${i}`, `sha256:${expected}`, found[i]!);
  });
}

async function restart(
  index: SeekIndex,
  { point, machine }: { readonly point: SeekPoint; readonly machine: InflateMachine },
  { fetcher, descriptor, signal }: ProbedLayer,
): Promise<string> {
  signal?.throwIfAborted();
  // The artificial second point only limits how much the reader fetches at once.
  const fence = { ...point, outputOffset: point.outputOffset + PROBED, inputOffset: point.inputOffset + FETCHED };
  const reader = new GzipIndexReader({ ...index, points: [point, fence] }, () => machine);
  try {
    const bytes = await reader.readAt(point.outputOffset, PROBED, (from, to) =>
      fetcher.fetchRange(descriptor, from, to - from, { signal }),
    );
    return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  } catch (error) {
    return damageText(withPlace(error, { digest: descriptor.digest }));
  }
}
