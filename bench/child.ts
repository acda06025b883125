/** Runs a program in its own process and reports the resources that it and its children used. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { Readable, type Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { endedChildren, highWater } from './counters.ts';

/** Resources used by a process and its children. */
export interface Usage {
  /** Seconds from the start of the process to its end. */
  readonly wall: number;
  /** Seconds of processor time, user and system, of all threads of all its processes. */
  readonly cpu: number;
  /** Largest resident set of the process in bytes. */
  readonly peakRss: number;
  /** Bytes that it made the storage write. */
  readonly written: number;
}

/** A measured run: what it used, and what it printed. */
export interface Measured {
  readonly usage: Usage;
  readonly stdout: string;
}

/** A program to run. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  /** A file for its standard input; nothing unless given. */
  readonly input?: string;
  /** A file for its standard output, which otherwise goes to /dev/null. */
  readonly output?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Give standard output back as text instead. */
  readonly keepOutput?: boolean;
  /** Milliseconds after which it is ended, which is a failure; it takes as long as it likes unless given. */
  readonly timeout?: number;
  /** It has measure.ts loaded, which reports the peak of its resident set. */
  readonly reportsRss?: boolean;
}

/** Milliseconds between two looks at the resident set: the mark only rises, so the last look counts. */
const RSS_INTERVAL = 20;

/** The descriptor after the standard ones, where a Node process reports its own peak. */
const RSS_PIPE = 3;

/** Runs a program to its end; throws with its standard error unless it exits with 0. */
export async function measureCommand(command: Command): Promise<Measured> {
  const { program, args } = command;
  const input = command.input === undefined ? undefined : await open(command.input);
  const output = command.output === undefined ? undefined : await open(command.output, 'w');
  let timer: NodeJS.Timeout | undefined;
  try {
    const before = endedChildren();
    const start = performance.now();
    const child = spawn(program, args, {
      stdio: [
        input?.fd ?? 'ignore',
        command.keepOutput === true ? 'pipe' : (output?.fd ?? 'ignore'),
        'pipe',
        command.reportsRss === true ? 'pipe' : 'ignore',
      ],
      env: { ...process.env, ...command.env },
      ...(command.timeout === undefined ? {} : { timeout: command.timeout, killSignal: 'SIGKILL' }),
    });
    const [stdout, stderr, told] = [child.stdout, child.stderr, child.stdio[RSS_PIPE]].map(textOf);
    let [wall, seen] = [0, Number.NaN];
    child.on('exit', () => {
      wall = (performance.now() - start) / 1000;
    });
    timer = setInterval(() => {
      const now = child.pid === undefined ? Number.NaN : highWater(child.pid);
      if (!Number.isNaN(now)) seen = now;
    }, RSS_INTERVAL);
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${signal ?? `exit ${code}`}\n${stderr!()}`);
    const after = endedChildren();
    const usage: Usage = {
      wall,
      cpu: after.cpu - before.cpu,
      peakRss: told!() === '' ? seen : Number(told!()),
      written: after.written - before.written,
    };
    return { usage, stdout: stdout!() };
  } finally {
    clearInterval(timer);
    await input?.close();
    await output?.close();
  }
}

/** Collects what a child writes; the function gives what has come so far. */
function textOf(stream: Readable | Writable | null | undefined): () => string {
  let text = '';
  if (stream instanceof Readable)
    stream.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
  return () => text;
}

/** Runs `node SCRIPT ARGS` with the measuring preload, which reports the exact peak of its resident set. */
export function runMeasured(script: string, args: readonly string[]): Promise<Measured> {
  const preload = pathToFileURL(join(import.meta.dirname, 'measure.js')).href;
  return measureCommand({
    program: process.execPath,
    args: ['--import', preload, script, ...args],
    env: { ACCEL_BENCH_RSS: String(RSS_PIPE) },
    keepOutput: true,
    reportsRss: true,
  });
}

/** Adds up the usage of runs that follow each other. */
export function together(usages: readonly Usage[]): Usage {
  const sum = (of: (usage: Usage) => number) => usages.reduce((total, usage) => total + of(usage), 0);
  return {
    wall: sum((usage) => usage.wall),
    cpu: sum((usage) => usage.cpu),
    // A process that ended before it was sampled says nothing about the others.
    peakRss: usages.map((usage) => usage.peakRss).reduce((a, b) => (Number.isNaN(b) || a > b ? a : b), Number.NaN),
    written: sum((usage) => usage.written),
  };
}
