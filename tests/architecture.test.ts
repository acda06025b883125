import { existsSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type ImportedModule,
  importsOf,
  isTest,
  listFiles,
  PRODUCT_ROOMS,
  resolveImport,
  type SourceFile,
} from '../scripts/source-files.ts';

/** A folder of the product, or `index`: the library's public face, index.ts. */
type Room = (typeof PRODUCT_ROOMS)[number] | 'index';

/** The rooms that each room may import from, types included (docs/architecture.md). */
const RULES: Readonly<Record<Room, readonly Room[]>> = {
  base: [],
  disk: ['base'],
  http: ['disk', 'base'],
  formats: ['base'],
  oci: ['http', 'disk', 'base'],
  reader: ['oci', 'http', 'formats', 'disk', 'base'],
  prefetch: ['reader', 'oci', 'http', 'formats', 'disk', 'base'],
  verify: ['prefetch', 'reader', 'oci', 'http', 'formats', 'disk', 'base'],
  converter: ['verify', 'prefetch', 'reader', 'oci', 'http', 'formats', 'disk', 'base'],
  inspect: ['verify', 'prefetch', 'reader', 'oci', 'http', 'formats', 'disk', 'base'],
  triggers: ['converter', 'prefetch', 'oci', 'http', 'formats', 'base'],
  notify: ['http', 'base'],
  index: ['triggers', 'converter', 'inspect', 'verify', 'prefetch', 'reader', 'oci', 'http', 'base'],
  cli: [
    'index',
    'inspect',
    'notify',
    'triggers',
    'converter',
    'verify',
    'prefetch',
    'reader',
    'oci',
    'http',
    'formats',
    'disk',
    'base',
  ],
  // A package of its own (accel-image-server), bundled with what it imports of the rooms below; none of them imports it.
  server: [
    'inspect',
    'notify',
    'triggers',
    'converter',
    'verify',
    'prefetch',
    'reader',
    'oci',
    'http',
    'formats',
    'disk',
    'base',
  ],
  action: ['cli', 'inspect', 'notify', 'triggers', 'converter', 'verify', 'reader', 'oci', 'http', 'base'],
};

/** The rooms where each npm package may be imported; a package that is not here may be imported nowhere. */
const PACKAGES: Readonly<Record<string, readonly Room[]>> = {
  commander: ['cli'],
  ora: ['cli'],
  chalk: ['cli'],
  undici: ['http'],
  // Small tars of an artifact, and the archives that images travel in.
  'tar-stream': ['formats', 'oci', 'server'],
  '@hpcc-js/wasm-zstd': ['formats'],
  'prom-client': ['server'],
  'pg-boss': ['server'],
  // In the command line it is bundled (scripts/build-program.ts), not depended on.
  yaml: ['server', 'cli'],
  'lru-cache': ['server'],
  '@peculiar/x509': ['server'],
  // @peculiar/x509 needs it to be loaded first.
  'reflect-metadata': ['server'],
  'smol-toml': ['server'],
  'jsonc-parser': ['server'],
  zod: ['server'],
  // HTTP server of the conversion service.
  fastify: ['server'],
  '@fastify/swagger': ['server'],
  'fastify-type-provider-zod': ['server'],
  re2js: ['server'],
  // Graphs of the console.
  uplot: ['server'],
  // Loaded by `accel serve` and `accel agent`, where it is installed.
  'accel-image-server': ['cli'],
};

/**
 * The parts of the server that each part may import. The roles (agent, service, cluster) never import each other;
 * main.ts hands one what it needs of another.
 */
const SERVER_RULES: Readonly<Record<string, readonly string[]>> = {
  config: [],
  certificates: [],
  telemetry: ['config'],
  agent: ['telemetry', 'config', 'certificates', 'handover', 'role.ts'],
  handover: ['lifecycle.ts'],
  service: ['telemetry', 'config', 'role.ts'],
  cluster: ['telemetry', 'config', 'certificates', 'role.ts'],
  simulator: ['agent'],
  demo: ['agent', 'telemetry', 'config', 'certificates'],
  lab: ['agent', 'demo', 'certificates', 'main.ts'],
};

/** Node modules that reach out of the process: a format is bytes in, bytes out. */
const NOT_FOR_FORMATS = [
  'fs',
  'fs/promises',
  'net',
  'http',
  'https',
  'http2',
  'tls',
  'dgram',
  'dns',
  'child_process',
  'os',
];

const root = new URL('..', import.meta.url).pathname;
const product = listFiles(root, [...PRODUCT_ROOMS, 'index.ts'], ['.ts']).filter(({ path }) => !isProvingOnly(path));

/** Tests, and the suites and samples that only tests import; formats/kernels/assembly is another language. */
function isProvingOnly(path: string): boolean {
  return isTest(path) || /\/testing\/|^oci\/contract\.ts$|^formats\/kernels\/assembly\//.test(path);
}

function roomOf(path: string): Room {
  return path.includes('/') ? (path.slice(0, path.indexOf('/')) as Room) : 'index';
}

function violations({ path, text }: SourceFile): string[] {
  const room = roomOf(path);
  const rule = RULES[room];
  return importsOf(text).flatMap(({ specifier }) => {
    const complaint = [`${path} imports ${specifier}`];
    if (specifier.startsWith('node:')) {
      return room === 'formats' && NOT_FOR_FORMATS.includes(specifier.slice(5)) ? complaint : [];
    }
    if (isBuiltin(specifier)) return complaint;
    if (!specifier.startsWith('.')) {
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');
      return PACKAGES[name]?.includes(room) === true ? [] : complaint;
    }
    const target = roomOf(resolveImport(path, specifier));
    return target === room || rule.includes(target) ? [] : complaint;
  });
}

describe('imports run one way', () => {
  it.each([...PRODUCT_ROOMS, 'index' as const])('%s', (room) => {
    expect(product.filter(({ path }) => roomOf(path) === room).flatMap(violations)).toEqual([]);
  });

  // The rule must see what it forbids, or it forbids nothing.
  it.each([
    ['formats/x.ts', "import { a } from '../oci/digest.ts';"],
    ['formats/ext4/x.ts', "import { readFile } from 'node:fs/promises';"],
    ['formats/x.ts', "import fs from 'fs';"],
    ['formats/x.ts', "import { fetch } from 'undici';"],
    ['oci/x.ts', "import {\n  a,\n  b,\n} from '../formats/tar/parser.ts';"],
    ['oci/x.ts', "export * from '../converter/index.ts';"],
    ['base/x.ts', "import type { A } from '../oci/digest.ts';"],
    ['converter/x.ts', "import type { A } from '../cli/context.ts';"],
    ['reader/x.ts', "await import('../index.ts');"],
    ['cli/x.ts', "import { a } from '../action/main.ts';"],
    ['cli/x.ts', "import left from 'left-pad';"],
    ['converter/x.ts', "import '../tests/support/tools.ts';"],
    ['cli/x.ts', "await import('../server/main.ts');"],
    ['converter/x.ts', "await import('accel-image-server');"],
    ['server/x.ts', "import { a } from '../cli/context.ts';"],
    ['base/x.ts', "import { z } from 'zod';"],
  ])('%s: %s is seen', (path, text) => expect(violations({ path, text })).toHaveLength(1));

  it.each([
    ['cli/x.ts', "import type { A } from '../oci/digest.ts';"],
    ['converter/layer/engines/x.ts', "import { a } from '../../../formats/ext4/image.ts';"],
    ['http/x.ts', "import { Agent } from 'undici';"],
    ['formats/x.ts', "import { crc32 } from 'node:zlib';"],
  ])('%s: %s is allowed', (path, text) => expect(violations({ path, text })).toEqual([]));
});

describe('parts of the server', () => {
  const partOf = (path: string): string => path.split('/')[1]!;
  const crossing = ({ path, text }: SourceFile): string[] =>
    importsOf(text).flatMap(({ specifier }) => {
      if (!specifier.startsWith('.')) return [];
      const target = resolveImport(path, specifier);
      if (!target.startsWith('server/') || partOf(target) === partOf(path)) return [];
      return SERVER_RULES[partOf(path)]?.includes(partOf(target)) === true ? [] : [`${path} imports ${specifier}`];
    });

  it('import what their rule allows', () => {
    const parts = product.filter(({ path }) => /^server\/[^/]+\//.test(path));
    expect(parts.length).toBeGreaterThan(0);
    expect(parts.flatMap(crossing)).toEqual([]);
  });

  it.each([
    ['server/agent/x.ts', "import type { A } from '../service/queue.ts';"],
    ['server/agent/peers/x.ts', "import { a } from '../../main.ts';"],
    ['server/telemetry/x.ts', "await import('../agent/mirror.ts');"],
    ['server/config/x.ts', "import { a } from '../telemetry/metrics.ts';"],
  ])('%s: %s is seen', (path, text) => expect(crossing({ path, text })).toHaveLength(1));
});

it.each(['cli/commands/convert.ts', 'index.ts', 'action/main.ts'])('%s reaches no file of the server', (start) => {
  const texts = new Map(product.map(({ path, text }) => [path, text]));
  const reached = new Set<string>();
  const waiting = [start];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    for (const { specifier } of importsOf(texts.get(path) ?? '')) {
      waiting.push(specifier.startsWith('.') ? resolveImport(path, specifier) : specifier);
    }
  }
  expect(reached.size).toBeGreaterThan(20);
  expect([...reached].filter((path) => /^server\/|^accel-image-server$/.test(path))).toEqual([]);
});

/** The circles that the imports of the product form, each as a chain of paths. */
function circlesOf(counts: (imported: ImportedModule) => boolean): string[] {
  const targets = new Map(
    product.map(({ path, text }) => [
      path,
      importsOf(text)
        .filter((imported) => imported.specifier.startsWith('.') && counts(imported))
        .map(({ specifier }) => resolveImport(path, specifier)),
    ]),
  );
  const state = new Map<string, 'open' | 'done'>();
  const circles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      circles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
      return;
    }
    state.set(path, 'open');
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path]);
    state.set(path, 'done');
  };
  for (const path of targets.keys()) visit(path, []);
  return circles;
}

describe('no import leads in a circle through files', () => {
  it('at run time', () => expect(circlesOf(({ typeOnly, dynamic }) => !typeOnly && !dynamic)).toEqual([]));

  it('with type-only and dynamic imports', () => expect(circlesOf(() => true)).toEqual([]));
});

it('`accel --version` loads nothing else', () => {
  const texts = new Map(product.map(({ path, text }) => [path, text]));
  const loaded = new Set<string>();
  const waiting = ['cli/main.ts'];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (loaded.has(path)) continue;
    loaded.add(path);
    for (const { specifier, typeOnly, dynamic } of importsOf(texts.get(path) ?? '')) {
      if (!typeOnly && !dynamic) waiting.push(specifier.startsWith('.') ? resolveImport(path, specifier) : specifier);
    }
  }
  expect([...loaded].sort()).toEqual(['base/version.ts', 'cli/main.ts', 'cli/quick-version.ts', 'node:fs']);
});

describe('docs/architecture.md', () => {
  const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
  /** The last cell of each row of a table whose first cell is one path, by that path. */
  const imports = new Map(
    [...page.matchAll(/^\| `([\w./]+)` *\|.*\| ([\w., ]+?) *\|$/gm)].map(([, path, cell]) => [
      path!.replace(/\/$|\.ts$/g, ''),
      cell === 'nothing' ? [] : cell!.split(', '),
    ]),
  );

  it.each(Object.entries(RULES))('says what %s may import', (room, rule) => {
    expect(imports.get(room)).toEqual([...rule]);
  });

  it.each(Object.entries(SERVER_RULES))('says what the server’s %s may import', (part, rule) => {
    expect(imports.get(`server/${part}`)).toEqual([...rule]);
  });

  it('names only paths that exist', () => {
    const named = [...page.matchAll(/`((?:[\w.-]+\/)+[\w.-]*|[\w-]+\.ts)`/g)].map(([, path]) => path!);
    expect(named.length).toBeGreaterThan(60);
    // Names of roles that files have in every format, folders within a room, and roles that have no code yet.
    const general =
      /^(layout|reader|writer)\.ts$|^(kernels|plan|layer|publish|prefetch)\/$|^server\/(service|cluster)\/$/;
    expect(named.filter((path) => !general.test(path) && !existsSync(join(root, path)))).toEqual([]);
  });
});
