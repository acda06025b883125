/** Sums the events of a conversion up into one report of its progress. */
import type { ConvertEvent, LayerId } from '../../converter/events.ts';
import { type ConversionProgress, type LayerProgress, MAX_LAYERS_SHOWN } from './conversion.ts';

/** The progress of one conversion, by layer. */
export class ProgressTracker {
  readonly #layers = new Map<string, LayerProgress>();
  #stage: ConversionProgress['stage'] = 'starting';
  #digest: string | undefined;
  #bytes = 0;

  /** Takes an event in. */
  add(event: ConvertEvent): void {
    switch (event.type) {
      case 'source':
        this.#digest = event.digest;
        this.#bytes = event.bytes ?? 0;
        this.#stage = 'converting';
        break;
      case 'layer-start':
        this.#set(event.layer, { state: 'reading' });
        break;
      case 'layer-progress':
        this.#set(event.layer, { state: 'reading', read: event.bytesRead });
        break;
      case 'layer-converted':
        this.#set(event.layer, { state: 'pushing', read: event.layer.size });
        break;
      case 'layer-reused':
        this.#set(event.layer, { state: 'reused', read: event.layer.size });
        break;
      case 'layer-done':
        this.#set(event.layer, { state: 'done', read: event.layer.size });
        break;
      case 'manifest-pushed':
        this.#stage = 'tagging';
    }
  }

  /** Notes that the result is being verified. */
  verifying(): void {
    this.#stage = 'verifying';
  }

  /** Notes that the tags are about to be made. */
  tagging(): void {
    this.#stage = 'tagging';
  }

  /** The progress now. */
  report(): ConversionProgress {
    const layers = [...this.#layers.values()];
    const read = layers.reduce((sum, layer) => sum + layer.read, 0);
    return {
      stage: this.#stage,
      ...(this.#digest === undefined ? {} : { digest: this.#digest }),
      bytes: Math.max(this.#bytes, read),
      read,
      layers: layers.length <= MAX_LAYERS_SHOWN ? layers : shown(layers),
    };
  }

  #set({ platform, index, count, digest, size }: LayerId, change: Partial<LayerProgress>): void {
    const key = `${platform} ${index}`;
    const before = this.#layers.get(key);
    // A layer that several images share is reused by the later ones.
    const state = before?.state === 'reused' ? 'reused' : (change.state ?? 'waiting');
    this.#layers.set(key, { platform, index, count, digest, size, read: change.read ?? before?.read ?? 0, state });
  }
}

/** Those that move first, then the latest. */
function shown(layers: readonly LayerProgress[]): LayerProgress[] {
  const moves = ({ state }: LayerProgress): boolean => state === 'reading' || state === 'pushing';
  return [...layers.filter(moves), ...layers.filter((layer) => !moves(layer)).reverse()].slice(0, MAX_LAYERS_SHOWN);
}
