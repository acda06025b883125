/** Counts the steps that the rules take through the tree for the paths of a layer, on the tree of a conversion. */
import { expect, test } from 'vitest';
import { Ext4Image } from '../ext4/ext4-image.ts';
import { Ext4LayerTree } from '../ext4/layer-tree.ts';
import { GROUP_BYTES } from '../ext4/layout.ts';
import { LayerRules } from './rules.ts';
import type { EntryHeader } from './tree.ts';

class CountingTree extends Ext4LayerTree {
  /** Names looked up. */
  steps = 0;

  override child(directory: number, name: string): number | undefined {
    this.steps++;
    return super.child(directory, name);
  }
}

function header(name: string, type: EntryHeader['type'], linkName = ''): EntryHeader {
  return {
    name,
    type,
    linkName,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: new Map(),
  };
}

const ENTRIES = 4000;

function emptyTree(): { readonly tree: CountingTree; readonly rules: LayerRules<number> } {
  const image = new Ext4Image({ virtualSize: 8 * GROUP_BYTES });
  image.beginLayer();
  const tree = new CountingTree(image);
  return { tree, rules: new LayerRules(tree, { changed: () => undefined, differs: () => undefined }) };
}

/** Steps for `ENTRIES` files after `before`, and the components that their paths have. */
function walk(before: readonly EntryHeader[], path: (i: number) => string): { steps: number; components: number } {
  const { tree, rules } = emptyTree();
  for (const entry of before) rules.apply(entry);
  tree.steps = 0;
  let components = 0;
  for (let i = 0; i < ENTRIES; i++) {
    components += path(i).split('/').length;
    rules.apply(header(path(i), 'file'));
  }
  return { steps: tree.steps, components };
}

/** A text of 800 times `q/..`, which leads back to where it begins, and `q`. */
const AROUND = `${'q/../'.repeat(800)}q`;
const CHAIN = [
  header('q', 'directory'),
  header('s0', 'symlink', AROUND),
  ...Array.from({ length: 37 }, (_, i) => header(`s${i + 1}`, 'symlink', `s${i}/../${AROUND}`)),
];

test.each<[string, readonly EntryHeader[], (i: number) => string]>([
  ['files in a directory of 100 levels', [], (i) => `${'a/'.repeat(100)}x${i}`],
  ['the same in turns with another directory', [], (i) => (i % 2 === 0 ? `${'a/'.repeat(100)}x${i}` : `z/y${i}`)],
  ['files behind 38 chained symlinks', CHAIN, (i) => (i % 2 === 0 ? `s37/x${i}` : `q/y${i}`)],
  ['files, each in a directory of its own', [], (i) => `d${i}/e/f/g`],
])('%s: no component is looked up more than once for each entry on average', (_, before, path) => {
  const { steps, components } = walk(before, path);
  // The chain itself is walked once: 38 texts of some 1,600 components.
  const once = before.length * 1700;
  expect(steps).toBeLessThanOrEqual(components + once);
});

test('a path that was found is not walked again', () => {
  const { steps } = walk([], (i) => `${'a/'.repeat(100)}x${i}`);
  // The name itself, and once the hundred levels.
  expect(steps).toBeLessThanOrEqual(2 * ENTRIES + 200);
});

test('nor is the path of a hard link that takes the place of a directory, time and again', () => {
  const { tree, rules } = emptyTree();
  const target = `${'p/'.repeat(1000)}t`;
  rules.apply(header(target, 'file'));
  tree.steps = 0;
  for (let i = 0; i < ENTRIES; i++) {
    rules.apply(header('r/', 'directory'));
    rules.apply(header('r', 'link', target));
  }
  // Once the thousand levels; then `r` twice and `t`.
  expect(tree.steps).toBeLessThanOrEqual(1000 + 4 * ENTRIES);
});

test.each<[string, EntryHeader['type'], string]>([
  ['a file', 'file', ''],
  ['a symlink', 'symlink', 'other'],
  ['a hard link', 'link', 'other/b/f'],
])('a path is walked again after %s took the place of a directory on it', (_, type, linkName) => {
  const { tree, rules } = emptyTree();
  const link = header('l', 'link', 'a/b/f');
  for (const path of ['other/b/f', 'a/b/f']) rules.apply(header(path, 'file'));
  rules.apply(link);
  const old = tree.child(tree.root, 'l');
  rules.apply(header('a', type, linkName));
  if (type !== 'symlink') {
    expect(() => rules.apply(link)).toThrow('the target of a hard link does not exist');
    return;
  }
  rules.apply(link);
  expect(tree.child(tree.root, 'l')).not.toBe(old);
  rules.apply(header('a/b/g', 'file'));
  expect(tree.child(tree.child(tree.child(tree.root, 'other')!, 'b')!, 'g')).toBeDefined();
});

test('a path is walked again after one of its directories went because of a symlink, and after the symlink went', () => {
  const { tree, rules } = emptyTree();
  for (const path of ['x/b/f', 'y/b/f']) rules.apply(header(path, 'file'));
  rules.apply(header('a', 'symlink', 'x'));
  rules.apply(header('a/b/g', 'file'));
  rules.apply(header('a', 'symlink', 'y'));
  rules.apply(header('a/b/h', 'file'));
  const inside = (name: string): number => tree.child(tree.child(tree.root, name)!, 'b')!;
  expect(tree.child(inside('x'), 'h')).toBeUndefined();
  expect(tree.child(inside('y'), 'h')).toBeDefined();
});
