/** Decides whether to retry a request and how long to wait: the only back-off of the product. */

import { isSlowError, isTransientError } from './failure.ts';
import type { HttpRuntime } from './http-options.ts';
import { formatTime, formatWait, parseRetryAfter } from './retry-after.ts';

/** First wait, in milliseconds; each further one doubles, up to MAX_BACKOFF. */
const BASE_DELAY = 500;
const MAX_BACKOFF = 4_000;

/** Waits of a back-off below this many milliseconds are not reported. */
const LEAST_REPORTED = 1_000;

const TRANSIENT_STATUS: readonly number[] = [408, 425, 429];

/** Whether a status describes a state that passes. 501 and 505 say that the server cannot do it at all. */
export function isTransientStatus(status: number): boolean {
  return TRANSIENT_STATUS.includes(status) || (status >= 500 && status !== 501 && status !== 505);
}

/** The part of an answer that a back-off uses. */
export interface RetryAnswer {
  readonly status: number;
  /** Names the server in a report. */
  readonly url?: URL;
  header(name: string): string | undefined;
}

/** Limits of retries and waits, and the listener for waits. */
export interface Patience extends Pick<HttpRuntime, 'now' | 'random' | 'sleep' | 'attempts' | 'slowAttempts'> {
  /** Milliseconds that one request may wait where a server asks for it. */
  readonly maxWait: number;
  /** Called for each wait that a server causes. */
  readonly report?: (message: string, until: number, host: string) => void;
}

/** Counts the failures of one operation, and waits longer after each. */
export class Backoff {
  readonly #patience: Patience;
  readonly #signal: AbortSignal | undefined;
  #failures = 0;
  #slow = 0;
  #waited = 0;

  constructor(patience: Patience, signal?: AbortSignal) {
    this.#patience = patience;
    this.#signal = signal;
  }

  /** Number of the current try, from 1. */
  get attempt(): number {
    return this.#failures + 1;
  }

  /** Resets the count after progress, so that the next failure is the first again. */
  reset(): void {
    this.#failures = 0;
    this.#slow = 0;
    this.#waited = 0;
  }

  /** Records a failure. Returns false to give up: too many failures, or the server asks for too long a wait. */
  failed(error?: unknown, answer?: RetryAnswer): boolean {
    this.#failures += 1;
    if (isSlowError(error)) this.#slow += 1;
    const { attempts, slowAttempts, maxWait } = this.#patience;
    if (this.#failures >= attempts || this.#slow >= slowAttempts) return false;
    return this.#waited + (this.#asked(answer) ?? 0) <= maxWait;
  }

  /**
   * Waits before the next try as long as the answer asks for, otherwise exponentially, with jitter over the upper half.
   */
  async wait(answer?: RetryAnswer): Promise<void> {
    const { now, random, sleep, report } = this.#patience;
    const asked = this.#asked(answer);
    const backoff = Math.min(BASE_DELAY * 2 ** (Math.max(this.#failures, 1) - 1), MAX_BACKOFF);
    const delay = asked ?? Math.round(backoff / 2 + (random() * backoff) / 2);
    this.#waited += asked ?? 0;
    if (answer !== undefined && (asked === undefined ? delay >= LEAST_REPORTED : delay > 0)) {
      const until = now() + delay;
      const host = answer.url?.host ?? 'the server';
      const text = `${host} ${causeOf(answer.status)} (HTTP ${answer.status}): waiting ${formatWait(delay)}, until ${formatTime(until)}`;
      report?.(text, until, host);
    }
    await sleep(delay, this.#signal);
  }

  #asked(answer: RetryAnswer | undefined): number | undefined {
    const asked = parseRetryAfter(answer?.header('retry-after'), this.#patience.now());
    return asked === undefined ? undefined : Math.max(asked, 0);
  }
}

function causeOf(status: number): string {
  if (status === 404) return 'does not have it yet';
  return status === 429 ? 'limits the rate of requests' : 'cannot answer now';
}

/** Rules of {@link retrying}; both predicates default to those of this module. */
export interface RetryRules {
  readonly signal?: AbortSignal | undefined;
  readonly passingStatus?: (status: number) => boolean;
  readonly passingError?: (error: unknown) => boolean;
}

/**
 * Calls `send` until the answer or error is final or the tries are used up, then returns the last answer or throws the
 * last error. `undefined` counts as final. `send` receives the number of the try, from 1.
 */
export async function retrying<A extends (RetryAnswer & { discard(): Promise<void> }) | undefined>(
  send: (attempt: number) => Promise<A>,
  patience: Patience,
  rules: RetryRules = {},
): Promise<A> {
  const { signal, passingStatus = isTransientStatus, passingError = isTransientError } = rules;
  const backoff = new Backoff(patience, signal);
  for (;;) {
    let answer: A | undefined;
    try {
      answer = await send(backoff.attempt);
      if (answer === undefined || !passingStatus(answer.status) || !backoff.failed(undefined, answer)) return answer;
    } catch (error) {
      if (signal?.aborted || !passingError(error) || !backoff.failed(error)) throw error;
    }
    await answer?.discard();
    await backoff.wait(answer);
  }
}

/**
 * A {@link Patience.report} that passes messages to `warn`, except for waits of a host that end no later than a
 * reported one, because parallel requests are refused at the same time.
 */
export function reportOnce(warn: (message: string) => void): NonNullable<Patience['report']> {
  const reported = new Map<string, number>();
  return (message, until, host) => {
    if (until <= (reported.get(host) ?? 0) + LEAST_REPORTED) return;
    reported.set(host, until);
    warn(message);
  };
}
