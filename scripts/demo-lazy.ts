/**
 * `npm run demo:lazy`: generates an image of about 400 MB, converts it in both modes, and reads a directory and a file of
 * each result. accel reports how little of the image that took. Everything is made in a temporary folder and removed.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeImage } from '../bench/make-image.ts';
import type { FileGroup } from '../bench/mixes.ts';

const CLI = fileURLToPath(new URL('../program/main.js', import.meta.url));
/** First seed of the generated content: the image is the same each time. */
const SEED = 7;

/** A runtime with its packages, and a model that no start of a container reads. */
const GROUPS: readonly FileGroup[] = [
  { directory: 'usr/lib', kind: 'binary', count: 150, size: [16_384, 2_000_000] },
  { directory: 'usr/lib/modules', kind: 'text', count: 4_000, size: [60, 14_000] },
  { directory: 'opt/model', kind: 'binary', count: 3, size: [100_000_000, 100_000_001] },
];

// Ctrl-C reaches the command too, since it is in the same process group: wait for it, then clean up.
process.on('SIGINT', () => undefined);

const folder = await mkdtemp(join(tmpdir(), 'accel-demo-lazy-'));
try {
  console.log('Generating an image of about 400 MB …');
  const layers = GROUPS.map((group, index) => ({ seed: SEED + index, scale: 1, mix: [group] }));
  const layout = await makeImage(folder, { folder: 'demo', layers, compression: { kind: 'gzip', level: 1 } });
  process.exitCode = await runAll(`oci:${layout}`);
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function runAll(repository: string): Promise<number> {
  const full = `${repository}:latest_accelerated`;
  const index = `${repository}:latest_containerd_accelerated`;
  const steps: readonly (readonly string[])[] = [
    ['convert', `${repository}:latest`],
    ['ls', full, '/opt/model'],
    ['cat', full, '/usr/lib/modules/0/file-0'],
    ['ls', index, '/opt/model'],
    ['cat', index, '/usr/lib/modules/0/file-0'],
  ];
  for (const args of steps) {
    console.log(`\n$ accel ${args.join(' ').replaceAll(repository, 'oci:demo')}`);
    const code = await run(args);
    if (code !== 0) return code;
  }
  return 0;
}

/** Runs the command line; of what `cat` prints only the line about its cost is shown. */
function run(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const stdout = args[0] === 'cat' ? 'ignore' : 'inherit';
    const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', stdout, 'inherit'] });
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}
