/** The time that a whole run may take. */
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import { formatWait } from '../http/retry-after.ts';

/** See {@link limitRun}. */
export interface RunLimit {
  /** Fires when the user interrupts the run, and when its time is over. */
  readonly signal: AbortSignal;
  /** The error to report for a failure: `timed-out` where the limit caused it. */
  explain(error: unknown): unknown;
  /** Ends the clock. */
  release(): void;
}

/** Bounds a run to `milliseconds` from now; undefined: no bound but the user's `interrupt`. */
export function limitRun(milliseconds: number | undefined, interrupt: AbortSignal): RunLimit {
  if (milliseconds === undefined) return { signal: interrupt, explain: (error) => error, release: () => undefined };
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new AccelError('timed-out', 'the run reached its time limit'));
  }, milliseconds);
  return {
    signal: AbortSignal.any([interrupt, controller.signal]),
    explain: (cause) => {
      if (!controller.signal.aborted || interrupt.aborted) return cause;
      return new AccelError('timed-out', 'the run did not end in time and was stopped', {
        expected: `an end within ${formatWait(milliseconds)}`,
        hint: advise`Nothing was tagged. Give it more time with ${option('timeout')}: layers that were pushed are not converted again.`,
        cause,
      });
    },
    release: () => clearTimeout(timer),
  };
}
