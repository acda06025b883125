/** Tracks every layer while a conversion runs: the state that a display draws. It has no clock of its own. */
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

/** State of a platform's layers that are not in progress. */
interface PlatformState {
  readonly count: number;
  done: number;
  /** Bytes of the layers that were read to their end. */
  bytesRead: number;
  /** Bytes of the layers that an earlier run converted, so that nothing is read of them. */
  bytesReused: number;
}

/** Where a conversion is as a whole. */
export interface Totals {
  /** Layers that are done. */
  readonly done: number;
  /** Layers of all platforms that are known so far. */
  readonly count: number;
  readonly bytesRead: number;
  readonly bytesReused: number;
  /** Bytes of all layers; undefined before the source was looked at. */
  readonly bytes: number | undefined;
}

/** Follows the events of a conversion. */
export class LayerTracker {
  readonly #active = new Map<string, LayerState>();
  readonly #platforms = new Map<string, PlatformState>();
  #bytes: number | undefined;

  /** The layers in progress, lowest platform and index first. */
  get active(): LayerState[] {
    return [...this.#active.values()].sort(
      (a, b) => compare(a.layer.platform, b.layer.platform) || a.layer.index - b.layer.index,
    );
  }

  /** Sums over all platforms. */
  get totals(): Totals {
    const platforms = [...this.#platforms.values()];
    const sum = (pick: (platform: PlatformState) => number) => platforms.reduce((all, one) => all + pick(one), 0);
    const active = [...this.#active.values()].reduce((all, { bytesRead }) => all + bytesRead, 0);
    return {
      done: sum(({ done }) => done),
      count: sum(({ count }) => count),
      bytesRead: sum(({ bytesRead }) => bytesRead) + active,
      bytesReused: sum(({ bytesReused }) => bytesReused),
      bytes: this.#bytes,
    };
  }

  /** True once layers of more than one platform were seen: lines then need to name it. */
  get manyPlatforms(): boolean {
    return this.#platforms.size > 1;
  }

  /** Takes one event at the time `now` in milliseconds; returns the layer that it finished, if it did. */
  take(event: ConvertEvent, now: number): LayerState | undefined {
    switch (event.type) {
      case 'source':
        this.#bytes = event.bytes;
        return undefined;
      case 'layer-start':
        this.#platformOf(event.layer);
        this.#active.set(keyOf(event.layer), newState(event.layer, now));
        return undefined;
      case 'layer-reused': {
        // Nothing is read of a layer that an earlier run converted: it is done at once.
        const platform = this.#platformOf(event.layer);
        platform.done++;
        platform.bytesReused += event.layer.size;
        return undefined;
      }
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
        this.#platforms.delete(event.platform);
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
    const platform = this.#platformOf(layer);
    platform.done++;
    platform.bytesRead += layer.size;
    return state;
  }

  #platformOf({ platform, count }: LayerId): PlatformState {
    const known = this.#platforms.get(platform);
    if (known !== undefined) return known;
    const state: PlatformState = { count, done: 0, bytesRead: 0, bytesReused: 0 };
    this.#platforms.set(platform, state);
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
