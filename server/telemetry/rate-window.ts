/** Requests, bytes and the longest latency of the last seconds, in a ring of one slot a second. */

/** Seconds over which rates are averaged. */
export const WINDOW_SECONDS = 10;

/** Figures of the window. */
export interface WindowFigures {
  readonly bytesPerSecond: number;
  readonly requestsPerSecond: number;
  /** Microseconds. */
  readonly longest: number;
}

/** See the head of the file. */
export class RateWindow {
  readonly #now: () => number;
  readonly #seconds = new Float64Array(WINDOW_SECONDS).fill(-1);
  readonly #bytes = new Float64Array(WINDOW_SECONDS);
  readonly #requests = new Float64Array(WINDOW_SECONDS);
  readonly #longest = new Float64Array(WINDOW_SECONDS);

  /** `now` in milliseconds, growing steadily. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Counts a request: its bytes, and its microseconds. */
  add(bytes: number, microseconds: number): void {
    const second = Math.floor(this.#now() / 1000);
    const slot = second % WINDOW_SECONDS;
    if (this.#seconds[slot] !== second) {
      this.#seconds[slot] = second;
      this.#bytes[slot] = 0;
      this.#requests[slot] = 0;
      this.#longest[slot] = 0;
    }
    this.#bytes[slot]! += bytes;
    this.#requests[slot]! += 1;
    this.#longest[slot] = Math.max(this.#longest[slot]!, microseconds);
  }

  /** The figures of the seconds that are in the window now. */
  get figures(): WindowFigures {
    const oldest = Math.floor(this.#now() / 1000) - WINDOW_SECONDS + 1;
    let bytes = 0;
    let requests = 0;
    let longest = 0;
    for (const [slot, second] of this.#seconds.entries()) {
      if (second < oldest) continue;
      bytes += this.#bytes[slot]!;
      requests += this.#requests[slot]!;
      longest = Math.max(longest, this.#longest[slot]!);
    }
    return { bytesPerSecond: bytes / WINDOW_SECONDS, requestsPerSecond: requests / WINDOW_SECONDS, longest };
  }
}
