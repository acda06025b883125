/** Measures how late this process is: a node that is slow itself has no right to call others silent. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds between two looks at the clock, and for which the worst of them counts at least. */
const RESOLUTION = 20;
const WINDOW = 2_500;

/** The longest that the event loop was late in the last seconds. */
export class LoopLag {
  readonly #delays: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  readonly #timer: NodeJS.Timeout;
  #before = 0;

  constructor() {
    this.#delays.enable();
    this.#timer = setInterval(() => {
      this.#before = this.#worst();
      this.#delays.reset();
    }, WINDOW).unref();
  }

  /** Milliseconds. */
  get milliseconds(): number {
    return Math.max(this.#before, this.#worst());
  }

  close(): void {
    clearInterval(this.#timer);
    this.#delays.disable();
  }

  #worst(): number {
    return this.#delays.count === 0 ? 0 : Math.max(0, this.#delays.max / 1e6 - RESOLUTION);
  }
}
