/** When to try a request again, and how long to wait before. */
import type { RegistryRuntime } from './registry-options.ts';

/** Longest wait before a try, in milliseconds; also bounds what a Retry-After asks for. */
export const MAX_DELAY = 60_000;

/** First wait, in milliseconds; each further one doubles, up to MAX_BACKOFF. */
const BASE_DELAY = 500;
const MAX_BACKOFF = 4_000;

const TRANSIENT_STATUS: readonly number[] = [408, 425, 429];

const TRANSIENT_CODES: readonly string[] = [
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENETDOWN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  // The peer closed the connection before the announced length.
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
];

/** Whether a status tells of a state that passes. 501 and 505 say that the server cannot do it at all. */
export function isTransientStatus(status: number): boolean {
  return TRANSIENT_STATUS.includes(status) || (status >= 500 && status !== 501 && status !== 505);
}

/** The system's or undici's code of an error, also where it is wrapped. */
export function errorCode(error: unknown): string | undefined {
  for (let inner = error, depth = 0; inner instanceof Error && depth < 5; inner = inner.cause, depth += 1) {
    if ('code' in inner && typeof inner.code === 'string') return inner.code;
    // Both address families failed: the errors are alike, the first one speaks.
    if (inner instanceof AggregateError && inner.errors.length > 0) return errorCode(inner.errors[0]);
  }
  return undefined;
}

/** Whether a failure below HTTP may pass by itself: a reset or refused connection, a timeout, a stall. */
export function isTransientError(error: unknown): boolean {
  const code = errorCode(error);
  return code !== undefined && TRANSIENT_CODES.includes(code);
}

/**
 * Milliseconds to wait before try number `attempt` (1 = the first repetition): the Retry-After header where there is
 * one (seconds or a date), else exponential with jitter over its upper half.
 */
export function retryDelay(
  attempt: number,
  retryAfter: string | undefined,
  runtime: Pick<RegistryRuntime, 'now' | 'random'>,
): number {
  const asked = parseRetryAfter(retryAfter, runtime.now());
  if (asked !== undefined) return Math.min(Math.max(asked, 0), MAX_DELAY);
  const backoff = Math.min(BASE_DELAY * 2 ** (attempt - 1), MAX_BACKOFF);
  return Math.round(backoff / 2 + (runtime.random() * backoff) / 2);
}

function parseRetryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*\d+\s*$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : date - now;
}

/** What a retried call must tell about an answer. */
interface Answer {
  readonly status: number;
  header(name: string): string | undefined;
  discard(): Promise<void>;
}

/** How {@link retrying} judges failures; both default to this module's rules. */
export interface RetryRules {
  readonly signal?: AbortSignal | undefined;
  readonly passingStatus?: (status: number) => boolean;
  readonly passingError?: (error: unknown) => boolean;
}

/**
 * Calls `send` until its answer or error is one that stays, at most `runtime.attempts` times, and returns the last
 * answer or throws the last error. `undefined` counts as done.
 */
export async function retrying<A extends Answer | undefined>(
  send: () => Promise<A>,
  runtime: RegistryRuntime,
  rules: RetryRules = {},
): Promise<A> {
  const { signal, passingStatus = isTransientStatus, passingError = isTransientError } = rules;
  for (let attempt = 1; ; attempt += 1) {
    let retryAfter: string | undefined;
    try {
      const answer = await send();
      if (answer === undefined || !passingStatus(answer.status) || attempt >= runtime.attempts) return answer;
      retryAfter = answer.header('retry-after');
      await answer.discard();
    } catch (error) {
      if (signal?.aborted || !passingError(error) || attempt >= runtime.attempts) throw error;
    }
    await runtime.sleep(retryDelay(attempt, retryAfter, runtime), signal);
  }
}
