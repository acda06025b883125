/** Blocks are fetched once, in few requests, and kept within bounds. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockCache } from './block-cache.ts';
import { type BlockBackend, BlockStore } from './block-store.ts';

const BLOCK = 4096;

/** A file of blocks that take 1000 bytes each in the blob. */
class FakeBackend implements BlockBackend {
  readonly loads: [number, number][] = [];
  readonly count: number;
  readonly #fetched: number;
  located = Number.POSITIVE_INFINITY;
  fail = 0;
  front: BlockBackend['front'];
  /** Blocks before this one are in memory. */
  held = 0;
  /** Blocks of a span, with whose first one decoding begins. */
  span = 1;

  constructor(count: number, fetched = 1000) {
    this.count = count;
    this.#fetched = fetched;
  }
  blockAt(offset: number): number {
    return Math.floor(offset / BLOCK);
  }
  startOf(i: number): number {
    return i * BLOCK;
  }
  async locate(_first: number, last: number): Promise<void> {
    this.located = Math.max(this.located, last);
  }
  locatedFrom(): number {
    return Math.min(this.located, this.count);
  }
  entryTo(i: number): number {
    return Math.floor(i / this.span) * this.span;
  }
  fetchedSize(first: number, last: number): number {
    return (last - first) * this.#fetched;
  }
  holds(_first: number, last: number): boolean {
    return last <= this.held;
  }
  async load(first: number, last: number): Promise<Uint8Array[]> {
    this.loads.push([first, last]);
    await new Promise((resolve) => setImmediate(resolve));
    if (this.fail > 0) {
      this.fail--;
      throw new Error('gone for a moment');
    }
    return Array.from({ length: last - first }, (_, i) => contentOf((first + i) * BLOCK, BLOCK));
  }
}

/** The content of the file: the number of each 16-bit word, so that all blocks differ. */
function contentOf(offset: number, length: number): Uint8Array {
  const first = offset >> 1;
  const words = Uint16Array.from({ length: (length >> 1) + 2 }, (_, i) => (first + i) * 31 + ((first + i) >> 13));
  return new Uint8Array(words.buffer).slice(offset & 1, (offset & 1) + length);
}

async function read(store: BlockStore, offset: number, length: number): Promise<Uint8Array> {
  const target = new Uint8Array(length);
  await store.fill([{ offset, target }]);
  expect(Buffer.compare(target, contentOf(offset, length))).toBe(0);
  return target;
}

function fixture(count = 10_000, cacheBytes = 1 << 24) {
  const backend = new FakeBackend(count);
  const cache = new BlockCache(cacheBytes);
  return { backend, cache, store: new BlockStore(backend, cache, 3) };
}

describe('requests', () => {
  it('one for a block and the next few kilobytes', async () => {
    const { backend, store } = fixture();
    await read(store, 100 * BLOCK + 5, 10);
    expect(backend.loads).toEqual([[100, 112]]);
    await read(store, 111 * BLOCK, BLOCK);
    expect(backend.loads).toHaveLength(1);
  });

  it('of what is in memory, as much as is there', async () => {
    const { backend, store } = fixture();
    backend.held = 106;
    await read(store, 100 * BLOCK, BLOCK);
    await read(store, 106 * BLOCK, BLOCK);
    expect(backend.loads).toEqual([
      [100, 106],
      [106, 130],
    ]);
  });

  it('of what a start reads, a megabyte, and nothing after it', async () => {
    const { backend, store } = fixture();
    backend.front = { start: 2000, end: 2_000_000 };
    for (let block = 300; block < 2100; block++) await read(store, block * BLOCK, BLOCK);
    expect(backend.loads.slice(0, 2)).toEqual([
      [300, 1324],
      [1324, 1998],
    ]);
    expect(backend.loads[2]).toEqual([1998, 2260]);
    await read(store, 5000 * BLOCK, BLOCK);
    expect(backend.loads.at(-1)).toEqual([5000, 5012]);
  });

  it('of parts that a start reads, all that are near each other, whichever is read first', async () => {
    const { backend, cache } = fixture();
    const parts = [
      { offset: 1000 * BLOCK, length: 10 * BLOCK },
      { offset: 1100 * BLOCK + 1, length: 1 },
      { offset: 1400 * BLOCK, length: 4 * BLOCK },
    ];
    const store = new BlockStore(backend, cache, 4, parts);
    await read(store, 1100 * BLOCK, BLOCK);
    await read(store, 1002 * BLOCK, BLOCK);
    expect(backend.loads).toEqual([[1000, 1101]]);
    // Nothing of a group twice, and not beyond it but for what any read takes.
    await read(store, 1403 * BLOCK, BLOCK);
    await read(store, 1400 * BLOCK, BLOCK);
    expect(backend.loads.slice(1)).toEqual([[1400, 1412]]);
    await read(store, 1200 * BLOCK, BLOCK);
    expect(backend.loads.at(-1)).toEqual([1200, 1212]);
  });

  it('of a part that is larger than a request, from what is read on', async () => {
    const { backend, cache } = fixture();
    const store = new BlockStore(backend, cache, 4, [{ offset: 0, length: 3000 * BLOCK }]);
    await read(store, 500 * BLOCK, BLOCK);
    await read(store, 499 * BLOCK, BLOCK);
    expect(backend.loads).toEqual([
      [500, 1524],
      [499, 500],
    ]);
  });

  it('more and more where reading goes on, up to a quarter of a megabyte', async () => {
    const { backend, store } = fixture();
    for (let block = 0; block < 4000; block++) await read(store, block * BLOCK, BLOCK);
    const sizes = backend.loads.map(([first, last]) => last - first);
    expect(sizes.slice(0, 4)).toEqual([12, 24, 49, 98]);
    expect(Math.max(...sizes)).toBe(262);
    expect(backend.loads.length).toBeLessThan(25);
    // Nothing twice.
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(backend.loads.at(-1)![1]);
  });

  it('begins where decoding begins, and keeps what it comes by', async () => {
    const { backend, store } = fixture();
    backend.span = 40;
    await read(store, 86 * BLOCK, 1);
    expect(backend.loads).toEqual([[80, 92]]);
    await read(store, 81 * BLOCK, 1);
    expect(backend.loads).toHaveLength(1);
    await read(store, 100 * BLOCK, 1);
    // Those before it are here up to 91.
    expect(backend.loads[1]).toEqual([92, 116]);
    await read(store, 158 * BLOCK, 1);
    // No more than sixteen before the wanted one.
    expect(backend.loads[2]![0]).toBe(142);
  });

  it('streams side by side each have their own pace', async () => {
    const { backend, store } = fixture();
    for (let i = 0; i < 300; i++) for (const base of [0, 3000, 6000]) await read(store, (base + i) * BLOCK, BLOCK);
    expect(backend.loads.length).toBeLessThan(25);
  });

  it('gap_32_blocks is fetched along, gap_33_blocks is not', async () => {
    const near = fixture();
    await near.store.fill([0, 33].map((block) => ({ offset: block * BLOCK, target: new Uint8Array(1) })));
    expect(near.backend.loads).toHaveLength(1);
    const far = fixture();
    await far.store.fill([0, 34].map((block) => ({ offset: block * BLOCK, target: new Uint8Array(1) })));
    expect(far.backend.loads.map(([first]) => first)).toEqual([0, 34]);
  });

  it('none has more than a megabyte, nor more than four in memory', async () => {
    const { backend, store } = fixture();
    await read(store, 0, 4000 * BLOCK);
    expect(Math.max(...backend.loads.map(([first, last]) => last - first))).toBe(1024);
    const zeros = new FakeBackend(10_000, 30);
    await read(new BlockStore(zeros, new BlockCache(1 << 20), 0), 0, 4000 * BLOCK);
    expect(Math.max(...zeros.loads.map(([first, last]) => last - first))).toBe(1024);
  });

  it('nothing is fetched ahead of what is located', async () => {
    const { backend, store } = fixture();
    backend.located = 0;
    await read(store, 50 * BLOCK, BLOCK);
    expect(backend.loads).toEqual([[50, 51]]);
  });
});

describe('many readers at a time', () => {
  it('share one fetch of the same block', async () => {
    const { backend, store } = fixture();
    await Promise.all(Array.from({ length: 20 }, () => read(store, 7 * BLOCK, 3 * BLOCK)));
    expect(backend.loads).toEqual([[7, 19]]);
  });

  it('that overlap get the right bytes, and no block is fetched twice while it is kept', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(500 * BLOCK), fc.integer({ min: 1, max: 20 * BLOCK })), {
          minLength: 1,
          maxLength: 20,
        }),
        async (ranges) => {
          const { backend, store } = fixture(600);
          await Promise.all(ranges.map(([offset, length]) => read(store, offset, length)));
          const wanted = new Set<number>();
          for (const [first, last] of backend.loads) for (let block = first; block < last; block++) wanted.add(block);
          for (const [offset, length] of ranges)
            for (let at = offset; at < offset + length; at += BLOCK)
              expect(wanted.has(Math.floor(at / BLOCK))).toBe(true);
          const before = backend.loads.length;
          for (const [offset, length] of ranges) await read(store, offset, length);
          expect(backend.loads).toHaveLength(before);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('all hear of a failure, and the next one tries again', async () => {
    const { backend, store } = fixture();
    backend.fail = 1;
    const results = await Promise.allSettled([read(store, 0, BLOCK), read(store, 0, BLOCK), read(store, BLOCK, BLOCK)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await read(store, 0, 2 * BLOCK);
    expect(backend.loads).toHaveLength(2);
  });
});

describe('the cache', () => {
  it('stays below its limit, whatever is read', async () => {
    const { cache, store } = fixture(10_000, 100_000);
    for (let i = 0; i < 200; i++) {
      await read(store, ((i * 7919) % 9000) * BLOCK, (1 + (i % 40)) * BLOCK);
      expect(cache.bytes).toBeLessThanOrEqual(100_000);
    }
    expect(cache.bytes).toBeGreaterThan(50_000);
  });

  it('counts a block once that was fetched again between two others', async () => {
    const { cache, store } = fixture(10_000, 1 << 24);
    await read(store, 20 * BLOCK, BLOCK);
    const one = cache.bytes / 12;
    await store.fill([15, 25].map((block) => ({ offset: block * BLOCK, target: new Uint8Array(1) })));
    await read(store, 40 * BLOCK, BLOCK);
    await store.fill([10, 39].map((block) => ({ offset: block * BLOCK, target: new Uint8Array(1) })));
    const kept = Array.from({ length: 200 }, (_, i) => cache.has(3 * 2 ** 40 + i)).filter(Boolean).length;
    expect(cache.bytes).toBe(kept * one);
  });

  it('drops what was used longest ago', () => {
    const cache = new BlockCache(3 * (1000 + 192));
    const put = async (key: number): Promise<void> => {
      const block = Promise.resolve(new Uint8Array(1000));
      cache.announce(key, block);
      await block;
    };
    return (async () => {
      for (const key of [1, 2, 3]) await put(key);
      expect(cache.get(1)).toBeInstanceOf(Uint8Array);
      await put(4);
      expect([1, 2, 3, 4].map((key) => cache.has(key))).toEqual([true, false, true, true]);
    })();
  });

  it('keeps the blocks of two files apart', async () => {
    const cache = new BlockCache(1 << 20);
    const first = new BlockStore(new FakeBackend(10), cache, 0);
    const backend = new FakeBackend(10);
    await read(first, 0, BLOCK);
    await read(new BlockStore(backend, cache, 1), 0, BLOCK);
    expect(backend.loads).toHaveLength(1);
  });

  it('a file of no cache at all can be read', async () => {
    const { store } = fixture(100, 0);
    await read(store, 0, 50 * BLOCK);
  });
});
