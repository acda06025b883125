/** Runs a script as a process of its own and tells what it used. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Usage } from './measure.ts';

/** A measured run: what it used, and what it printed. */
export interface Measured {
  readonly usage: Usage;
  readonly stdout: string;
}

/** Runs `node SCRIPT ARGS` with the measuring preload; throws with its standard error unless it exits with 0. */
export async function runMeasured(script: string, args: readonly string[]): Promise<Measured> {
  const directory = await mkdtemp(join(tmpdir(), 'accel-bench-'));
  const report = join(directory, 'usage.json');
  const preload = pathToFileURL(join(import.meta.dirname, 'measure.js')).href;
  try {
    const child = spawn(process.execPath, ['--import', preload, script, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ACCEL_BENCH_USAGE: report },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    if (code !== 0) throw new Error(`${script} ${args.join(' ')}: exit ${code}\n${stderr.slice(-4000)}`);
    return { usage: JSON.parse(await readFile(report, 'utf8')) as Usage, stdout };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
