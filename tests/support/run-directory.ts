/**
 * The temporary directory of a run of the tests: as vitest's global set-up it makes one that all tests and the programs
 * they start share, and after the last test it fails the run if something is left there.
 */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mountsBelow } from './tools.ts';

/** Names that programs use for what they keep until their next start. */
const CACHES: readonly string[] = ['node-compile-cache', 'v8-compile-cache-0'];

/** Milliseconds that processes of the last test file have for their end. */
const GRACE = 10_000;

/** Called by vitest once, before the first test file; what it returns is called after the last. */
export default async function setup(): Promise<() => Promise<void>> {
  // Made once and kept for later runs, so not in what goes with this one.
  process.env.ACCEL_REAL_IMAGE ??= join(tmpdir(), 'accel-real-image');
  // A short name: paths of sockets below it must fit into 107 bytes.
  const path = await mkdtemp(join(tmpdir(), 'a-'));
  // Servers that do not run as root have their directories in it.
  await chmod(path, 0o1777);
  const before = process.env.TMPDIR;
  process.env.TMPDIR = path;
  return async () => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
    const left = await leftIn(path, GRACE);
    if (mountsBelow(path).length === 0) await rm(path, { recursive: true, force: true });
    if (left.length === 0) return;
    // vitest prints what a teardown throws, and ends with 0 all the same.
    process.exitCode = 1;
    throw new Error(`tests left ${left.length} in the temporary directory: ${left.join(', ')}`);
  };
}

/** Lists what is in the directory after at most `grace` milliseconds: names, those of directories with their content. */
async function leftIn(path: string, grace: number): Promise<string[]> {
  const end = performance.now() + grace;
  for (;;) {
    const names = (await readdir(path)).filter((name) => !CACHES.includes(name)).sort();
    if (names.length === 0 || performance.now() >= end) return Promise.all(names.map((name) => described(path, name)));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function described(path: string, name: string): Promise<string> {
  const inside = await readdir(join(path, name)).catch(() => []);
  return inside.length === 0 ? name : `${name} (${inside.slice(0, 4).join(' ')})`;
}
