/** The deadlines of one request to another agent. */

/** A timer that fires this much later than it should shows that this process was the slow one, in milliseconds. */
const LATE = 50;

/** One timer for a whole request, which looks when it fires how long ago the last sign of life was. */
export class DeadlineTimers {
  readonly #silence: number;
  readonly #expire: (reason: string) => void;
  #limit: number;
  #seen = performance.now();
  #timer: NodeJS.Timeout;
  #done = false;

  constructor(silence: number, expire: (reason: string) => void) {
    this.#silence = silence;
    this.#expire = expire;
    this.#limit = silence;
    this.#timer = this.#arm(silence);
  }

  connecting(milliseconds: number): void {
    this.#restart(milliseconds);
  }

  connected(): void {
    this.#restart(this.#silence);
  }

  /** Called for each chunk of a body: cheap. */
  alive(): void {
    this.#seen = performance.now();
  }

  clear(): void {
    this.#done = true;
    clearTimeout(this.#timer);
  }

  #restart(limit: number): void {
    if (this.#done) return;
    clearTimeout(this.#timer);
    this.#limit = limit;
    this.alive();
    this.#timer = this.#arm(limit);
  }

  #arm(milliseconds: number): NodeJS.Timeout {
    const due = performance.now() + milliseconds;
    return setTimeout(() => {
      const now = performance.now();
      // A late timer says nothing of the other node: what it sent waits unread in a socket of ours. It is given the time again.
      if (now - due > LATE) this.#seen = now;
      const left = this.#seen + this.#limit - now;
      if (left > 0) this.#timer = this.#arm(left);
      else this.#lastLook();
    }, milliseconds);
  }

  /** Reads the sockets once more before the node counts as dead. */
  #lastLook(): void {
    const last = this.#timer;
    const seen = this.#seen;
    setImmediate(() =>
      setImmediate(() => {
        if (this.#timer !== last || this.#done) return;
        if (this.#seen === seen) this.#expire(`nothing for ${this.#limit} ms`);
        else this.#timer = this.#arm(this.#limit);
      }),
    );
  }
}
