/**
 * The life of a process that runs all the time. The first SIGTERM or SIGINT drains it: parts stop in the reverse order of
 * their start and finish what they have begun. A second signal, or the end of the time for draining, stops it at once. SIGHUP reads
 * the configuration again.
 */
import { AccelError, asAccelError } from '../base/error.ts';
import { errorLine } from '../base/error-line.ts';

/** The part of `process` that delivers signals. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

/** Settings of a lifecycle. */
export interface LifecycleOptions {
  readonly signals: SignalSource;
  /** Milliseconds that draining may take. */
  readonly drain: number;
  /** Writes one line of the log. */
  readonly log: (line: string) => void;
}

/** A part of the process that ends in order. */
interface Part {
  readonly name: string;
  readonly stop: (signal: AbortSignal) => Promise<void> | void;
}

/** States and endings of one process. */
export class Lifecycle implements AsyncDisposable {
  /** Fires when the process should end: take no new work. */
  readonly draining: AbortSignal;
  /** Fires when there is no more time: drop what is unfinished. */
  readonly stopped: AbortSignal;
  readonly #draining = new AbortController();
  readonly #stopped = new AbortController();
  readonly #options: LifecycleOptions;
  readonly #parts: Part[] = [];
  readonly #reloads: (() => Promise<void> | void)[] = [];
  readonly #unready = new Map<string, string>();
  readonly #degraded = new Map<string, readonly string[]>();
  #reloading: Promise<void> = Promise.resolve();

  constructor(options: LifecycleOptions) {
    this.draining = this.#draining.signal;
    this.stopped = this.#stopped.signal;
    this.#options = options;
    options.signals.on('SIGTERM', this.#onEnd);
    options.signals.on('SIGINT', this.#onEnd);
    options.signals.on('SIGHUP', this.#onHangup);
  }

  /** Registers a part that has started; parts stop in reverse order. `stop` hears by its signal when time is up. */
  started(name: string, stop: Part['stop']): void {
    this.#parts.push({ name, stop });
  }

  /** Registers a function that SIGHUP calls. A failure is logged, and the old configuration stays in force. */
  onReload(reload: () => Promise<void> | void): void {
    this.#reloads.push(reload);
  }

  /** Records why a part cannot serve; without a reason, that it can. */
  setReady(part: string, reason?: string): void {
    if (reason === undefined) this.#unready.delete(part);
    else this.#unready.set(part, reason);
  }

  /** Records what does not work in a part that serves all the same. */
  setDegraded(part: string, reasons: readonly string[]): void {
    this.#degraded.set(part, reasons);
  }

  /** Lists what does not work though the process is ready. */
  degraded(): string[] {
    return [...this.#degraded.values()].flat();
  }

  /** Lists why the process is not ready; empty when it is. */
  unready(): string[] {
    const reasons = [...this.#unready].map(([part, reason]) => `${part}: ${reason}`);
    return this.draining.aborted ? ['shutting down', ...reasons] : reasons;
  }

  /** Begins to end the process, as a signal does. */
  drain(): void {
    this.#draining.abort();
  }

  /**
   * Waits for the end and stops all parts. Fails with the first failure of a part, and with `aborted` where the parts did not
   * end in time.
   */
  async run(): Promise<void> {
    if (!this.draining.aborted) {
      await new Promise<void>((resolve) => this.draining.addEventListener('abort', () => resolve(), { once: true }));
    }
    const timer = setTimeout(() => this.#stop(`not finished after ${this.#options.drain} ms`), this.#options.drain);
    try {
      await this.#stopParts();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Takes the signal handlers away. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { signals } = this.#options;
    signals.off('SIGTERM', this.#onEnd);
    signals.off('SIGINT', this.#onEnd);
    signals.off('SIGHUP', this.#onHangup);
    await this.#reloading;
  }

  async #stopParts(): Promise<void> {
    let failure: AccelError | undefined;
    const gone = new Promise<'stopped'>((resolve) => {
      if (this.stopped.aborted) resolve('stopped');
      else this.stopped.addEventListener('abort', () => resolve('stopped'), { once: true });
    });
    for (let part = this.#parts.pop(); part !== undefined; part = this.#parts.pop()) {
      const { name, stop } = part;
      // A part that does not stop must not keep the others from it.
      const ended = (async () => stop(this.stopped))().catch((error: unknown) => {
        this.#options.log(`stopping ${name} failed: ${errorLine(error)}`);
        failure ??= asAccelError(error);
      });
      if ((await Promise.race([ended, gone])) === 'stopped') {
        failure ??= new AccelError('aborted', 'stopped before all work was finished', { where: { part: name } });
      }
    }
    if (failure !== undefined) throw failure;
  }

  #stop(reason: string): void {
    if (this.stopped.aborted) return;
    this.#options.log(`stopping at once: ${reason}`);
    this.#stopped.abort();
  }

  readonly #onEnd = (signal: NodeJS.Signals): void => {
    if (this.draining.aborted) {
      this.#stop(`a second ${signal}`);
      return;
    }
    this.#options.log(`${signal}: finishing what is in progress; once more to stop at once`);
    this.#draining.abort();
  };

  readonly #onHangup = (): void => {
    if (this.draining.aborted) return;
    // One after another, however many signals come.
    this.#reloading = this.#reloading.then(async () => {
      try {
        for (const reload of this.#reloads) await reload();
        this.#options.log('SIGHUP: configuration read again');
      } catch (error) {
        this.#options.log(`SIGHUP: the configuration stays as it was: ${errorLine(error)}`);
      }
    });
  };
}
