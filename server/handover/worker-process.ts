/** One worker process, as its holder sees it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { AccelError } from '../../base/error.ts';
import {
  formatSockets,
  type HolderMessage,
  MOST_KEPT,
  type Restarts,
  SOCKETS_VARIABLE,
  type WorkerMessage,
} from './handover.ts';
import type { HeldSocket } from './listening-sockets.ts';
import { readThread, SIGN_EVERY, SignsOfLife } from './signs-of-life.ts';

/** The command that starts a worker, and the sockets that it gets. */
export interface WorkerCommand {
  /** The program of Node, its options, the file and its arguments. */
  readonly command: readonly string[];
  readonly sockets: readonly HeldSocket[];
  readonly environment: NodeJS.ProcessEnv;
  /** Milliseconds without a sign of life after which a process that is stopped is killed. */
  readonly silence: number;
  /** Hears of a text that the worker gives to keep for the next one. */
  readonly onKeep?: (text: string) => void;
}

/** Descriptors of a child: nothing to read, the output of this process, the channel, and then the sockets. */
const FIRST_SOCKET = 4;
/** Milliseconds for a worker to leave alone what it shares: it may be writing a piece to a slow disk. */
const FREEZE = 1_000;

/** See the head of the file. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #loaded: Promise<unknown>;
  readonly #serving: Promise<unknown>;
  readonly #onKeep: WorkerCommand['onKeep'];
  #frozen: (() => void) | undefined;
  #failure: AccelError | undefined;
  #gone = false;
  readonly #silence: number;
  #signs: SignsOfLife | undefined;
  #watching: NodeJS.Timeout | undefined;
  #hung: string | undefined;
  /** Resolves when the process has ended, with its signal or exit code. */
  readonly ended: Promise<string>;
  /** When it began to serve, of performance.now(). */
  servingSince: number | undefined;

  constructor({ command, sockets, environment, silence, onKeep }: WorkerCommand) {
    this.#silence = silence;
    this.#onKeep = onKeep;
    const [program = process.execPath, ...args] = command;
    const numbers = new Map(sockets.map(({ name }, index) => [name, FIRST_SOCKET + index]));
    this.#child = spawn(program, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...sockets.map(({ fd }) => fd)],
      env: { ...environment, [SOCKETS_VARIABLE]: formatSockets(numbers) },
      // A terminal's Ctrl-C is for the holder, which passes it on once.
      detached: true,
    });
    const said = new EventEmitter();
    this.#child.on('message', (message: WorkerMessage) => this.#hear(message, said));
    this.#loaded = once(said, 'loaded');
    this.#serving = once(said, 'serving');
    this.ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.#gone = true;
        clearInterval(this.#watching);
        this.#frozen?.();
        resolve(this.#hung === undefined ? how : `killed: ${this.#hung}`);
      };
      this.#child.once('error', ({ message }) => end(message));
      this.#child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
    });
    // A channel whose other end has gone: the exit says it.
    this.#child.on('error', () => undefined);
  }

  /** The number of the process; undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether the process has ended. */
  get isGone(): boolean {
    return this.#gone;
  }

  /** Whether it was killed because it turned no more. */
  get wasHung(): boolean {
    return this.#hung !== undefined;
  }

  /** The error by which the worker gave up; undefined where it gave none. */
  get failure(): AccelError | undefined {
    return this.#failure;
  }

  /** Waits for the modules; false when the process ends before, or after `milliseconds`. */
  loaded(milliseconds: number): Promise<boolean> {
    return this.#before(this.#loaded, milliseconds);
  }

  /** Lets the worker serve, with what the one before gave to keep; false when it ends before it does, or after `milliseconds`. */
  async serve(
    { restarts, kept }: { readonly restarts: Restarts; readonly kept: string | undefined },
    milliseconds: number,
  ): Promise<boolean> {
    this.#send({ kind: 'start', restarts, kept });
    const serves = await this.#before(this.#serving, milliseconds);
    if (serves) this.servingSince = performance.now();
    return serves;
  }

  /** Waits until the worker leaves what it shares alone. */
  async freeze(): Promise<void> {
    const frozen = new Promise<void>((resolve) => {
      this.#frozen = resolve;
    });
    this.#send({ kind: 'freeze' });
    await this.#before(frozen, FREEZE);
  }

  /** Lets a frozen worker carry on. */
  thaw(): void {
    this.#send({ kind: 'thaw' });
  }

  /** Asks the worker to finish and end; again to end at once. */
  drain(): void {
    this.#send({ kind: 'drain' });
  }

  /** Ends the process at once, and waits for it. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  #hear(message: WorkerMessage, said: EventEmitter): void {
    if (message.kind === 'failed') this.#failure = new AccelError(message.code, message.message, message.details);
    else if (message.kind === 'frozen') this.#frozen?.();
    else if (message.kind === 'alive') this.#watch();
    else if (message.kind === 'keep') {
      if (message.text.length <= MOST_KEPT) this.#onKeep?.(message.text);
    } else said.emit(message.kind);
  }

  /** Notes a sign of life; from the first one on its absence is noticed. */
  #watch(): void {
    const { pid } = this;
    if (pid === undefined || this.#gone) return;
    this.#signs ??= new SignsOfLife(this.#silence, performance.now());
    const signs = this.#signs;
    signs.sign(performance.now());
    this.#watching ??= setInterval(() => {
      this.#hung = signs.look(performance.now(), () => readThread(pid));
      if (this.#hung === undefined) return;
      clearInterval(this.#watching);
      this.#child.kill('SIGKILL');
    }, SIGN_EVERY).unref();
  }

  #send(message: HolderMessage): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  async #before(event: Promise<unknown>, milliseconds: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), milliseconds);
    });
    const happened = await Promise.race([event.then(() => true), this.ended.then(() => false), late]);
    clearTimeout(timer);
    return happened;
  }
}
