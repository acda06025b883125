/**
 * Checks the access points of a gzip index one by one. Reading files in the order of the device goes on from point to
 * point and would never restart at most of them; a node, which reads here and there, does.
 */
import { createHash, type Hash } from 'node:crypto';
import { withPlace } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import type { AccessPoint, GzipIndex } from '../formats/gzip/points.ts';
import { GzipIndexReader } from '../formats/gzip/reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { RangeFetcher, ReadOptions } from '../oci/storage.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** Bytes of output behind a point that can depend on its window (RFC 1951: distances reach back 32 KiB). */
const PROBED = 32_768;
/** Bytes fetched for them: what does not shrink takes a little more than its size. */
const FETCHED = 40_960;
/** Points that may lie within {@link PROBED} bytes of each other; sane indexes have one in a megabyte. */
const MAX_CROWD = 64;
const PARALLEL = 4;

/** Hashes of the tar behind each access point, gathered while the tar passes. */
export class PointProbe {
  readonly index: GzipIndex;
  readonly #digests = new Map<number, string>();
  #active: { readonly start: number; readonly end: number; readonly hash: Hash }[] = [];
  #next = 0;
  #offset = 0;
  #crowded = false;

  constructor(index: GzipIndex) {
    this.index = index;
  }

  /** Bytes of the tar so far. */
  get size(): number {
    return this.#offset;
  }

  /** Whether so many points lie together that some were not probed. */
  get crowded(): boolean {
    return this.#crowded;
  }

  /** Takes the next bytes of the tar. */
  update(chunk: Uint8Array): void {
    const from = this.#offset;
    this.#offset += chunk.length;
    this.#begin();
    for (const { start, end, hash } of this.#active)
      hash.update(chunk.subarray(Math.max(0, start - from), Math.max(0, end - from)));
    this.#active = this.#active.filter((probe) => this.#offset < probe.end || this.#close(probe));
  }

  /** Digest of the {@link PROBED} bytes from `outputOffset` on, or fewer at the end; undefined where none was taken. */
  digestAt(outputOffset: number): string | undefined {
    for (const probe of this.#active.splice(0)) this.#close(probe);
    return this.#digests.get(outputOffset);
  }

  /** Starts the probes that begin in what has come. */
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

/** Restarts at every point of a layer's index and compares what comes with what the probe saw. */
export async function compareAccessPoints(
  name: string,
  probe: PointProbe,
  source: { readonly fetcher: RangeFetcher; readonly descriptor: Descriptor },
  log: DifferenceLog,
  options: ReadOptions,
): Promise<void> {
  const { index } = probe;
  log.image(name, 'uncompress_file_size', String(probe.size), String(index.uncompressedSize));
  if (probe.crowded) log.image(name, 'access points', `at most ${MAX_CROWD} within ${PROBED} bytes`, 'more');
  const limiter = new Limiter(PARALLEL);
  const found = await Promise.all(
    index.points.map((point) => limiter.run(() => restart(index, point, source, options))),
  );
  index.points.forEach((point, i) => {
    const expected = probe.digestAt(point.outputOffset);
    if (expected !== undefined) log.image(name, `access point ${i}`, `sha256:${expected}`, found[i]!);
  });
}

async function restart(
  index: GzipIndex,
  point: AccessPoint,
  { fetcher, descriptor }: { readonly fetcher: RangeFetcher; readonly descriptor: Descriptor },
  options: ReadOptions,
): Promise<string> {
  options.signal?.throwIfAborted();
  // The made-up second point only tells the reader how far to fetch at once.
  const fence = { ...point, outputOffset: point.outputOffset + PROBED, inputOffset: point.inputOffset + FETCHED };
  const reader = new GzipIndexReader({ ...index, points: [point, fence] });
  try {
    const bytes = await reader.readAt(point.outputOffset, PROBED, (from, to) =>
      fetcher.fetchRange(descriptor, from, to - from, options),
    );
    return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  } catch (error) {
    return damageText(withPlace(error, { digest: descriptor.digest }));
  }
}
