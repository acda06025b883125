/**
 * Finds out that a process has stopped, though it has not ended. A worker says every half second that it turns. Silence alone
 * proves nothing on a busy node: what the kernel says of the process decides, and a process that waits for the processor or
 * the disk is left alone.
 */
import { readFileSync } from 'node:fs';

/** Milliseconds between two signs of life of a worker, and between two looks at it. */
export const SIGN_EVERY = 500;

/** A process at one moment, as the kernel sees its first thread. */
export interface ThreadState {
  /** A letter of proc_pid_stat(5). */
  readonly state: string;
  /** Milliseconds of processor time since it started. */
  readonly processor: number;
}

/** A silent process that uses this much processor time without a sign is in an endless loop, in milliseconds. */
const ENDLESS = 10_000;
/** A process that is asleep wakes up for its next sign; one that sleeps longer waits for what may never come. */
const ASLEEP = 10_000;
/** Milliseconds of a tick of the kernel's accounts: USER_HZ is 100 on every architecture that Node runs on. */
const TICK = 10;
/** A look that comes this late shows that the one who looks was held up, in milliseconds. */
const LATE = 1_000;

/** Judges one process by its signs and by what the kernel says, with the caller's clock. */
export class SignsOfLife {
  readonly #silence: number;
  #last: number;
  #looked: number;
  /** Since when each look found the process stopped, or asleep without having run. */
  #stoppedSince: number | undefined;
  #asleepSince: number | undefined;
  #atSilence: number | undefined;
  #before: ThreadState | undefined;

  /** `silence`: milliseconds without a sign from which the process is looked at. */
  constructor(silence: number, now: number) {
    this.#silence = silence;
    this.#last = now;
    this.#looked = now;
  }

  /** The process says that it turns. */
  sign(now: number): void {
    this.#last = now;
    this.#forget();
  }

  /** Names what is wrong with the process; undefined while it may be well. `read` looks at it, undefined where that is not possible. */
  look(now: number, read: () => ThreadState | undefined): string | undefined {
    const late = now - this.#looked > SIGN_EVERY + LATE;
    this.#looked = now;
    // Signs of the time in which nobody looked wait to be read.
    if (late) {
      this.sign(now);
      return undefined;
    }
    if (now - this.#last < SIGN_EVERY * 2) return undefined;
    const found = read();
    if (found === undefined) return undefined;
    const { state, processor } = found;
    // The first look of a silence finds what may have begun with it.
    const since = this.#before === undefined ? this.#last : now;
    const ran = this.#before !== undefined && processor > this.#before.processor;
    this.#before = found;
    this.#atSilence ??= processor;
    this.#stoppedSince = state === 'T' || state === 't' ? (this.#stoppedSince ?? since) : undefined;
    this.#asleepSince = state === 'S' && !ran ? (this.#asleepSince ?? now) : undefined;
    if (this.#stoppedSince !== undefined && now - this.#stoppedSince >= this.#silence) return 'it is stopped';
    if (this.#asleepSince !== undefined && now - this.#asleepSince >= ASLEEP) return 'it waits for something for ever';
    if (processor - this.#atSilence >= ENDLESS) return 'it runs without an end';
    return undefined;
  }

  #forget(): void {
    this.#stoppedSince = undefined;
    this.#asleepSince = undefined;
    this.#atSilence = undefined;
    this.#before = undefined;
  }
}

/** The first thread of a process; undefined where there is no such process, or no /proc. */
export function readThread(pid: number): ThreadState | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/task/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name before it, in brackets, may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0]!, processor: (Number(fields[11]) + Number(fields[12])) * TICK };
}
