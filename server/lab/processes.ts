/** The processes of the lab: started in their machine's network, stopped by their id, logs kept for a failure. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { inside, type Machine } from './network.ts';

/** Milliseconds to end by SIGTERM. */
const PATIENCE = 3_000;

/** See the head of the file. */
export class Processes {
  readonly #running = new Set<ChildProcess>();

  /** Starts a process whose output goes to a file. */
  start(
    machine: Machine,
    command: readonly string[],
    { log, env = {} }: { readonly log: string; readonly env?: Record<string, string> },
  ): ChildProcess {
    const [file, args] = inside(machine, command);
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const output = createWriteStream(log, { flags: 'a' });
    child.stdout.pipe(output, { end: false });
    child.stderr.pipe(output, { end: false });
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    // After the exit there may be output that was not read yet.
    child.once('close', () => output.end());
    return child;
  }

  /** Runs a process to its end: its exit code. */
  async run(machine: Machine, command: readonly string[], options: { readonly log: string }): Promise<number> {
    const [code] = (await once(this.start(machine, command, options), 'exit')) as [number | null];
    return code ?? 128;
  }

  /** Runs a process to its end: what it printed. */
  async output(machine: Machine, command: readonly string[], options: { readonly log: string }): Promise<string> {
    const child = this.start(machine, command, options);
    const chunks: Buffer[] = [];
    child.stdout!.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(child, 'close');
    return Buffer.concat(chunks).toString('utf8');
  }

  /** Stops everything that still runs. */
  async stop(): Promise<void> {
    const children = [...this.#running];
    for (const child of children) child.kill('SIGTERM');
    await Promise.race([Promise.all(children.map(gone)), new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
    for (const child of this.#running) child.kill('SIGKILL');
    await Promise.all(children.map(gone));
  }
}

function gone(child: ChildProcess): Promise<unknown> {
  return child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve();
}
