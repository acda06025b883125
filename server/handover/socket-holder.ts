/**
 * Keeps the sockets of a role while worker processes come and go. A worker that ends is replaced at once, by one that has its
 * modules loaded already; SIGHUP replaces it by a new one before the old one stops. Connections wait in the queue of the
 * socket meanwhile, so that no client is refused.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AccelError } from '../../base/error.ts';
import { errorLine } from '../../base/error-line.ts';
import type { SignalSource } from '../lifecycle.ts';
import type { RestartReason } from './handover.ts';
import type { HeldSocket } from './listening-sockets.ts';
import { refuseConnections } from './refuser.ts';
import { WorkerProcess } from './worker-process.ts';

/** Settings of a holder. */
export interface HolderOptions {
  readonly sockets: readonly HeldSocket[];
  /** The command that starts a worker. */
  readonly command: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly signals: SignalSource;
  /** Milliseconds that a worker may take to end. */
  readonly drain: number;
  /** Writes one line of the log. */
  readonly log: (line: string) => void;
  /** Checks before a reload what a new worker could not change; throws where it must not happen. */
  readonly beforeReload: () => Promise<void>;
  /** Shorter waits, for tests. */
  readonly times?: Partial<HolderTimes>;
}

/** Waits of a holder, in milliseconds. */
export interface HolderTimes {
  /** For a worker to load its modules and to serve. */
  readonly start: number;
  /** From when a worker serves to when the next one is loaded in advance. */
  readonly standbyAfter: number;
  /** A worker that ends sooner counts as one that failed. */
  readonly settled: number;
  /** Without a sign of life of a worker that the kernel says is stopped, after which it is killed. */
  readonly silence: number;
  /** Before the second worker in a row that failed; doubled for each further one. */
  readonly firstBackOff: number;
  readonly longestBackOff: number;
  /** Without a worker, after which connections are refused. */
  readonly patience: number;
}

const TIMES: HolderTimes = {
  start: 30_000,
  standbyAfter: 500,
  settled: 3_000,
  silence: 4_000,
  firstBackOff: 100,
  longestBackOff: 10_000,
  patience: 5_000,
};

/** A worker that turns no more has failed although it lived longer than one that ends: how many times as long. */
const HUNG_SETTLED = 20;
/** Milliseconds beyond a worker's own time for draining, after which it is killed. */
const RESERVE = 2_000;

/** See the head of the file. */
export class Holder {
  readonly #o: HolderOptions;
  readonly #times: HolderTimes;
  readonly #restarts: Record<RestartReason, number> = { reload: 0, crash: 0, hung: 0 };
  readonly #ending = new AbortController();
  #current: WorkerProcess | undefined;
  #standby: WorkerProcess | undefined;
  #standbyTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #lost: RestartReason = 'crash';
  /** The text for the next worker, and the worker whose word counts. */
  #kept: string | undefined;
  #keeper: WorkerProcess | undefined;
  /** Replacements run one after another. */
  #replacing: Promise<void> = Promise.resolve();
  /** Workers that finish what they have begun. */
  readonly #leaving = new Set<WorkerProcess>();

  constructor(options: HolderOptions) {
    this.#o = options;
    this.#times = { ...TIMES, ...options.times };
  }

  /** Serves until a signal ends it. Fails with the first worker's error when that does not get to serve. */
  async run(): Promise<void> {
    const { signals } = this.#o;
    signals.on('SIGTERM', this.#onEnd);
    signals.on('SIGINT', this.#onEnd);
    signals.on('SIGHUP', this.#onHangup);
    try {
      await this.#startFirst();
      await aborted(this.#ending.signal);
      await this.#end();
    } finally {
      signals.off('SIGTERM', this.#onEnd);
      signals.off('SIGINT', this.#onEnd);
      signals.off('SIGHUP', this.#onHangup);
      clearTimeout(this.#standbyTimer);
      await this.#standby?.kill();
      for (const socket of this.#o.sockets) socket.close();
    }
  }

  async #startFirst(): Promise<void> {
    const worker = this.#spawn();
    if (await this.#bringUp(worker)) return this.#adopt(worker);
    const ended = worker.isGone ? await worker.ended : 'nothing';
    await worker.kill();
    if (this.#ending.signal.aborted) return;
    throw (
      worker.failure ??
      new AccelError('internal', 'the worker process did not start to serve', {
        found: ended,
        where: { pid: worker.pid ?? 0 },
      })
    );
  }

  /** Makes a worker that serves the current one, and replaces it when it ends. */
  #adopt(worker: WorkerProcess): void {
    this.#current = worker;
    this.#o.log(`worker ${worker.pid} serves`);
    this.#prepareStandby();
    void worker.ended.then((how) => this.#next(() => this.#replaceLost(worker, how)));
  }

  #next(task: () => Promise<void>): void {
    this.#replacing = this.#replacing.then(async () => {
      if (!this.#ending.signal.aborted) await task();
    });
  }

  /** Starts workers until one serves. Between those that fail at once it waits longer and longer. */
  async #replaceLost(lost: WorkerProcess, how: string): Promise<void> {
    // A reload has put another in its place.
    if (lost !== this.#current) return;
    // Loading another one in advance would take the processor from this one.
    clearTimeout(this.#standbyTimer);
    const { patience, settled } = this.#times;
    const lived = performance.now() - (lost.servingSince ?? 0);
    this.#failures = lived < (lost.wasHung ? settled * HUNG_SETTLED : settled) ? this.#failures + 1 : 0;
    this.#lost = lost.wasHung ? 'hung' : 'crash';
    this.#o.log(`worker ${lost.pid} ended (${how}) after ${Math.round(lived / 1000)} s; starting another`);
    let stopRefusing: (() => Promise<void>) | undefined;
    const timer = setTimeout(() => {
      this.#o.log(`no worker has served for ${patience} ms: connections are refused until one does`);
      stopRefusing = refuseConnections(this.#o.sockets);
    }, patience);
    try {
      while (!(await this.#tryOnce())) this.#failures += 1;
    } finally {
      clearTimeout(timer);
      await stopRefusing?.();
    }
  }

  /** Starts one worker in the place of one that was lost, after the wait that is due; false when it does not serve. */
  async #tryOnce(): Promise<boolean> {
    const { firstBackOff, longestBackOff } = this.#times;
    if (this.#failures > 1) {
      const wait = Math.min(longestBackOff, firstBackOff * 2 ** (this.#failures - 2));
      this.#o.log(`${this.#failures} workers in a row ended soon; the next one in ${wait} ms`);
      await sleep(wait, undefined, { signal: this.#ending.signal }).catch(() => undefined);
    }
    if (this.#ending.signal.aborted) return true;
    this.#restarts[this.#lost] += 1;
    this.#lost = 'crash';
    const worker = this.#takeStandby() ?? this.#spawn();
    if (await this.#bringUp(worker)) {
      this.#adopt(worker);
      return true;
    }
    await worker.kill();
    if (this.#ending.signal.aborted) return true;
    this.#o.log(
      `worker ${worker.pid} did not start to serve: ${worker.failure === undefined ? 'no reason is known' : errorLine(worker.failure)}`,
    );
    return false;
  }

  /** Lets a worker load and serve; whether it does, before the holder is to end. */
  async #bringUp(worker: WorkerProcess): Promise<boolean> {
    const { start } = this.#times;
    const up = async () => {
      if (!(await worker.loaded(start))) return false;
      this.#keeper = worker;
      return worker.serve({ restarts: { ...this.#restarts }, kept: this.#kept }, start);
    };
    return (await Promise.race([up(), aborted(this.#ending.signal)])) === true;
  }

  /** Loads the next worker in advance: the modules take longer than all else. */
  #prepareStandby(): void {
    clearTimeout(this.#standbyTimer);
    this.#standbyTimer = setTimeout(() => {
      if (this.#standby?.isGone === false || this.#ending.signal.aborted) return;
      const standby = this.#spawn();
      this.#standby = standby;
      void standby.loaded(this.#times.start).then((loaded) => {
        if (loaded && standby === this.#standby) this.#o.log(`worker ${standby.pid} is ready to take over`);
      });
    }, this.#times.standbyAfter).unref();
  }

  #takeStandby(): WorkerProcess | undefined {
    const ready = this.#standby;
    this.#standby = undefined;
    return ready?.isGone === false ? ready : undefined;
  }

  #spawn(): WorkerProcess {
    const { command, sockets, environment } = this.#o;
    const worker: WorkerProcess = new WorkerProcess({
      command,
      sockets,
      environment,
      silence: this.#times.silence,
      // One that leaves knows less than the one in its place.
      onKeep: (text) => {
        if (worker === this.#keeper) this.#kept = text;
      },
    });
    return worker;
  }

  /** Puts a worker with the present files and configuration in the place of the current one. */
  async #reload(): Promise<void> {
    const old = this.#current!;
    let next: WorkerProcess | undefined;
    try {
      await this.#o.beforeReload();
      // The one that waits was loaded from the files of before.
      clearTimeout(this.#standbyTimer);
      await this.#takeStandby()?.kill();
      next = this.#spawn();
      if (!(await next.loaded(this.#times.start))) throw next.failure ?? new Error('the new worker did not start');
      await old.freeze();
      this.#restarts.reload += 1;
      if (!(await this.#bringUp(next))) throw next.failure ?? new Error('the new worker did not serve');
    } catch (error) {
      await next?.kill();
      this.#keeper = old;
      old.thaw();
      this.#prepareStandby();
      this.#o.log(`SIGHUP: all stays as it was: ${errorLine(error)}`);
      return;
    }
    this.#failures = 0;
    this.#adopt(next);
    this.#o.log(`SIGHUP: worker ${old.pid} finishes what it has begun`);
    void this.#release(old);
  }

  /** Lets a worker finish, and kills it when its time is up. */
  async #release(worker: WorkerProcess): Promise<void> {
    this.#leaving.add(worker);
    worker.drain();
    const timer = setTimeout(() => void worker.kill(), this.#o.drain + RESERVE);
    await worker.ended;
    clearTimeout(timer);
    this.#leaving.delete(worker);
  }

  async #end(): Promise<void> {
    clearTimeout(this.#standbyTimer);
    // A socket of the init system stays open there; others are closed first, so that clients are refused at once.
    for (const socket of this.#o.sockets) socket.close();
    await this.#replacing;
    if (this.#current?.isGone === false) void this.#release(this.#current);
    await Promise.all([...this.#leaving].map((worker) => worker.ended));
  }

  readonly #onEnd = (signal: NodeJS.Signals): void => {
    if (!this.#ending.signal.aborted) {
      this.#ending.abort();
      return;
    }
    this.#o.log(`a second ${signal}: ending at once`);
    for (const worker of this.#leaving) worker.drain();
  };

  readonly #onHangup = (): void => {
    this.#next(() => this.#reload());
  };
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
