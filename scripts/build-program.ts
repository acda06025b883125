/**
 * Bundles the command line into dist/program: the program, its threads, and a file for what each command alone needs. A start
 * reads a dozen files in place of two hundred, which is a fifth of the time of a small conversion. Packages stay outside.
 */
import { chmodSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { PROGRAM_BUNDLE, removeLeftovers } from './bundle-settings.ts';
import { projectRoot } from './project-root.ts';

const root = projectRoot(import.meta.url);
const OUTPUT = 'dist/program';

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: {
    main: 'cli/main.ts',
    'interrupt-watcher': 'cli/interrupt-watcher.ts',
    worker: 'converter/layer/workers/worker.ts',
  },
  outdir: OUTPUT,
  ...PROGRAM_BUNDLE,
  target: 'node20.19',
  plugins: [
    {
      // Not depended on at run time (docs/decisions/0027-settings.md): its ES modules go into a file of their own.
      name: 'yaml',
      setup: ({ onResolve }) =>
        onResolve({ filter: /^yaml$/ }, () => ({ path: join(root, 'node_modules/yaml/browser/dist/index.js') })),
    },
  ],
});

removeLeftovers(join(root, OUTPUT), metafile);
copyFileSync(join(root, 'node_modules/yaml/LICENSE'), join(root, OUTPUT, 'yaml-LICENSE.txt'));
chmodSync(join(root, OUTPUT, 'main.js'), 0o755);
