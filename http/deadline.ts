/** Deadlines of one request: for its answer, for the end of a document, and for the transfer rate of a blob. */
import { DeadlineError } from './failure.ts';

/** The lowest acceptable rate, and how it is measured. */
export interface RateRule {
  /** Bytes a second; 0 measures nothing. */
  readonly minRate: number;
  /** Milliseconds of waiting over which it is averaged. */
  readonly window: number;
}

/** Number of checks in a window. */
const CHECKS_PER_WINDOW = 10;

/**
 * Watches the rate at which the network moves bytes. Only time spent waiting for the network counts, so a slow reader
 * or source does not fail the request.
 */
export class RateWatch {
  readonly #rule: RateRule;
  readonly #timer: NodeJS.Timeout | undefined;
  #bytes = 0;
  /** Milliseconds of waiting in this window, without the wait that lasts. */
  #waited = 0;
  #since: number | undefined;

  /** Calls `tooSlow` once, when too few bytes moved in a window. */
  constructor(rule: RateRule, tooSlow: (error: DeadlineError) => void) {
    this.#rule = rule;
    if (rule.minRate <= 0) return;
    this.#timer = setInterval(() => {
      if (this.#isTooSlow()) {
        this.stop();
        tooSlow(this.#error());
      }
    }, rule.window / CHECKS_PER_WINDOW);
    // The connection keeps the process alive, not this timer.
    this.#timer.unref();
  }

  /** Call it when bytes are requested from the network, or handed to it. */
  waiting(): void {
    this.#since ??= performance.now();
  }

  /** Call it when the network has moved `bytes`. */
  moved(bytes: number): void {
    if (this.#since !== undefined) this.#waited += performance.now() - this.#since;
    this.#since = undefined;
    this.#bytes += bytes;
  }

  /** Ends the watch. */
  stop(): void {
    clearInterval(this.#timer);
  }

  #isTooSlow(): boolean {
    const now = performance.now();
    const waited = this.#waited + (this.#since === undefined ? 0 : now - this.#since);
    if (waited < this.#rule.window) return false;
    if (this.#bytes < (this.#rule.minRate * waited) / 1000) return true;
    this.#bytes = 0;
    this.#waited = 0;
    if (this.#since !== undefined) this.#since = now;
    return false;
  }

  #error(): DeadlineError {
    const { minRate, window } = this.#rule;
    const found = `${this.#bytes} bytes in ${window / 1000} s`;
    return new DeadlineError('TOO_SLOW', `too slow: ${found}, less than ${minRate} bytes a second`);
  }
}

/** A timer that can be set again; the last setting counts. */
export class Deadline {
  readonly #expired: (error: DeadlineError) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(expired: (error: DeadlineError) => void) {
    this.#expired = expired;
  }

  /** Expires after `milliseconds` from now with an error of `code` that says `missing` did not come. */
  set(milliseconds: number, code: DeadlineError['code'], missing: string): void {
    this.clear();
    this.#timer = setTimeout(() => {
      this.#expired(new DeadlineError(code, `${missing} within ${milliseconds / 1000} s`));
    }, milliseconds);
    this.#timer.unref();
  }

  /** Cancels the timer. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}
