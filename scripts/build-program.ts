/**
 * Bundles the command line into dist/program: the executable, which answers the version; the program, and its threads. Each is one
 * CommonJS file, which Node loads sooner than the modules that it is made of (docs/decisions/0032-one-file.md).
 * Packages stay outside, but for the two whose licences are beside it.
 */
import { chmodSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { licenseTexts, packagesOf } from './bundle-licenses.ts';
import { removeLeftovers } from './bundle-settings.ts';
import { projectRoot } from './project-root.ts';
import { zstdFrom, zstdWasm } from './zstd-package.ts';

const root = projectRoot(import.meta.url);
const OUTPUT = 'dist/program';
const ZSTD = 'zstd.wasm';
/** Its ES modules, which are bundled smaller than its CommonJS. */
const YAML = realpathSync(join(root, 'node_modules/yaml/browser/dist/index.js'));

/** Gives a file of CommonJS what its modules ask `import.meta` for. */
const BANNER = `"use strict";
const accelUrl = require("node:url").pathToFileURL(__filename).href;
const accelResolve = (name) => require("node:url").pathToFileURL(require.resolve(name)).href;`;

const SETTINGS = {
  absWorkingDir: root,
  outdir: OUTPUT,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20.19',
  packages: 'external',
  // Other letters would make V8 keep two bytes for each.
  charset: 'ascii',
  metafile: true,
  logLevel: 'warning',
} as const satisfies BuildOptions;

/** Starts nothing but the program, by `require`: the loader of ES modules takes longer than the version. */
const executable = await build({
  ...SETTINGS,
  entryPoints: { main: 'cli/main.ts' },
  supported: { 'dynamic-import': false },
  plugins: [
    {
      name: 'program',
      setup: ({ onResolve }) =>
        onResolve({ filter: /\/installed\.ts$/ }, () => ({ path: './program.js', external: true })),
    },
  ],
});

const program = await build({
  ...SETTINGS,
  entryPoints: {
    program: 'cli/installed.ts',
    'interrupt-watcher': 'cli/interrupt-watcher.ts',
    worker: 'converter/layer/workers/worker.ts',
    yaml: YAML,
  },
  banner: { js: BANNER },
  define: { 'import.meta.url': 'accelUrl', 'import.meta.resolve': 'accelResolve' },
  plugins: [
    {
      // Not depended on at run time (docs/decisions/0027-settings.md): a file of its own, since few runs need it.
      name: 'yaml',
      setup: ({ onResolve }) => onResolve({ filter: /^yaml$/ }, () => ({ path: './yaml.js', external: true })),
    },
    zstdFrom(`require("node:fs").readFileSync(require("node:path").join(__dirname, "${ZSTD}"))`),
  ],
});

removeLeftovers(join(root, OUTPUT), {
  inputs: {},
  outputs: { ...executable.metafile.outputs, ...program.metafile.outputs },
});
const write = (name: string, content: string | Uint8Array): void => writeFileSync(join(root, OUTPUT, name), content);
write(ZSTD, await zstdWasm());
// The package as a whole has ES modules.
write('package.json', '{ "type": "commonjs" }\n');
const packages = new Set(packagesOf(program.metafile));
write('licenses.txt', licenseTexts('Licences of the packages in this folder.', [...packages].sort()));
chmodSync(join(root, OUTPUT, 'main.js'), 0o755);
