/** Builds the console of the service into server/dist/console: one module, one style sheet, the page and its icon. */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const SOURCE = 'server/service/console/browser';
const TARGET = 'server/dist/console';
/** Bytes of everything that a browser loads, compressed by gzip. */
const MAX_SIZE = 40_000;

/** Builds it below the project's folder. Returns the compressed size in bytes. Throws where it is too large. */
export async function buildConsole(root: string): Promise<number> {
  await mkdir(join(root, TARGET), { recursive: true });
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [`${SOURCE}/console-app.ts`, `${SOURCE}/console-app.css`],
    outdir: TARGET,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    write: false,
    logLevel: 'warning',
  });
  let size = 0;
  for (const { path, contents } of outputFiles) {
    await writeFile(path, contents);
    size += gzipSync(contents).length;
  }
  for (const name of ['index.html', 'icon.svg']) {
    await copyFile(join(root, SOURCE, name), join(root, TARGET, name));
    size += gzipSync(await readFile(join(root, TARGET, name))).length;
  }
  if (size > MAX_SIZE) throw new Error(`the console has ${size} bytes compressed, more than ${MAX_SIZE}`);
  return size;
}
