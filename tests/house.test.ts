/** The layout of the house (docs/architecture.md): sizes of functions' heads and of files, and names. */

import { describe, expect, it } from 'vitest';
import { parseAst } from 'vitest/node';
import {
  isGenerated,
  isTest,
  listFiles,
  OTHER_ROOMS,
  PRODUCT_ROOMS,
  type SourceFile,
} from '../scripts/source-files.ts';

const root = new URL('..', import.meta.url).pathname;
/** AssemblyScript: its types are not those of TypeScript, and its functions are inlined into loops. */
const ASSEMBLY = 'formats/kernels/assembly/';
const files = listFiles(root, [...PRODUCT_ROOMS, ...OTHER_ROOMS, 'index.ts'], ['.ts']);
const product = files.filter(
  ({ path }) => !isTest(path) && PRODUCT_ROOMS.some((room) => path === 'index.ts' || path.startsWith(`${room}/`)),
);

const MOST_PARAMETERS = 4;
const MOST_LINES = 400;

/** Functions that may have more parameters, each with the reason. */
const MANY_PARAMETERS: Readonly<Record<string, string>> = {
  'formats/lsmt/segment-table.ts push': 'called once a mapping, millions of times: an object for each is garbage',
  'formats/lsmt/segment-table.ts extend': 'called once a mapping, millions of times: an object for each is garbage',
  'formats/lsmt/writer.ts #map': 'called once a run of blocks, beside the two above',
  'fixtures/tar-builder.ts device': 'the fields of a device node, in the order in which mknod takes them',
};

/** Basenames that a role repeats in several folders. */
const ROLE_NAMES: readonly { readonly names: RegExp; readonly folders: RegExp; readonly reason: string }[] = [
  { names: /^(layout|reader|writer|stream)\.ts$/, folders: /^formats\/\w+$/, reason: 'the parts of every format' },
  { names: /^index\.ts$/, folders: /^/, reason: 'the face of a folder' },
  { names: /^main\.ts$/, folders: /^/, reason: 'the start of a program' },
  { names: /^/, folders: /^formats\/kernels\/(assembly|twins)$/, reason: 'a kernel, and its twin in TypeScript' },
  { names: /^/, folders: /^cli\/commands$/, reason: 'a command is in the file of its name' },
];

/** A node of the syntax tree, as far as it is looked at. */
interface SyntaxNode {
  readonly type: string;
  readonly params?: unknown;
  readonly id?: { readonly name?: string } | null;
  readonly key?: { readonly name?: string; readonly type?: string } | null;
}

/** The functions of a file with too many parameters, as `path name`. */
function longHeads({ path, text }: SourceFile): string[] {
  const found: string[] = [];
  const visit = (value: unknown, name: string): void => {
    if (Array.isArray(value)) for (const item of value) visit(item, name);
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return;
    const node = value as SyntaxNode;
    const own =
      node.id?.name ?? (node.key?.type === 'PrivateIdentifier' ? `#${node.key.name}` : node.key?.name) ?? name;
    const isFunction = /Function|Method/.test(node.type) && Array.isArray(node.params);
    // The rows of a table are the parameters of the arrow that `it.each` calls.
    const isRow = isTest(path) && node.type === 'ArrowFunctionExpression';
    if (isFunction && !isRow && (node.params as unknown[]).length > MOST_PARAMETERS) found.push(`${path} ${own}`);
    for (const child of Object.values(node)) visit(child, own);
  };
  visit(parseAst(text, { lang: 'ts' }).body, 'function');
  return found;
}

describe(`functions take at most ${MOST_PARAMETERS} parameters`, () => {
  const found = files.filter(({ path }) => !path.startsWith(ASSEMBLY)).flatMap(longHeads);

  it('all but those with a reason', () => {
    expect(found.filter((name) => MANY_PARAMETERS[name] === undefined)).toEqual([]);
  });

  it('no exemption is left over', () => {
    expect(Object.keys(MANY_PARAMETERS).filter((name) => !found.includes(name))).toEqual([]);
  });

  // The rule must see what it forbids, or it forbids nothing.
  it.each([
    ['function', 'export async function f(a: A, { b }: B, c?: C, d = 1, ...e: E[]): Promise<void> {}', 'f'],
    ['method', 'class A { static m(a: A, b: A, c: A, d: A, e: A) {} }', 'm'],
    ['private method', 'class A { #m(a: A, b: A, c: A, d: A, e: A) {} }', '#m'],
    ['constructor', 'class A { constructor(a: A, b: A, c: A, d: A, e: A) {} }', 'constructor'],
    ['arrow', 'const f = (a: A, b: A, c: A, d: A, e: A): void => {};', 'f'],
    ['signature', 'interface A { m(a: A, b: A, c: A, d: A, e: A): void }', 'm'],
  ])('a %s is seen', (_, text, name) => expect(longHeads({ path: 'base/x.ts', text })).toEqual([`base/x.ts ${name}`]));

  it('four are allowed', () => {
    expect(longHeads({ path: 'base/x.ts', text: 'function f(a: A, b: A, c: A, d: A) {}' })).toEqual([]);
  });
});

it(`no file of the product has more than ${MOST_LINES} lines, unless it is generated`, () => {
  const long = product.filter(({ text }) => text.split('\n').length - 1 > MOST_LINES && !isGenerated(text));
  expect(long.map(({ path }) => path)).toEqual([]);
});

describe('no two files of the product have one name', () => {
  const split = (path: string): [folder: string, name: string] => {
    const slash = path.lastIndexOf('/');
    return [path.slice(0, Math.max(0, slash)), path.slice(slash + 1)];
  };
  /** The paths of each name that several files have, roles left out. */
  const repeated = (paths: readonly string[]): string[] => {
    const byName = new Map<string, string[]>();
    for (const path of paths) {
      const [folder, name] = split(path);
      if (ROLE_NAMES.some(({ names, folders }) => names.test(name) && folders.test(folder))) continue;
      byName.set(name, [...(byName.get(name) ?? []), path]);
    }
    return [...byName.values()].filter((same) => same.length > 1).map((same) => same.join(' '));
  };

  it('but those of a role', () => {
    const named = product.map(({ path }) => path);
    expect(repeated(named)).toEqual([]);
  });

  it('a repeated name is seen', () => expect(repeated(['oci/a.ts', 'http/b/a.ts', 'http/b.ts'])).toHaveLength(1));
});

describe('tests wait by conditions, as long as vitest.config.ts lets them', () => {
  // Milliseconds that a busy machine may take: a shorter bound turns red by load alone.
  const BOUNDS: readonly (readonly [what: string, found: RegExp, least: number])[] = [
    ['a poll', /\.poll\((?:(?!\.poll\()[^;])*?\btimeout: ([\d_]+)/g, 60_000],
    ['a wait', /\beventually\((?:(?!\beventually\()[^;])*?, ([\d_]+)\)/g, 60_000],
    ['a test', /\b(?:it|test)\b[^;\n]*\{ timeout: ([\d_]+) \}/g, 180_000],
    ['a test or a hook', /^(?: {2})*\}, ([\d_]{5,})\);$/gm, 180_000],
  ];
  const tests = files.filter(({ path }) => isTest(path));

  it.each(BOUNDS)('%s', (_, found, least) => {
    expect(tests.length).toBeGreaterThan(100);
    const short = tests.flatMap(({ path, text }) =>
      [...text.matchAll(found)]
        .filter(([, bound]) => Number(bound!.replaceAll('_', '')) < least)
        .map((match) => `${path}: ${match[1]}`),
    );
    expect(short).toEqual([]);
  });
});
