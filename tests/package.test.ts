import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import type { ServerPackage } from '../cli/server-package.ts';
import { zstdWasm } from '../scripts/zstd-package.ts';

interface LockEntry {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly hasInstallScript?: boolean;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const lock = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')) as {
  packages: Record<string, LockEntry>;
};
const runtime = installedWith(Object.keys(manifest.dependencies));

describe('runtime dependencies', () => {
  const names = Object.keys(manifest.dependencies);
  const decisions = readdirSync(`${root}docs/decisions`)
    .map((name) => readFileSync(`${root}docs/decisions/${name}`, 'utf8'))
    .join('\n');

  it('are few', () => {
    expect(names.length).toBeLessThanOrEqual(8);
    expect(runtime.length).toBeLessThanOrEqual(50);
  });

  it.each(names)('%s has its reason in docs/decisions', (name) => expect(decisions).toContain(`\`${name}\``));

  it.each(names)('%s is pinned', (name) => expect(manifest.dependencies[name]).toMatch(/^\d+\.\d+\.\d+$/));

  it('run nothing when they are installed', () => {
    expect(runtime.filter(([, entry]) => entry.hasInstallScript === true).map(([path]) => path)).toEqual([]);
  });
});

describe('the built package', () => {
  const bin = `${root}${manifest.bin.accel}`;

  beforeAll(() => {
    if (!existsSync(bin)) throw new Error(`there is no ${manifest.bin.accel}: run npm run build`);
  });

  it('starts with the shebang and runs under node', () => {
    expect(readFileSync(bin, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true);
    expect(execFileSync(process.execPath, [bin, '--version'], { encoding: 'utf8' })).toBe(`${manifest.version}\n`);
  });

  it('exits 2 with a hint on a mistyped flag', () => {
    const failure = failureOf([bin, 'convert', '--platfrom', 'x']);
    expect(failure.status).toBe(2);
    expect(failure.stderr).toContain('Did you mean --platform?');
  });

  it('its library entry exists, with types', () => {
    for (const path of Object.values<string>(manifest.exports['.']))
      expect(existsSync(`${root}${path}`), path).toBe(true);
  });

  const folder = `${root}dist/program/`;
  const programs = () => readdirSync(folder).filter((name) => name.endsWith('.js'));
  /** The packages that files of the program load by a function, such as `require`. */
  const loadedBy = (how: string) =>
    new Set(
      programs().flatMap((name) =>
        [...readFileSync(folder + name, 'utf8').matchAll(new RegExp(`\\b${how}\\("([^."][^"]*)"\\)`, 'g'))].flatMap(
          ([, id]) => (isBuiltin(id!) ? [] : [id!]),
        ),
      ),
    );

  it('answers the version with one small file', () => {
    const main = readFileSync(bin, 'utf8');
    expect(main.length).toBeLessThan(4000);
    const loaded = execFileSync(
      process.execPath,
      ['--require', `${root}tests/support/print-loaded.cjs`, bin, '--version'],
      { encoding: 'utf8' },
    );
    expect(loaded).toBe(`${manifest.version}\nmain.js\n`);
  });

  it('says that the version could not be written', () => {
    const full = openSync('/dev/full', 'w');
    try {
      const { status, stderr } = spawnSync(process.execPath, [bin, '--version'], { stdio: ['ignore', full, 'pipe'] });
      expect([status, String(stderr)]).toEqual([1, expect.stringContaining('ENOSPC')]);
    } finally {
      closeSync(full);
    }
  });

  it('requires no package that is made of ES modules, which Node warns of', () => {
    const required = [...loadedBy('require')];
    expect(required).toEqual(expect.arrayContaining(['commander', 'tar-stream', 'undici']));
    for (const name of required) {
      const load = ['--no-experimental-require-module', '-e', `require(${JSON.stringify(name)})`];
      expect(() => execFileSync(process.execPath, load, { cwd: root, stdio: 'pipe' }), name).not.toThrow();
    }
    expect([...loadedBy('import')].sort()).toEqual(['chalk', 'ora']);
  });

  it('has YAML and zstd inside, and their licences', () => {
    expect([...loadedBy('require'), ...loadedBy('import')]).not.toContain('yaml');
    expect([...loadedBy('require'), ...loadedBy('import')]).not.toContain('@hpcc-js/wasm-zstd');
    const licenses = readFileSync(`${folder}licenses.txt`, 'utf8');
    for (const text of ['Copyright Eemeli Aro', '@hpcc-js/wasm-zstd', 'Meta Platforms'])
      expect(licenses).toContain(text);
    expect(programs().sort()).toEqual(['interrupt-watcher.js', 'main.js', 'program.js', 'worker.js', 'yaml.js']);
  });

  it('has the WebAssembly of the zstd package as that package decodes it', async () => {
    const wasm = readFileSync(`${folder}zstd.wasm`);
    for (let again = 0; again < 2; again++) expect(wasm.equals(await zstdWasm())).toBe(true);
    for (const name of ['program.js', 'worker.js']) expect(readFileSync(folder + name, 'utf8')).toContain('zstd.wasm');
  });

  it('holds the program and its papers, not its tests', () => {
    const [pack] = JSON.parse(
      execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' }),
    ) as { files: { path: string }[] }[];
    const paths = pack!.files.map(({ path }) => path);
    for (const path of [
      'dist/program/main.js',
      'dist/program/program.js',
      'dist/program/worker.js',
      'dist/program/interrupt-watcher.js',
      'dist/program/yaml.js',
      'dist/program/zstd.wasm',
      'dist/program/package.json',
      'dist/program/licenses.txt',
      'package.json',
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
    ]) {
      expect(paths).toContain(path);
    }
    // The server is a package of its own; its bundle and its configuration stay out.
    expect(paths.filter((path) => /(^|\/)server\/|values\.schema/.test(path))).toEqual([]);
    expect(paths.filter((path) => /\.test\.|\.map$|(^|\/)goldens\/|\.tar(\.gz)?$/.test(path))).toEqual([]);
  });
});

it('the licence is the Apache License 2.0, whole', () => {
  const text = readFileSync(`${root}LICENSE`, 'utf8');
  expect(manifest.license).toBe('Apache-2.0');
  expect(text).toContain('Version 2.0, January 2004');
  expect(text).toContain('END OF TERMS AND CONDITIONS');
  expect(text).toContain('The accel authors');
});

/**
 * The packages that npm installs for `names` and what they depend on, with their paths in the lock file. The lock file
 * marks more as needed at run time: it covers the workspace of the server too.
 */
function installedWith(names: readonly string[], from = ''): [path: string, entry: LockEntry][] {
  const found = new Map<string, LockEntry>();
  const waiting = names.map((name) => ({ name, from }));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { name } = next;
    const folders = next.from.split(/(?=\/?node_modules\/)/);
    const paths = folders.map((_, index) => `${folders.slice(0, index + 1).join('')}/node_modules/${name}`);
    const path = [...paths.toReversed().map((one) => one.replace(/^\//, '')), `node_modules/${name}`].find(
      (one) => lock.packages[one] !== undefined,
    );
    if (path === undefined) throw new Error(`the lock file has no ${name} for ${next.from}`);
    if (found.has(path)) continue;
    const entry = lock.packages[path]!;
    found.set(path, entry);
    for (const dependency of Object.keys(entry.dependencies ?? {})) waiting.push({ name: dependency, from: path });
  }
  return [...found];
}

describe('the package of the server', () => {
  const server = JSON.parse(readFileSync(`${root}server/package.json`, 'utf8'));
  const names = Object.keys(server.dependencies);
  const decision = readFileSync(`${root}docs/decisions/0010-server-package.md`, 'utf8');

  it('has the version of accel, whose commands load it', () => expect(server.version).toBe(manifest.version));

  it.each(names)('%s has its reason, is pinned, and has no install script', (name) => {
    expect(decision).toContain(`\`${name}\``);
    expect(server.dependencies[name]).toMatch(/^\d+\.\d+\.\d+$/);
    const scripts = installedWith([name], 'server').filter(([, entry]) => entry.hasInstallScript === true);
    expect(scripts.map(([path]) => path)).toEqual([]);
  });

  it('installing accel installs neither it nor what it alone needs', () => {
    const paths = runtime.map(([path]) => path);
    expect(paths.filter((path) => /\/(accel-image-server|prom-client|yaml|zod)$/.test(path))).toEqual([]);
  });

  it('the bill of materials of accel lists nothing of it', () => {
    const text = execFileSync('npm', ['run', '--silent', 'sbom'], { cwd: root, encoding: 'utf8' });
    const { components } = JSON.parse(text) as { components: { name: string }[] };
    const listed = components.map(({ name }) => name);
    expect(listed).toContain('undici');
    expect(listed.filter((name) => /^(server|accel-image-server|prom-client|yaml|zod)$/.test(name))).toEqual([]);
  });

  it('what both depend on has one version', () => {
    const shared = names.filter((name) => manifest.dependencies[name] !== undefined);
    for (const name of shared) expect(server.dependencies[name]).toBe(manifest.dependencies[name]);
  });

  it('packs its bundle and papers', () => {
    const [pack] = JSON.parse(
      execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
        cwd: `${root}server`,
        encoding: 'utf8',
      }),
    ) as { files: { path: string }[] }[];
    const paths = pack!.files.map(({ path }) => path);
    // The entry points share chunks that are named after their content.
    expect(paths.filter((path) => !/^dist\/chunk-[0-9A-Z]+\.js$/.test(path)).sort()).toEqual([
      'LICENSE',
      'README.md',
      'dist/console/console-app.css',
      'dist/console/console-app.js',
      'dist/console/icon.svg',
      'dist/console/index.html',
      'dist/conversion-child.js',
      'dist/main.js',
      'dist/role-worker.js',
      'dist/sqlite-thread.js',
      'dist/systemd/accel-agent.service',
      'dist/systemd/accel-agent.socket',
      'dist/systemd/accel-serve.service',
      'dist/worker.js',
      'package.json',
      'values.schema.json',
    ]);
  });

  it('has the versions of the packages that it shares with accel-image', () => {
    const { dependencies } = manifest as { dependencies: Record<string, string> };
    const shared = names.filter((name) => dependencies[name] !== undefined);
    expect(shared).toEqual(['@hpcc-js/wasm-zstd', 'tar-stream', 'undici']);
    for (const name of shared) expect([name, server.dependencies[name]]).toEqual([name, dependencies[name]]);
  });
});

function failureOf(args: readonly string[]): { status: number; stderr: string } {
  try {
    execFileSync(process.execPath, args, { encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    return error as { status: number; stderr: string };
  }
  throw new Error('the command did not fail');
}

describe.each(readdirSync(`${root}.github/workflows`))('the workflow %s', (name) => {
  const text = readFileSync(`${root}.github/workflows/${name}`, 'utf8');

  it('pins every action by its commit, and says which version that is', () => {
    const uses = [...text.matchAll(/^\s*(?:- )?uses: (.+)$/gm)].map((match) => match[1]!);
    expect(uses.length).toBeGreaterThan(0);
    expect(uses.filter((use) => !/^(?:\.\/\S*|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$/.test(use))).toEqual([]);
  });

  it('begins with permissions that allow nothing to be written', () => {
    const [, granted] = /^permissions:(.*(?:\n {2}.*)*)/m.exec(text) ?? [];
    expect(granted, 'permissions for the whole workflow').toBeDefined();
    expect(granted).not.toContain('write');
  });
});

it('the package of the server has the functions that the command line calls', () => {
  // `npm run check:types` compares the two declarations; the packages may not import each other's.
  expectTypeOf<typeof import('../server/main.ts')>().toExtend<ServerPackage>();
});
