/** Lets timers, signals and messages of threads run during long work in the main thread. */
import { setImmediate } from 'node:timers/promises';

/** Milliseconds of work between two turns of the event loop: much less than the two seconds allowed for a Ctrl-C. */
const TURN = 50;

/** To be checked often: `if (pacer.due) await pacer.pause()`. */
export class Pacer {
  readonly #signal: AbortSignal | undefined;
  #since = performance.now();

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /** True when the event loop has not turned for a while. */
  get due(): boolean {
    return performance.now() - this.#since >= TURN;
  }

  /** Turns the event loop once; rejects when the work is no longer wanted. */
  async pause(): Promise<void> {
    await setImmediate();
    this.#since = performance.now();
    this.#signal?.throwIfAborted();
  }
}

/** Takes the output of a piece of work, and may have to catch up with it. */
export interface Drained {
  readonly saturated: boolean;
  drain(): Promise<void>;
}

/** Runs work that yields wherever it may pause: lets others work, and `output` catch up. Answers what the work returns. */
export async function finishPaced<T>(
  steps: Generator<undefined, T>,
  output: Drained,
  signal: AbortSignal | undefined,
): Promise<T> {
  const pacer = new Pacer(signal);
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done === true) return step.value;
    if (output.saturated) await output.drain();
    if (pacer.due) await pacer.pause();
  }
}
