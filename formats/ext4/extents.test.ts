import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeExtentNode, type Extent, extentTreeBlocks, extentTreeNode, extentTreeRoot } from './extents.ts';
import { BLOCK_SIZE, EXTENT_MAX_BLOCKS } from './layout.ts';
import { Arena } from './state/arena.ts';
import { ExtentLists } from './state/extent-lists.ts';
import { FIELD, InodeTable } from './state/inode-table.ts';
import { MemoryBudget } from './state/memory-budget.ts';

const FIRST_NODE = 1_000_000;
const where = { inode: 12 };

/** Extents of one block each with a gap of one block between them on the device. */
function scattered(count: number): Extent[] {
  return Array.from({ length: count }, (_, i) => ({ logical: i, physical: 2 * i + 5, count: 1 }));
}

/** Writes the tree and reads it back from its root; also how many nodes lie below it, and its depth. */
function throughTree(extents: readonly Extent[]): { extents: Extent[]; nodes: number; depth: number } {
  const blocks = Array.from({ length: extentTreeBlocks(extents.length) }, (_, i) => FIRST_NODE + i);
  const tree = { extents, blocks };
  const stored = new Map(blocks.map((block, i) => [block, extentTreeNode(tree, i)]));
  const root = extentTreeRoot(tree);
  const { depth } = decodeExtentNode(root, where);
  const out: Extent[] = [];
  const pending: { bytes: Uint8Array; depth: number }[] = [{ bytes: root, depth }];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const node = decodeExtentNode(at.bytes, where);
    expect(node.depth).toBe(at.depth);
    for (const { logical, physical, count } of node.extents) out.push({ logical, physical, count });
    for (const child of [...node.children].reverse())
      pending.push({ bytes: stored.get(child)!, depth: node.depth - 1 });
  }
  return { extents: out, nodes: blocks.length, depth };
}

/** The extents of one inode as the state keeps them. */
function extentList(): { append(logical: number, physical: number, count: number): void; all(): Extent[] } {
  const memory = new MemoryBudget();
  const inodes = new InodeTable(memory);
  const lists = new ExtentLists(new Arena(memory), inodes);
  inodes.add(12, 'file', 0);
  return {
    append: (logical, physical, count) => lists.append(12, FIELD.firstExtent, { logical, physical, count }),
    all: () => lists.of(12, FIELD.firstExtent),
  };
}

describe('extent trees', () => {
  test.each([
    { count: 0, nodes: 0, depth: 0 },
    { count: 1, nodes: 0, depth: 0 },
    { count: 4, nodes: 0, depth: 0 },
    { count: 5, nodes: 1, depth: 1 },
    { count: 340, nodes: 1, depth: 1 },
    { count: 341, nodes: 2, depth: 1 },
    { count: 4 * 340, nodes: 4, depth: 1 },
    { count: 4 * 340 + 1, nodes: 5 + 1, depth: 2 },
    { count: 340 * 340, nodes: 340 + 1, depth: 2 },
    { count: 340 * 340 + 1, nodes: 341 + 2, depth: 2 },
  ])('extents_$count', ({ count, nodes, depth }) => {
    const extents = scattered(count);
    expect(throughTree(extents)).toEqual({ extents, nodes, depth });
  });

  test('a file of 43 GiB in one run needs a second level of 340 extents', () => {
    const list = extentList();
    const blocks = (43 * 2 ** 30) / BLOCK_SIZE;
    // In pieces that end nowhere near 128 MiB, as a tar comes.
    for (let at = 0; at < blocks; at += 99_991) list.append(at, 300_000 + at, Math.min(99_991, blocks - at));
    const extents = list.all();
    expect(extents).toHaveLength(344);
    expect(extents.every(({ count }) => count <= EXTENT_MAX_BLOCKS)).toBe(true);
    expect(throughTree(extents)).toMatchObject({ extents, nodes: 2, depth: 1 });
  });

  test('block numbers past 2^32 survive', () => {
    const extents = [{ logical: 2 ** 32 - 2, physical: 2 ** 40 + 7, count: 1 }];
    expect(throughTree(extents).extents).toEqual(extents);
  });

  test('appended runs say the same blocks, merged where they meet on both sides', () => {
    const run = fc.record({ gap: fc.nat(2), jump: fc.nat(2), count: fc.integer({ min: 1, max: 80_000 }) });
    fc.assert(
      fc.property(fc.array(run, { maxLength: 12 }), (runs) => {
        const list = extentList();
        const starts: [number, number][] = [];
        let logical = 0;
        let physical = 10;
        for (const { gap, jump, count } of runs) {
          logical += gap;
          physical += jump;
          list.append(logical, physical, count);
          starts.push([logical, physical], [logical + count - 1, physical + count - 1]);
          logical += count;
          physical += count;
        }
        const extents = list.all();
        expect(extents.reduce((sum, e) => sum + e.count, 0)).toBe(runs.reduce((sum, r) => sum + r.count, 0));
        for (const [l, p] of starts) {
          const holder = extents.filter((e) => l >= e.logical && l < e.logical + e.count);
          expect(holder.map((e) => e.physical + l - e.logical)).toEqual([p]);
        }
        for (const [i, extent] of extents.entries()) {
          const next = extents[i + 1];
          const meets =
            next?.logical === extent.logical + extent.count && next.physical === extent.physical + extent.count;
          if (meets) expect(extent.count).toBe(EXTENT_MAX_BLOCKS);
        }
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ['magic', 0, 0],
    ['entries', 2, 0xff],
    ['depth', 6, 6],
  ])('a node with a wrong %s is refused', (_, byte, value) => {
    const root = extentTreeRoot({ extents: scattered(4), blocks: [] });
    root[byte] = value;
    expect(() => decodeExtentNode(root, where)).toThrow(expect.objectContaining({ code: 'ext4-invalid', where }));
  });

  test('extents above 32768 blocks are unwritten ones', () => {
    const root = extentTreeRoot({ extents: [{ logical: 0, physical: 9, count: EXTENT_MAX_BLOCKS }], blocks: [] });
    expect(decodeExtentNode(root, where).extents[0]).toMatchObject({ count: 32_768, unwritten: false });
    new DataView(root.buffer).setUint16(12 + 4, 32_768 + 3, true);
    expect(decodeExtentNode(root, where).extents[0]).toMatchObject({ count: 3, unwritten: true });
  });
});
