/** A stack of layers as one map: the upper layer wins, what none maps reads as zeros (docs/formats.md §3). */
import { AccelError } from '../../base/error.ts';
import { MAX_LAYERS, SECTOR_SIZE } from './layout.ts';
import type { LsmtIndex } from './reader.ts';
import { type Segment, SegmentTable } from './segment-table.ts';

/** A piece of the device and the layer that holds it. */
export interface LayerSegment extends Segment {
  /** Number of the layer, 0 the lowest; -1 where no layer maps anything (then `zeroed`). */
  readonly layer: number;
}

/** The merged map of a stack. */
export interface MergedIndex {
  /** Bytes of the block device. */
  readonly virtualSize: number;
  /** Number of segments. */
  readonly count: number;
  /** Segment `i` in bytes. */
  segment(i: number): LayerSegment;
  /** Number of the first segment that ends after byte `deviceOffset`; `count` if no segment does. */
  find(deviceOffset: number): number;
  /**
   * The segments that hold `length` bytes of the device from `offset` on, in order and without a gap: segments cut to the range,
   * and a zeroed piece of layer -1 where nothing is mapped. Byte offsets need not be multiples of a sector. Throws
   * `usage` for a range outside the device.
   */
  lookup(offset: number, length: number): Generator<LayerSegment>;
}

/** Segments a merged stack may have: bounds its memory to 400 MB whatever 255 hostile layers hold. */
const MAX_MERGED_SEGMENTS = 16_000_000;

/**
 * Merges the layers of a stack, lowest first. Throws `limit-exceeded` past 255 layers and `lsmt-invalid` when the
 * layers disagree about the size of the device.
 */
export function mergeIndexes(layers: readonly LsmtIndex[]): MergedIndex {
  const [first] = layers;
  if (first === undefined) throw new AccelError('usage', 'a stack of layers is empty');
  if (layers.length > MAX_LAYERS)
    throw new AccelError('limit-exceeded', 'too many layers in a stack', {
      expected: MAX_LAYERS,
      found: layers.length,
    });
  for (const [layer, { virtualSize }] of layers.entries())
    if (virtualSize !== first.virtualSize)
      throw new AccelError('lsmt-invalid', 'the layers of the stack differ in virtual size', {
        where: { layer },
        expected: first.virtualSize,
        found: virtualSize,
      });
  return new Merged(first.virtualSize, mergeRange(layers, 0, layers.length));
}

interface Tagged {
  readonly segments: SegmentTable;
  /** Layer of each row. */
  readonly layers: LayerColumn;
}

/** Layer numbers beside the rows of a table; grows with it. */
class LayerColumn {
  #values: Uint8Array;
  constructor(capacity: number) {
    this.#values = new Uint8Array(Math.max(capacity, 16));
  }
  get(i: number): number {
    return this.#values[i]!;
  }
  set(i: number, layer: number): void {
    if (i >= this.#values.length) {
      const wider = new Uint8Array(this.#values.length * 2);
      wider.set(this.#values);
      this.#values = wider;
    }
    this.#values[i] = layer;
  }
}

/** Halves the stack, so that each segment is looked at log(layers) times. */
function mergeRange(layers: readonly LsmtIndex[], from: number, to: number): Tagged {
  if (to - from > 1) {
    const middle = (from + to) >>> 1;
    return overlay(mergeRange(layers, from, middle), mergeRange(layers, middle, to));
  }
  const { table } = layers[from]!;
  const column = new LayerColumn(table.count);
  for (let i = 0; i < table.count; i++) column.set(i, from);
  return { segments: table, layers: column };
}

function overlay(lower: Tagged, upper: Tagged): Tagged {
  const under = lower.segments;
  const over = upper.segments;
  const out = new SegmentTable(MAX_MERGED_SEGMENTS);
  const column = new LayerColumn(under.count + over.count);
  const push = (source: Tagged, i: number, from: number, to: number): void => {
    column.set(out.count, source.layers.get(i));
    out.pushPart(source.segments, i, from - source.segments.start(i), to - from);
  };
  let u = 0;
  /** Emits what of the lower map lies below `limit` and has not been emitted or hidden up to `from`. */
  const emitUnder = (from: number, limit: number): void => {
    while (u < under.count && under.end(u) <= from) u++;
    for (let i = u; i < under.count && under.start(i) < limit; i++)
      push(lower, i, Math.max(under.start(i), from), Math.min(under.end(i), limit));
  };
  let done = 0;
  for (let o = 0; o < over.count; o++) {
    if (over.start(o) > done) emitUnder(done, over.start(o));
    push(upper, o, over.start(o), over.end(o));
    done = over.end(o);
  }
  emitUnder(done, Number.MAX_SAFE_INTEGER);
  return { segments: out, layers: column };
}

class Merged implements MergedIndex {
  readonly virtualSize: number;
  readonly #tagged: Tagged;

  constructor(virtualSize: number, tagged: Tagged) {
    this.virtualSize = virtualSize;
    this.#tagged = tagged;
  }

  get count(): number {
    return this.#tagged.segments.count;
  }

  segment(i: number): LayerSegment {
    return { ...this.#tagged.segments.segment(i), layer: this.#tagged.layers.get(i) };
  }

  find(deviceOffset: number): number {
    return this.#tagged.segments.find(Math.floor(deviceOffset / SECTOR_SIZE));
  }

  *lookup(offset: number, length: number): Generator<LayerSegment> {
    const end = offset + length;
    if (!(offset >= 0 && length >= 0 && end <= this.virtualSize))
      throw new AccelError('usage', 'a read outside the block device', {
        where: { offset, length },
        expected: `below ${this.virtualSize}`,
      });
    let at = offset;
    for (let i = this.find(offset); i < this.count && at < end; i++) {
      const segment = this.segment(i);
      if (segment.offset >= end) break;
      if (segment.offset > at) {
        yield unmapped(at, segment.offset - at);
        at = segment.offset;
      }
      const skip = at - segment.offset;
      const piece = Math.min(segment.length - skip, end - at);
      yield {
        ...segment,
        offset: at,
        length: piece,
        moffset: segment.zeroed ? segment.moffset : segment.moffset + skip,
      };
      at += piece;
    }
    if (at < end) yield unmapped(at, end - at);
  }
}

function unmapped(offset: number, length: number): LayerSegment {
  return { offset, length, moffset: 0, zeroed: true, tag: 0, layer: -1 };
}
