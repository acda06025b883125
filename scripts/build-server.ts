/**
 * Bundles accel-image-server into server/dist: its own files and what it imports of the rooms of accel-image, so that the two
 * packages cannot drift apart. Packages stay outside and are named in server/package.json, which this checks. The units of systemd
 * are copied beside it: a node has no clone.
 */
import { cpSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { build } from 'esbuild';
import { buildConsole } from './build-console.ts';
import { PROGRAM_BUNDLE, removeLeftovers } from './bundle-settings.ts';
import { projectRoot } from './project-root.ts';

const root = projectRoot(import.meta.url);
const OUTPUT = 'server/dist';
const { dependencies } = JSON.parse(readFileSync(join(root, 'server/package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
};

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: {
    main: 'server/main.ts',
    'role-worker': 'server/role-worker.ts',
    'conversion-child': 'server/service/conversion-child.ts',
    'sqlite-thread': 'server/service/sqlite-thread.ts',
    worker: 'converter/layer/workers/worker.ts',
  },
  outdir: OUTPUT,
  // The embedded queue loads no PostgreSQL, the agent no converter.
  ...PROGRAM_BUNDLE,
  target: 'node24',
});

removeLeftovers(join(root, OUTPUT), metafile, (name) => name.startsWith('chunk-'));

const imported = new Set(
  Object.values(metafile.outputs)
    .flatMap(({ imports }) => imports)
    .filter(({ external, path }) => external === true && !path.startsWith('node:') && !isBuiltin(path))
    .map(({ path }) =>
      path
        .split('/')
        .slice(0, path.startsWith('@') ? 2 : 1)
        .join('/'),
    ),
);
const missing = [...imported].filter((name) => dependencies[name] === undefined);
const unused = Object.keys(dependencies).filter((name) => !imported.has(name));
if (missing.length > 0)
  process.stderr.write(`server/package.json does not name what the bundle imports: ${missing.join(', ')}\n`);
if (unused.length > 0)
  process.stderr.write(`server/package.json names what the bundle does not import: ${unused.join(', ')}\n`);
if (missing.length + unused.length > 0) process.exitCode = 1;

cpSync(join(root, 'packaging/systemd'), join(root, OUTPUT, 'systemd'), { recursive: true });
await buildConsole(root);
