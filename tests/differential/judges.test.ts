/**
 * Images out of random stacks, unpacked by containerd and umoci, and extracted by GNU tar: each difference from what the model (and with
 * it accel, by stacks.test.ts) makes of them has its place in a list of known ones, and each of the list occurs.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type EntryAttributes, type StackEntry, type StackLayer, tarOfEntries } from '../../fixtures/stack-entry.ts';
import { CONTAINERD_NEEDS, withContainerd } from '../support/containerd.ts';
import { stacksOf } from '../support/sound-stacks.ts';
import { readStack } from '../support/stack-model.ts';
import { describeWith } from '../support/tools.ts';
import type { TreeEntry } from '../support/tree.ts';
import { extractedTrees, type ForeignTree, umociTrees } from './foreign-trees.ts';
import {
  CONTAINERD,
  differencesOf,
  formatDifference,
  GNU_TAR,
  type KnownDifference,
  UMOCI,
} from './known-differences.ts';

/** Images for each of them. */
const IMAGES = Number(process.env.ACCEL_JUDGED_IMAGES ?? 50);
const SEED = Number(process.env.ACCEL_STACKS_SEED ?? 20_261_125);

/** The mode that says what the ACL says: umoci and GNU tar set the ACL after the mode, and a file system changes the mode then. */
const ACL_MODE = 0o640;

/** Attributes that this machine's file system accepts: with others the judge would not show the result. */
function tame(entry: StackEntry, { freeModes = false } = {}): StackEntry | undefined {
  if (!('attributes' in entry)) return entry;
  // umoci removes a name before it links it, and finds nothing to link to; accel and GNU tar keep the name.
  if (entry.kind === 'link' && entry.target === entry.path) return undefined;
  const takesXattrs = entry.kind === 'file' || entry.kind === 'sparse' || entry.kind === 'directory';
  const { seconds, nanoseconds, xattrs: all, mode } = entry.attributes;
  const xattrs = Object.entries(all).filter(([name]) => takesXattrs && name !== 'com.apple.quarantine');
  const hasAcl = xattrs.some(([name]) => name.startsWith('system.posix_acl_'));
  const attributes: EntryAttributes = {
    ...entry.attributes,
    // A file system of this machine may end its times in 2038 or hold more than ext4.
    seconds: Math.min(Math.max(seconds, -86_400), 2 ** 31 - 1),
    nanoseconds,
    mode: hasAcl && !freeModes ? (mode & 0o7000) | ACL_MODE : mode,
    xattrs: Object.fromEntries(xattrs),
  };
  return { ...entry, attributes };
}

/** The layer as GNU tar can extract it: no whiteouts, no path twice, and runs of sparse files in whole blocks. */
function extractable(stack: readonly StackLayer[]): StackLayer {
  const made = new Set<string>();
  const first = stack.find((layer) => layer.length > 0) ?? [];
  return first.filter((entry) => {
    if (entry.kind === 'whiteout' || entry.kind === 'opaque' || entry.kind === 'aufs' || made.has(entry.path))
      return false;
    if (entry.kind === 'sparse' && entry.runs.slice(0, -1).some(([, length]) => length % 512 !== 0)) return false;
    if (entry.kind === 'link' && !made.has(entry.target)) return false;
    const parts = entry.path.split('/');
    for (let count = 1; count <= parts.length; count++) made.add(parts.slice(0, count).join('/'));
    return true;
  });
}

/**
 * Whether a hard link leads to a symlink, device or pipe: the native snapshotter copies a tree for each layer, and makes two
 * inodes of such a pair.
 */
function linksSpecialFiles(stack: readonly StackLayer[]): boolean {
  const special = new Set<string>();
  return stack.flat().some((entry) => {
    if (['symlink', 'character', 'block', 'fifo'].includes(entry.kind)) special.add(entry.path);
    return entry.kind === 'link' && special.has(entry.target);
  });
}

/** Differences that no known one explains, and how many of each known one there were. */
class Verdict {
  readonly unexplained: string[] = [];
  readonly seen: Map<string, number>;
  readonly #known: readonly KnownDifference[];

  constructor(known: readonly KnownDifference[]) {
    this.#known = known;
    this.seen = new Map(known.map(({ name }) => [name, 0]));
  }

  add(image: number, ours: readonly TreeEntry[], foreign: ForeignTree, excuse?: RegExp): void {
    if ('complaint' in foreign) {
      if (excuse?.test(foreign.complaint) !== true) this.unexplained.push(`image ${image}: ${foreign.complaint}`);
      return;
    }
    for (const difference of differencesOf(ours, foreign.tree)) {
      const reason = this.#known.find((known) => known.explains(difference));
      if (reason === undefined) this.unexplained.push(`image ${image}: ${formatDifference(difference)}`);
      else this.seen.set(reason.name, this.seen.get(reason.name)! + 1);
    }
  }

  expectAllKnown(): void {
    expect(this.unexplained).toEqual([]);
    expect([...this.seen].filter(([, count]) => count === 0)).toEqual([]);
  }
}

/** Two layers that name one directory, the second with other extended attributes. */
const NAMED_AGAIN: readonly StackLayer[] = [
  [namedDirectory({ 'user.a': 'one', 'user.b': 'one' })],
  [namedDirectory({ 'user.b': 'two' })],
];

function namedDirectory(xattrs: EntryAttributes['xattrs']): StackEntry {
  const attributes = { mode: 0o755, uid: 0, gid: 0, seconds: 1_700_000_000, nanoseconds: 0, xattrs };
  return { kind: 'directory', path: 'named', spelling: '', attributes };
}

describeWith(CONTAINERD_NEEDS, 'containerd', () => {
  test('unpacks the same trees, but for what is known', { timeout: 300_000 + IMAGES * 4000 }, async () => {
    // Whiteouts first: containerd applies a whiteout where it is, also to what its own layer made before.
    const options = { anyOrder: false, noWhiteoutsBehindLinks: true };
    const stacks = fc
      .sample(
        stacksOf(options, (entry) => tame(entry, { freeModes: true })),
        { seed: SEED, numRuns: IMAGES },
      )
      .filter(({ layers }) => !linksSpecialFiles(layers));
    const verdict = new Verdict(CONTAINERD);
    const trees = await withContainerd((containerd) =>
      containerd.unpack(
        stacks.map(({ layers }) => layers.map(tarOfEntries)),
        'native',
      ),
    );
    // A whiteout, or what AUFS kept for itself, may be below what is a file.
    for (const [i, { layers, options }] of stacks.entries())
      verdict.add(i, readStack(layers, options).trees.at(-1) ?? [], trees[i]!, /not a directory/);
    verdict.expectAllKnown();
    expect(trees.filter((one) => 'tree' in one).length).toBeGreaterThan(IMAGES / 3);
  });
});

describeWith({ tools: ['umoci', 'python3'], root: true }, 'umoci', () => {
  test('unpacks the same trees, but for what is known', { timeout: 300_000 + IMAGES * 2000 }, async () => {
    const stacks = [true, false].flatMap((anyOrder, i) =>
      fc.sample(
        stacksOf({ anyOrder, noWhiteoutsBehindLinks: true, ignoreLinkHeaders: true }, (entry) => tame(entry)),
        { seed: SEED + i, numRuns: IMAGES / 2 },
      ),
    );
    stacks.push({ layers: NAMED_AGAIN, options: { anyOrder: true } });
    const verdict = new Verdict(UMOCI);
    const trees = await umociTrees(stacks.map(({ layers }) => layers.map(tarOfEntries)));
    // Files that AUFS kept for itself may lie below a path that is a file.
    for (const [i, { layers, options }] of stacks.entries())
      verdict.add(i, readStack(layers, options).trees.at(-1) ?? [], trees[i]!, /\.wh\.\.wh\.plnk.*not a directory/);
    verdict.expectAllKnown();
  });
});

describeWith({ tools: ['tar', 'python3'], root: true }, 'GNU tar', () => {
  test('extracts the same trees, but for what is known', { timeout: 300_000 + IMAGES * 2000 }, async () => {
    const options = { anyOrder: true, ignoreLinkHeaders: true };
    const stacks = fc.sample(
      stacksOf(options, (entry) => tame(entry)),
      { seed: SEED, numRuns: IMAGES },
    );
    const layers = stacks.map((stack) => extractable(stack.layers));
    const verdict = new Verdict(GNU_TAR);
    const trees = await extractedTrees(layers.map(tarOfEntries));
    for (const [i, layer] of layers.entries()) {
      // Without the entry that replaced a file by a directory, what is below it has no place: then neither has a tree.
      const { trees: ours, refusal } = readStack([layer], options);
      verdict.add(i, ours[0] ?? [], trees[i]!, refusal === undefined ? undefined : /Not a directory/);
    }
    verdict.expectAllKnown();
  });
});
