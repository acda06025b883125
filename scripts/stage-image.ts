/**
 * Lays out what the container image has: the files of both packages as npm packs them, and their dependencies as the lock has them.
 * `node dist/scripts/stage-image.js FOLDER`; the Dockerfile runs it.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { projectRoot } from './project-root.ts';

const root = projectRoot(import.meta.url);
const [target] = process.argv.slice(2);
if (target === undefined) throw new Error('usage: stage-image.js FOLDER');

/** Paths that npm packs of a folder. */
function packed(folder: string): readonly string[] {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const [{ files }] = JSON.parse(output) as [{ readonly files: readonly { readonly path: string }[] }];
  return files.map(({ path }) => path);
}

for (const folder of ['', 'server']) {
  for (const path of packed(join(root, folder))) {
    mkdirSync(join(target, folder, dirname(path)), { recursive: true });
    cpSync(join(root, folder, path), join(target, folder, path));
  }
}
cpSync(join(root, 'package-lock.json'), join(target, 'package-lock.json'));
execFileSync('npm', ['ci', '--omit=dev', '--ignore-scripts', '--no-fund', '--no-audit', '--prefer-offline'], {
  cwd: target,
  stdio: 'inherit',
});
chmodSync(join(target, 'dist/program/main.js'), 0o755);
mkdirSync(join(target, 'bin'));
symlinkSync('../dist/program/main.js', join(target, 'bin/accel'));

// TypeScript, maps and tests are for people who program against a package.
for (const entry of readdirSync(target, { recursive: true, withFileTypes: true })) {
  if (entry.isFile() && /\.([cm]?ts|map|test\.[cm]?js)$/.test(entry.name)) rmSync(join(entry.parentPath, entry.name));
}
