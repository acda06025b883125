/** Separates failures that may pass from those that cannot, and spaces attempts. */
import { type AccelErrorCode, asAccelError } from '../../base/error.ts';
import type { Failure } from './queue.ts';

/** Attempts that end with their process, or with a lease that nobody renewed, before the job is taken for the cause. */
export const MAX_LOST = 20;
/** Attempts that fail for a reason that may pass, before a job is parked; the last waits add up to about five hours. */
export const MAX_ATTEMPTS = 25;
/** Attempts whose process crashed, ran out of memory or of time. */
export const MAX_CRASHES = 3;

const FIRST_DELAY = 2_000;
const LONGEST_DELAY = 15 * 60_000;
/** Lost attempts that are repeated at once: a machine may restart twice. */
const FREE_LOSSES = 3;

/** Codes of failures that may pass by themselves. Everything else needs a change of the image, the rights or the options. */
const TEMPORARY: ReadonlySet<AccelErrorCode> = new Set<AccelErrorCode>([
  'registry-unreachable',
  'registry-error',
  'timed-out',
  'aborted',
  // A proxy or a disk in between; the registry's own content is compared again.
  'digest-mismatch',
  'size-mismatch',
  'io-error',
  // A layer may be swept while it is read, or not be replicated yet.
  'not-found',
  // The service's own surroundings, such as a file of credentials that is being written; rules are checked before they are used.
  'usage',
]);

/** An error as the record of a failure. */
export function failureOf(error: unknown): Failure {
  const known = asAccelError(error);
  return {
    code: known.code,
    message: known.message,
    where: known.where,
    ...(known.expected === undefined ? {} : { expected: known.expected }),
    ...(known.found === undefined ? {} : { found: known.found }),
    ...(known.hint === undefined ? {} : { hint: known.hint }),
    temporary: TEMPORARY.has(known.code),
  };
}

/** Milliseconds before the attempt that follows `attempts` failed ones: doubles, spread by half. */
export function retryDelay(attempts: number, random: () => number = Math.random): number {
  const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(attempts - 1, 20));
  return Math.round(delay * (0.75 + random() / 2));
}

/** Milliseconds before a job is taken again that was lost `lost` times. */
export function lostDelay(lost: number): number {
  return lost <= FREE_LOSSES ? 0 : Math.min(60_000, 500 * 2 ** (lost - FREE_LOSSES - 1));
}

/** The reason of a job that was lost too often. */
export function lostFailure(lost: number): Failure {
  return {
    code: 'worker-lost',
    message: 'every process that ran this job ended before the job did',
    found: `${lost} attempts`,
    hint: 'Look for what ended the service (memory, a signal), then try again.',
    temporary: false,
  };
}
