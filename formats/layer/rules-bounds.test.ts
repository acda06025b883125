/** The bounds of the rules of a layer, on a tree that claims to be deep: no layer of such a size has to be built. */
import { expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { LayerRules } from './rules.ts';
import type { EntryHeader, LayerTree, NodeKind } from './tree.ts';

const ROOT = 0;
const [DEEP, FILE, FULL] = [100_000, -1, -2];

/** `/deep` is `depth` directories below the root and has the file `f`; every other name is a directory with content. */
class DeepTree implements LayerTree<number> {
  readonly root = ROOT;
  /** Steps from a directory to the one above it. */
  climbed = 0;
  readonly #depth: number;

  constructor(depth: number) {
    this.#depth = depth;
  }

  kind(node: number): NodeKind {
    return node === FILE ? 'file' : 'directory';
  }
  parent(directory: number): number {
    this.climbed += 1;
    return directory === DEEP - this.#depth + 1 ? ROOT : directory - 1;
  }
  child(directory: number, name: string): number {
    if (directory === DEEP) return FILE;
    return name === 'deep' ? DEEP : FULL;
  }
  isOwn = () => true;
  markOwn = () => undefined;
  isEmpty = () => false;
  lowerNames = () => [];
  target = () => '';
  xattrs = () => new Map<string, Uint8Array>();
  create = () => FULL;
  link = () => undefined;
  remove = () => undefined;
  *removeTree(): Generator<undefined, void> {
    yield;
  }
  setAttributes = () => undefined;
  setXattrs = () => undefined;
}

function linkNumber(number: number): EntryHeader {
  return {
    name: `full-${number}`,
    type: 'link',
    linkName: 'deep/f',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: new Map(),
  };
}

/** Links `/deep/f` over one directory after the other; answers the links that went well, and the error of the last. */
function replaceDirectories(depth: number, links: number) {
  const tree = new DeepTree(depth);
  const rules = new LayerRules(tree, { changed: () => undefined, differs: () => undefined });
  for (let number = 0; number < links; number++) {
    try {
      rules.apply(linkNumber(number));
    } catch (error) {
      return { links: number, climbed: tree.climbed, error };
    }
  }
  return { links, climbed: tree.climbed, error: undefined };
}

test('links to a file of 4000 levels may replace any number of directories', () => {
  expect(replaceDirectories(4000, 2000)).toMatchObject({ links: 2000, error: undefined });
});

test('links to a file of 50,000 levels end at the bound, with its name', () => {
  const { links, climbed, error } = replaceDirectories(50_000, 2000);
  expect(error).toBeInstanceOf(AccelError);
  expect(error).toMatchObject({
    code: 'limit-exceeded',
    expected: 'at most 1000000 directories above their targets, and 4096 more for each link',
  });
  // 50,000 steps a link, of which 4096 are allowed for each, use up the 1,000,000 in the 22nd link.
  expect(links).toBe(21);
  expect(climbed).toBeLessThanOrEqual(1_000_000 + 22 * 4096);
});
