/** Wakes the workers of a queue: at once after a change by this process, and every now and then, because others change it, too. */
import type { NewJob, Topic } from './queue.ts';

/** Callbacks by topic. */
export class WorkSignals {
  readonly #callbacks = new Map<Topic, Set<() => void>>();
  readonly #timer: NodeJS.Timeout;

  /** Calls back every `interval` milliseconds in any case. */
  constructor(interval: number) {
    this.#timer = setInterval(() => {
      for (const topic of this.#callbacks.keys()) this.wake(topic);
    }, interval).unref();
  }

  /** Registers a callback; returns what ends it. */
  on(topic: Topic, callback: () => void): () => void {
    const callbacks = this.#callbacks.get(topic) ?? new Set();
    this.#callbacks.set(topic, callbacks.add(callback));
    return () => void callbacks.delete(callback);
  }

  /** Calls the callbacks of a topic. */
  wake(topic: Topic): void {
    for (const callback of this.#callbacks.get(topic) ?? []) callback();
  }

  /** Calls the callbacks of all topics of some jobs. */
  added(jobs: readonly NewJob[]): void {
    for (const topic of new Set(jobs.map((job) => job.topic))) this.wake(topic);
  }

  /** Ends the timer. */
  close(): void {
    clearInterval(this.#timer);
    this.#callbacks.clear();
  }
}
