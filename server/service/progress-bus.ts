/** Live news of conversions within a process: workers publish, the API's event streams subscribe. Loses nothing that matters: the store has the truth. */
import { EventEmitter } from 'node:events';
import type { ConversionProgress } from './conversion.ts';
import type { JobState } from './queue.ts';

/** News of one conversion. */
export type ConversionNews =
  | { readonly type: 'progress'; readonly id: string; readonly progress: ConversionProgress }
  | { readonly type: 'state'; readonly id: string; readonly state: JobState };

/** Most subscribers at a time; the API refuses more event streams. */
export const MAX_SUBSCRIBERS = 256;

/** Passes news on to those who listen now. */
export class ProgressBus {
  readonly #emitter = new EventEmitter().setMaxListeners(MAX_SUBSCRIBERS);

  /** Number of subscribers. */
  get size(): number {
    return this.#emitter.listenerCount('news');
  }

  /** Passes news on. */
  publish(news: ConversionNews): void {
    this.#emitter.emit('news', news);
  }

  /** Subscribes to the news of one conversion, or of all. Returns what ends it; undefined where there are too many subscribers. */
  subscribe(id: string | undefined, listener: (news: ConversionNews) => void): (() => void) | undefined {
    if (this.size >= MAX_SUBSCRIBERS) return undefined;
    const pass = (news: ConversionNews): void => {
      if (id === undefined || news.id === id) listener(news);
    };
    this.#emitter.on('news', pass);
    return () => void this.#emitter.off('news', pass);
  }
}
