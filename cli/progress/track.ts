/** What is known of every layer while a conversion runs: the state that a display draws. It has no clock of its own. */
import type { ConvertEvent, LayerId, LayerOutput } from '../../converter/events.ts';

/** One layer in progress. */
export interface LayerState {
  readonly layer: LayerId;
  /** Bytes of the source that were read. */
  bytesRead: number;
  stage: 'reading' | 'pushing';
  outputs: readonly LayerOutput[];
  /** True when every output was in the repository already. */
  existed: boolean;
  /** Smoothed rate in bytes a second; 0 while unknown. */
  rate: number;
  /** Milliseconds at which the layer began, and of the sample that `rate` is from. */
  readonly startedAt: number;
  sampledAt: number;
  sampledBytes: number;
}

/** Time between two samples of the rate, and the weight of a new sample: a rate that one can read, yet follows. */
const SAMPLE_MS = 400;
const SAMPLE_WEIGHT = 0.35;

/** Follows the events of a conversion. */
export class LayerTracker {
  readonly #active = new Map<string, LayerState>();
  readonly #counts = new Map<string, number>();
  #done = 0;
  #doneBytes = 0;

  /** The layers in progress, lowest platform and index first. */
  get active(): LayerState[] {
    return [...this.#active.values()].sort(
      (a, b) => compare(a.layer.platform, b.layer.platform) || a.layer.index - b.layer.index,
    );
  }

  /** Layers that are done, and layers of all platforms that are known so far. */
  get totals(): { readonly done: number; readonly count: number; readonly bytesRead: number } {
    let bytesRead = this.#doneBytes;
    for (const state of this.#active.values()) bytesRead += state.bytesRead;
    return { done: this.#done, count: [...this.#counts.values()].reduce((sum, n) => sum + n, 0), bytesRead };
  }

  /** True once layers of more than one platform were seen: lines then need to name it. */
  get manyPlatforms(): boolean {
    return this.#counts.size > 1;
  }

  /** Takes one event at the time `now` in milliseconds; returns the layer that it finished, if it did. */
  take(event: ConvertEvent, now: number): LayerState | undefined {
    switch (event.type) {
      case 'layer-start':
        this.#counts.set(event.layer.platform, event.layer.count);
        this.#active.set(keyOf(event.layer), newState(event.layer, now));
        return undefined;
      case 'layer-reused':
        // Nothing is read of a layer that an earlier run converted: it is done at once.
        this.#counts.set(event.layer.platform, event.layer.count);
        this.#done++;
        return undefined;
      case 'layer-progress':
        this.#progress(event.layer, event.bytesRead, now);
        return undefined;
      case 'layer-converted': {
        const state = this.#active.get(keyOf(event.layer));
        if (state !== undefined) Object.assign(state, { stage: 'pushing', outputs: event.outputs });
        return undefined;
      }
      case 'layer-pushed': {
        const state = this.#active.get(keyOf(event.layer));
        if (state !== undefined) state.existed = state.existed && event.existed;
        return undefined;
      }
      case 'layer-done':
        return this.#finish(event.layer);
      case 'restart':
        // The platform begins again from its first layer with another virtual size.
        for (const [key, state] of this.#active) if (state.layer.platform === event.platform) this.#active.delete(key);
        return undefined;
      default:
        return undefined;
    }
  }

  #progress(layer: LayerId, bytesRead: number, now: number): void {
    const state = this.#active.get(keyOf(layer));
    if (state === undefined) return;
    state.bytesRead = bytesRead;
    const elapsed = now - state.sampledAt;
    if (elapsed < SAMPLE_MS) return;
    const rate = ((bytesRead - state.sampledBytes) * 1000) / elapsed;
    state.rate = state.rate === 0 ? rate : state.rate + (rate - state.rate) * SAMPLE_WEIGHT;
    state.sampledAt = now;
    state.sampledBytes = bytesRead;
  }

  #finish(layer: LayerId): LayerState | undefined {
    const state = this.#active.get(keyOf(layer));
    if (state === undefined) return undefined;
    this.#active.delete(keyOf(layer));
    this.#done++;
    this.#doneBytes += layer.size;
    return state;
  }
}

function newState(layer: LayerId, now: number): LayerState {
  return {
    layer,
    bytesRead: 0,
    stage: 'reading',
    outputs: [],
    existed: true,
    rate: 0,
    startedAt: now,
    sampledAt: now,
    sampledBytes: 0,
  };
}

function keyOf(layer: LayerId): string {
  return `${layer.platform}#${layer.index}#${layer.digest}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
