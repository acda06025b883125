/**
 * Bundles the command line into dist/program: the program, its threads, and a file for what each command alone needs. A start
 * reads a dozen files in place of two hundred, which is a fifth of the time of a small conversion. Packages stay outside.
 */
import { chmodSync, copyFileSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { projectRoot } from './project-root.ts';

const root = projectRoot(import.meta.url);
const OUTPUT = 'dist/program';

const { metafile } = await build({
  absWorkingDir: root,
  // Threads have files of their own, under the names that their starters look for beside themselves.
  entryPoints: {
    main: 'cli/main.ts',
    'interrupt-watcher': 'cli/interrupt-watcher.ts',
    worker: 'converter/layer/workers/worker.ts',
  },
  outdir: OUTPUT,
  bundle: true,
  // A command loads its own code and packages alone.
  splitting: true,
  chunkNames: 'chunk-[hash]',
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  packages: 'external',
  plugins: [
    {
      // Not depended on at run time (docs/decisions/0027-settings.md): its ES modules go into a file of their own.
      name: 'yaml',
      setup: ({ onResolve }) =>
        onResolve({ filter: /^yaml$/ }, () => ({ path: join(root, 'node_modules/yaml/browser/dist/index.js') })),
    },
  ],
  charset: 'utf8',
  metafile: true,
  logLevel: 'warning',
});

// Parts of an earlier build would be packed with this one.
const made = new Set(Object.keys(metafile.outputs).map((path) => basename(path)));
for (const name of readdirSync(join(root, OUTPUT))) if (!made.has(name)) rmSync(join(root, OUTPUT, name));
copyFileSync(join(root, 'node_modules/yaml/LICENSE'), join(root, OUTPUT, 'yaml-LICENSE.txt'));
chmodSync(join(root, OUTPUT, 'main.js'), 0o755);
