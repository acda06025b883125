/** The settings of esbuild that the bundles of programs share: the command line's and the server's. */
import { readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { BuildOptions, Metafile } from 'esbuild';

/**
 * Modules of Node whose packages stay outside. Threads and processes have files of their own, under the names that their
 * starters look for beside themselves; what a command or role alone needs is in a chunk of its own.
 */
export const PROGRAM_BUNDLE = {
  bundle: true,
  splitting: true,
  chunkNames: 'chunk-[hash]',
  platform: 'node',
  format: 'esm',
  packages: 'external',
  charset: 'utf8',
  metafile: true,
  logLevel: 'warning',
} as const satisfies BuildOptions;

/** Removes what an earlier build left in the folder, which would be packed with this one; `isBuilt` says which files are a build's. */
export function removeLeftovers(
  folder: string,
  { outputs }: Metafile,
  isBuilt: (name: string) => boolean = () => true,
): void {
  const made = new Set(Object.keys(outputs).map((path) => basename(path)));
  for (const name of readdirSync(folder)) if (isBuilt(name) && !made.has(name)) rmSync(join(folder, name));
}
