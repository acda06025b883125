/** Finishes and pushes converted layers while the next ones are being converted. */
import { withPlace } from '../../base/error.ts';
import { awaitAll } from '../../base/limiter.ts';
import { removeFile } from '../../disk/remove-file.ts';
import { PIECE_LIST_MEDIA_TYPE } from '../../formats/piece-list/piece-list.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { layerMediaType } from '../../oci/media-types.ts';
import { canTakeFiles } from '../../oci/powers.ts';
import type { LayerId } from '../events.ts';
import type { LayerBlob } from '../layer/engines/engine.ts';
import { bringSourceBlob } from '../layer/source-blob.ts';
import type { Session } from '../session.ts';
import type { LayerBlobs } from './output-manifest.ts';
import { putBytes } from './push-document.ts';

/** A layer that was read to its end. */
export interface ReadLayer {
  readonly layer: LayerId;
  /** The source blob. */
  readonly source: Descriptor;
  /** Entries of its tar. */
  readonly entries: number;
  /** When its conversion started, by `performance.now()`. */
  readonly started: number;
  /** Resolves when the index-only blob is complete; undefined where the layer has none. */
  readonly index: LayerBlob | Promise<LayerBlob | undefined> | undefined;
  /** Resolves when the full blob is complete. */
  readonly full: Promise<LayerBlob> | undefined;
}

/** Settings of {@link Pushes}. */
export interface PushesOptions {
  /** Nothing is pushed before {@link Pushes.finish}. */
  readonly hold: boolean;
  /** Every layer is changed by {@link Pushes.change} when all are complete; with `hold` alone. Omitted: none is. */
  readonly changes?: boolean;
  /** Called with each layer when the target has its blobs; not with `hold`. `index` is its position in the image. */
  readonly onPushed: (index: number, blobs: LayerBlobs) => void;
}

/** Uploads of the layers of one image. */
export class Pushes {
  /** Whether nothing is pushed before {@link finish}. */
  readonly hold: boolean;
  readonly #session: Session;
  readonly #onPushed: PushesOptions['onPushed'];
  readonly #changes: boolean;
  readonly #layers: { readonly read: ReadLayer; blobs: Promise<LayerBlobs> }[] = [];
  readonly #running: Promise<void>[] = [];
  #failure: { readonly error: unknown } | undefined;

  constructor(session: Session, { hold, changes = false, onPushed }: PushesOptions) {
    this.#session = session;
    this.hold = hold;
    this.#changes = changes;
    this.#onPushed = hold ? () => undefined : onPushed;
  }

  /** Adds a layer; throws the failure of an earlier one. */
  start(read: ReadLayer): void {
    const blobs = this.#complete(read);
    this.#layers.push({ read, blobs });
    const work = this.hold ? blobs.then(() => undefined) : blobs.then((ready) => this.#enqueue(read, ready));
    this.#running.push(
      work.catch((error: unknown) => {
        this.#failure ??= { error };
      }),
    );
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Resolves to all blobs, lowest layer first, when they are complete and, unless held back, pushed. */
  async settle(): Promise<LayerBlobs[]> {
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
    return Promise.all(this.#layers.map(({ blobs }) => blobs));
  }

  /** Replaces the blobs of all layers, lowest first, by what `change` makes of them. */
  async change(change: (layers: readonly LayerBlobs[]) => Promise<readonly LayerBlobs[]>): Promise<void> {
    const changed = await change(await this.settle());
    for (const [i, layer] of this.#layers.entries()) {
      layer.blobs = Promise.resolve(changed[i]!);
      this.#report(layer.read, changed[i]!);
    }
  }

  /** {@link settle}, and then pushes what was held back. */
  async finish(): Promise<LayerBlobs[]> {
    const layers = await this.settle();
    if (this.hold) await Promise.all(this.#layers.map(({ read }, index) => this.#enqueue(read, layers[index]!)));
    return layers;
  }

  /** Waits until all uploads have ended, and ignores their failures. */
  async abandon(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #complete(read: ReadLayer): Promise<LayerBlobs> {
    const [full, index] = await awaitAll([read.full, read.index]);
    const blobs: LayerBlobs = { full, index };
    if (!this.#changes) this.#report(read, blobs);
    return blobs;
  }

  #report({ layer, entries }: ReadLayer, blobs: LayerBlobs): void {
    const outputs = present(blobs).map(({ kind, digest, size }) => ({ kind, digest, size }));
    this.#session.emit({ type: 'layer-converted', layer, outputs, entries });
  }

  #enqueue({ layer, source, started }: ReadLayer, blobs: LayerBlobs): Promise<void> {
    const { resources, emit } = this.#session;
    const converted = performance.now();
    return resources.uploads.run(async () => {
      const pushing = performance.now();
      if (blobs.index !== undefined) await bringSourceBlob(this.#session, source);
      await awaitAll(present(blobs).map((blob) => this.#push(layer, blob)));
      const times = { convert: (converted - started) / 1000, push: (performance.now() - pushing) / 1000 };
      this.#onPushed(layer.index, blobs);
      emit({ type: 'layer-done', layer, times });
    });
  }

  async #push(layer: LayerId, blob: LayerBlob): Promise<void> {
    const { target, signal, emit } = this.#session;
    const { kind, digest, size, path } = blob;
    const descriptor = { mediaType: layerMediaType('oci', blob.compression), digest, size };
    try {
      if (blob.pieceList !== undefined) await putBytes(this.#session, blob.pieceList, PIECE_LIST_MEDIA_TYPE);
      const taken = path !== undefined && canTakeFiles(target) ? await target.takeFile(descriptor, path) : undefined;
      const outcome = taken ?? (await target.push(descriptor, blob.content, { signal }));
      emit({ type: 'layer-pushed', layer, output: { kind, digest, size }, existed: outcome === 'existed' });
    } catch (error) {
      throw withPlace(error, { layer: `${layer.index + 1} of ${layer.count}`, blob: digest });
    }
    if (path !== undefined) await removeFile(path);
  }
}

function present({ full, index }: LayerBlobs): LayerBlob[] {
  return [full, index].filter((blob) => blob !== undefined);
}
