/** Devices for tests: in memory, with holes and faults where they are wanted. */
import { AccelError } from '../../../base/error.ts';
import type { MappedDevice, MappedPart } from '../../block-device.ts';

/** A run of data of a {@link MemoryDevice}. */
export interface MemoryRun {
  readonly offset: number;
  readonly length: number;
}

/** A device whose data is a function of the place, so that any size costs nothing; between the runs there are holes. */
export class MemoryDevice implements MappedDevice {
  readonly size: number;
  readonly #runs: readonly MemoryRun[];
  /** Every read so far. */
  readonly reads: MemoryRun[] = [];
  /** Called before each read; may reject or wait. */
  beforeRead: (offset: number, length: number) => Promise<void> | void = () => undefined;

  /** `runs`: ascending, without overlap. Neighbours may touch, as the segments of layers do. */
  constructor(size: number, runs: readonly MemoryRun[]) {
    this.size = size;
    this.#runs = runs;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (offset < 0 || length < 0 || offset + length > this.size) throw new AccelError('usage', 'outside the device');
    this.reads.push({ offset, length });
    await this.beforeRead(offset, length);
    return this.bytes(offset, length);
  }

  /** The expected bytes of a read. */
  bytes(offset: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (const part of this.parts(offset, length)) {
      if (part.zeroed) continue;
      for (let i = 0; i < part.length; i++) out[part.offset - offset + i] = byteAt(part.offset + i);
    }
    return out;
  }

  *parts(offset: number, length: number): Generator<MappedPart> {
    const end = offset + length;
    let at = offset;
    for (const run of this.#runs) {
      const stop = run.offset + run.length;
      if (stop <= at || run.length === 0) continue;
      if (at >= end || run.offset >= end) break;
      if (run.offset > at) yield { offset: at, length: run.offset - at, zeroed: true };
      at = Math.max(at, run.offset);
      yield { offset: at, length: Math.min(stop, end) - at, zeroed: false };
      at = Math.min(stop, end);
    }
    if (at < end) yield { offset: at, length: end - at, zeroed: true };
  }
}

/** Never 0, different for neighbours and for places that lie a power of two apart. */
function byteAt(place: number): number {
  return 1 + ((place * 7 + Math.floor(place / 255) * 13) % 255);
}
