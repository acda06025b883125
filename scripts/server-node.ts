/**
 * The Node that runs server/ and its tests, which needs a newer one than the rest of the project. Where the running Node
 * is too old, npm's package of the binary is fetched once into a cache outside of the clone: `npm ci` does not wait for it.
 */
import { execFileSync } from 'node:child_process';
import { createReadStream, createWriteStream, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { chmod, rename } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';

/** The version that is fetched; the first number is the oldest major version that the server runs on. */
const VERSION = '24.21.0';
/** The oldest major version of Node that server/ runs on. */
export const SERVER_NODE_MAJOR = Number.parseInt(VERSION, 10);

/** The program of a Node that server/ runs on; it is there once {@link fetchServerNode} has ended. */
export function serverNode(): string {
  return isNewEnough() ? process.execPath : join(cacheFolder(), 'node');
}

/** Fetches that Node where the running one is too old and no earlier run has fetched it. */
export async function fetchServerNode(): Promise<void> {
  if (existsSync(serverNode())) return;
  const folder = cacheFolder();
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(folder, 'fetching-'));
  try {
    // npm honours the registry and proxy that the project is installed from, and checks the digest.
    execFileSync('npm', ['pack', packageName(), '--silent', '--pack-destination', scratch], {
      stdio: ['ignore', 'ignore', 'inherit'],
      shell: process.platform === 'win32',
    });
    const [tarball] = readdirSync(scratch);
    const program = join(scratch, 'program');
    await extractProgram(join(scratch, tarball!), program);
    await chmod(program, 0o755);
    // Another run may fetch at the same time: each renames a whole file.
    await rename(program, serverNode());
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function isNewEnough(): boolean {
  return Number.parseInt(process.versions.node, 10) >= SERVER_NODE_MAJOR;
}

function packageName(): string {
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  return `node-${platform}-${process.arch}@${VERSION}`;
}

function cacheFolder(): string {
  const cache = process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'accel');
  return join(cache, packageName());
}

async function extractProgram(tarball: string, program: string): Promise<void> {
  const entries = extract();
  const reading = pipeline(createReadStream(tarball), createGunzip(), entries);
  for await (const entry of entries) {
    if (/^package\/bin\/node(\.exe)?$/.test(entry.header.name)) await pipeline(entry, createWriteStream(program));
    else entry.resume();
  }
  await reading;
}
