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

/** Steps for `ENTRIES` files after `before`, and the components that their paths have. */
function walk(before: readonly EntryHeader[], path: (i: number) => string): { steps: number; components: number } {
  const image = new Ext4Image({ virtualSize: 8 * GROUP_BYTES });
  image.beginLayer();
  const tree = new CountingTree(image);
  const rules = new LayerRules(tree, { changed: () => undefined, differs: () => undefined });
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
