/** Pushes converted layers while the next ones are being converted. */
import { withPlace } from '../base/error.ts';
import { layerMediaType } from '../oci/media-types.ts';
import type { LayerBlob } from './engines/engine.ts';
import type { LayerId } from './events.ts';
import type { Session } from './session.ts';
import type { SpoolFile } from './spool.ts';

/** A layer whose blobs are complete. */
export interface FinishedLayer {
  readonly layer: LayerId;
  readonly blobs: readonly LayerBlob[];
  /** Holds the full blob; removed when that was pushed. */
  readonly file: SpoolFile | undefined;
  /** Wall time that the conversion took. */
  readonly seconds: number;
}

/** The uploads of one image. */
export class Pushes {
  readonly #session: Session;
  readonly #held: FinishedLayer[] | undefined;
  readonly #running: Promise<void>[] = [];
  #failure: { readonly error: unknown } | undefined;

  /** With `hold` nothing is pushed before {@link finish}. */
  constructor(session: Session, options: { readonly hold: boolean }) {
    this.#session = session;
    this.#held = options.hold ? [] : undefined;
  }

  /** Hands over a layer; throws what an earlier push failed with. */
  start(finished: FinishedLayer): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#held !== undefined) this.#held.push(finished);
    else this.#begin(finished);
  }

  /** Resolves when all layers are pushed; throws what one of them failed with. */
  async finish(): Promise<void> {
    for (const finished of this.#held ?? []) this.#begin(finished);
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Waits until nothing runs any more, whatever came of it. */
  async abandon(): Promise<void> {
    await Promise.all(this.#running);
  }

  #begin(finished: FinishedLayer): void {
    const pushing = this.#session.uploads
      .run(() => this.#push(finished))
      .catch((error: unknown) => {
        this.#failure ??= { error };
      });
    this.#running.push(pushing);
  }

  async #push({ layer, blobs, file, seconds }: FinishedLayer): Promise<void> {
    const { target, request, signal, emit } = this.#session;
    const started = performance.now();
    for (const blob of blobs) {
      const { kind, digest, size } = blob;
      if (!request.noUpload) {
        const descriptor = { mediaType: layerMediaType('oci', blob.compression), digest, size };
        const outcome = await target.push(descriptor, blob.content, { signal }).catch((error: unknown) => {
          throw withPlace(error, { layer: `${layer.index + 1} of ${layer.count}`, blob: digest });
        });
        emit({ type: 'layer-pushed', layer, output: { kind, digest, size }, existed: outcome === 'existed' });
      }
    }
    await file?.remove();
    emit({ type: 'layer-done', layer, times: { convert: seconds, push: (performance.now() - started) / 1000 } });
  }
}
