/** The block device of a stack of layers: each part comes from the uppermost layer that maps it. */
import { AccelError, withPlace } from '../base/error.ts';
import type { BlockDevice } from '../formats/ext4/reader.ts';
import { TAG_REMOTE } from '../formats/lsmt/layout.ts';
import { type LayerSegment, type MergedIndex, mergeIndexes } from '../formats/lsmt/merge.ts';
import type { BlockStore, Piece } from './block-store.ts';
import type { OpenedLayer, StackLayer } from './layer.ts';

/** A part of the device. */
export interface MappedPart {
  /** Byte of the device. */
  readonly offset: number;
  readonly length: number;
  /** Whether it reads as zeros because no layer holds anything there. */
  readonly zeroed: boolean;
}

/** A device that knows its holes without reading. */
export interface MappedDevice extends BlockDevice {
  /** The parts of `length` bytes from `offset` on, in order and without a gap. Throws `usage` outside the device. */
  parts(offset: number, length: number): Iterable<MappedPart>;
}

/** A device that is a stack of layers, and knows which layer has which part. */
export interface StackedDevice extends MappedDevice {
  /** The sources of `length` bytes from `offset` on, in order and without gaps; layers by their place in the stack. */
  segments(offset: number, length: number): Iterable<LayerSegment>;
  /** Whether there is such a place. */
  holds(place: LayerPlace): boolean;
  /** Reads a part of a layer's file, as a record of a trace does. Throws `usage` outside the file. */
  readLayer(place: LayerPlace): Promise<Uint8Array>;
  /** Bytes of the blob that hold a part of a layer's file; reads only the layer's index. */
  storedSize(place: LayerPlace): Promise<number>;
}

/** A part of a layer's file: of its own LSMT file, or of its uncompressed source tar. */
export interface LayerPlace {
  /** Place in the stack, 0 the lowest. */
  readonly layer: number;
  /** 0 the layer's own file, 1 its source tar, as in the index of a layer (docs/formats.md §5). */
  readonly tag: number;
  readonly offset: number;
  readonly length: number;
}

/** Bytes of the device that are put together at a time: bounds what one large read holds beside its result. */
const STEP = 4 << 20;

/** See the module's comment. Reads may overlap in time. */
export class LayeredDevice implements StackedDevice {
  readonly size: number;
  readonly #layers: readonly StackLayer[];
  readonly #map: MergedIndex;

  /** `layers`: lowest first, at least one. Throws `lsmt-invalid` when they differ in virtual size. */
  constructor(layers: readonly StackLayer[]) {
    this.#layers = layers;
    this.#map = mergeIndexes(layers.map(({ info }) => info.lsmt));
    this.size = this.#map.virtualSize;
  }

  /** Exactly `length` bytes from `offset` on. Throws `usage` outside the device, and what the layers' formats throw. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; done += STEP)
      await this.#fill(offset + done, out.subarray(done, Math.min(done + STEP, length)));
    return out;
  }

  parts(offset: number, length: number): Iterable<MappedPart> {
    return this.#map.lookup(offset, length);
  }

  segments(offset: number, length: number): Iterable<LayerSegment> {
    return this.#map.lookup(offset, length);
  }

  async readLayer(place: LayerPlace): Promise<Uint8Array> {
    const target = new Uint8Array(place.length);
    await this.#store(place).fill([{ offset: place.offset, target }]);
    return target;
  }

  async storedSize(place: LayerPlace): Promise<number> {
    return this.#store(place).storedSize(place.offset, place.length);
  }

  holds(place: LayerPlace): boolean {
    return this.#find(place) !== undefined;
  }

  #find({ layer, tag, offset, length }: LayerPlace): BlockStore | undefined {
    const opened = this.#layers[layer];
    const store = tag === TAG_REMOTE ? opened?.remote : opened?.local;
    return store !== undefined && offset + length <= store.size ? store : undefined;
  }

  #store(place: LayerPlace): BlockStore {
    const store = this.#find(place);
    if (store !== undefined) return store;
    throw new AccelError('usage', 'a read outside of the layers', { where: { ...place } });
  }

  async #fill(offset: number, out: Uint8Array): Promise<void> {
    const wanted = new Map<BlockStore, { readonly layer: StackLayer; readonly pieces: Piece[] }>();
    for (const part of this.#map.lookup(offset, out.length)) {
      if (part.zeroed) continue;
      const layer = this.#layers[part.layer]!;
      const store = part.tag === TAG_REMOTE ? layer.remote! : layer.local;
      const entry = wanted.get(store) ?? { layer, pieces: [] };
      const start = part.offset - offset;
      entry.pieces.push({ offset: part.moffset, target: out.subarray(start, start + part.length) });
      wanted.set(store, entry);
    }
    await Promise.all(
      Array.from(wanted, async ([store, { layer, pieces }]) => {
        try {
          await store.fill(pieces);
        } catch (error) {
          throw withPlace(error, placeOf(layer.info, store === layer.remote));
        }
      }),
    );
  }
}

/** The place of errors: a layer, and the blob of its bytes. */
export function placeOf(
  layer: Pick<OpenedLayer, 'index' | 'descriptor' | 'source'>,
  remote = false,
): {
  readonly layer: number;
  readonly digest: string;
} {
  const blob = remote ? (layer.source ?? layer.descriptor) : layer.descriptor;
  return { layer: layer.index + 1, digest: blob.digest };
}
