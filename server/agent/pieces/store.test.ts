/** The piece store on a real folder: what it finds at its start, what it does with damage, and what it evicts. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeWith, run as runTool } from '../../../tests/support/tools.ts';
import type { Piece, PieceId } from './piece.ts';
import { hashPiece } from './piece-file.ts';
import { PieceStore, type StoreOptions } from './store.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const OTHER = `sha256:${'b'.repeat(64)}`;
let directory: string;
const stores: PieceStore[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'accel-store-'));
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  await rm(directory, { recursive: true, force: true });
});

async function open(options: Partial<StoreOptions> = {}): Promise<PieceStore> {
  const all = { directory, capacity: 2 ** 20, memory: 2 ** 20, ttl: 3_600_000, keepFree: 0, ...options };
  const store = await PieceStore.open(all);
  stores.push(store);
  return store;
}

function piece(bytes = randomBytes(1000), attestation?: string): Piece {
  return { bytes, sha256: hashPiece(bytes), attestation };
}

function id(index: number, digest = DIGEST): PieceId {
  return { digest, index };
}

describe('a disk that goes away', () => {
  it.each([
    ['with pieces to write', true],
    ['with nothing to write', false],
  ])('comes back by itself, %s, and the store counts what is there then', async (_, writes) => {
    const heard: (string | undefined)[] = [];
    const store = await open({ retryAfter: 20, memory: 3000, onProblem: (problem) => void heard.push(problem) });
    for (const index of [1, 2, 3, 4]) {
      store.put(id(index), piece(), { owned: true });
      await expect.poll(() => store.statistics.used).toBeGreaterThan(index * 1000);
    }
    await rm(directory, { recursive: true });
    // No folder can be made there.
    await writeFile(directory, '');
    if (writes) store.put(id(5), piece(), { owned: true });
    else expect(await store.get(id(1))).toBeUndefined();
    await expect.poll(() => heard.length).toBe(1);
    expect(store.problem).toMatch(/ENOTDIR|EEXIST|ENOENT|is no folder/);
    const kept = piece();
    store.put(id(6), kept, { owned: true });
    expect((await store.get(id(6)))?.bytes.equals(kept.bytes)).toBe(true);
    await rm(directory);
    await expect.poll(() => store.problem).toBeUndefined();
    expect(heard).toEqual([expect.any(String), undefined]);
    expect(store.statistics.used).toBe(0);
    expect(store.has(id(1))).toBe(false);
    store.put(id(7), piece(), { owned: true });
    await expect.poll(() => readdir(join(directory, DIGEST.replace(':', '-')))).toEqual(['7']);
  });

  it.each([
    ['at once', 0],
    ['after the answer about the free space is old', 1_100],
  ])('is made again and counted when only its folder was removed, and a piece comes %s', async (_, after) => {
    const store = await open({ retryAfter: 20, memory: 3000 });
    for (const index of [1, 2, 3, 4]) {
      store.put(id(index, OTHER), piece(), { owned: true });
      await expect.poll(() => store.statistics.used).toBeGreaterThan(index * 1000);
    }
    await rm(directory, { recursive: true });
    await new Promise((resolve) => setTimeout(resolve, after));
    store.put(id(5), piece(), { owned: true });
    await expect.poll(() => store.statistics.unwritten).toBe(1);
    await expect.poll(() => store.problem).toBeUndefined();
    expect(store.statistics.used).toBe(0);
    store.put(id(6), piece(), { owned: true });
    await expect.poll(() => readdir(join(directory, DIGEST.replace(':', '-')))).toEqual(['6']);
    expect(store.statistics.used).toBeLessThan(1500);
  });

  it('does not count what was removed from its folder', async () => {
    const store = await open({ ttl: 4_000, memory: 1500 });
    for (const [digest, folders] of [
      [DIGEST, 1],
      [OTHER, 2],
    ] as const) {
      store.put(id(1, digest), piece(), { owned: true });
      await expect.poll(() => readdir(directory)).toHaveLength(folders);
    }
    store.put(id(2, OTHER), piece(), { owned: true });
    await expect.poll(() => store.statistics.pieces).toBe(3);
    await expect.poll(() => store.statistics.used).toBeGreaterThan(3000);
    const { used } = store.statistics;
    await rm(join(directory, DIGEST.replace(':', '-')), { recursive: true });
    await expect.poll(() => store.statistics.used).toBe((used / 3) * 2);
    expect([store.has(id(1)), store.has(id(1, OTHER))]).toEqual([false, true]);
  });

  it('is left alone while another process has it', async () => {
    const store = await open({ retryAfter: 200 });
    await rm(directory, { recursive: true });
    store.put(id(1), piece(), { owned: true });
    await expect.poll(() => store.problem).toBeDefined();
    await store.setFrozen(true);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const frozen = await readdir(directory).catch(() => 'absent');
    await store.setFrozen(false);
    await expect.poll(() => store.problem).toBeUndefined();
    expect(frozen).toBe('absent');
  });
});

describeWith({ tools: ['mount', 'umount'], root: true }, 'a file system of its own', () => {
  it('is used again after it was mounted read-only for a while', async () => {
    await runTool('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'accel-store-test', directory]);
    try {
      const store = await open({ retryAfter: 20 });
      store.put(id(1), piece(), { owned: true });
      await expect.poll(() => store.statistics.used).toBeGreaterThan(1000);
      const { used } = store.statistics;
      await runTool('mount', ['-o', 'remount,ro', directory]);
      const kept = piece();
      store.put(id(2), kept, { owned: true });
      await expect.poll(() => store.problem).toMatch(/EROFS/);
      expect(await store.get(id(2))).toEqual(kept);
      await runTool('mount', ['-o', 'remount,rw', directory]);
      await expect.poll(() => store.problem).toBeUndefined();
      expect(store.statistics.used).toBe(used);
      store.put(id(3), piece(), { owned: true });
      await expect.poll(() => readdir(join(directory, DIGEST.replace(':', '-')))).toEqual(['1', '3']);
    } finally {
      for (const store of stores.splice(0)) await store.close();
      await runTool('umount', [directory]);
    }
  });
});

describe('a frozen store', () => {
  it('writes and removes nothing until it thaws', async () => {
    const store = await open();
    await store.setFrozen(true);
    store.put(id(1), piece(), { owned: true });
    expect((await store.get(id(1)))?.bytes.length).toBe(1000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await readdir(directory)).toEqual([]);
    await store.setFrozen(false);
    store.put(id(2), piece(), { owned: true });
    await store.close();
    expect(await readdir(join(directory, DIGEST.replace(':', '-')))).toEqual(['2']);
  });
});

describe('a start', () => {
  it('takes in the pieces of an earlier run, with their attestations', async () => {
    const first = await open();
    const kept = piece(randomBytes(500), 'signed');
    first.put(id(3), kept, { owned: true });
    await first.close();
    const second = await open();
    expect(second.has(id(3))).toBe(true);
    expect(await second.get(id(3))).toEqual(kept);
  });

  it('reads pieces before it has looked through its folder, where it opens at once', async () => {
    const first = await open();
    const kept = piece(randomBytes(500), 'signed');
    first.put(id(3), kept, { owned: true });
    await first.close();
    const second = await open({ opensAtOnce: true });
    expect([second.has(id(3)), second.statistics.used]).toEqual([false, 0]);
    expect(await second.get(id(3))).toEqual(kept);
    expect(await second.get(id(4))).toBeUndefined();
    await second.rebuilt;
    expect(second.has(id(3))).toBe(true);
    expect(second.statistics).toMatchObject({ pieces: 1, damaged: 0, used: first.statistics.used });
  });

  it('removes half-written files, and leaves folders that are not its own alone', async () => {
    const blob = join(directory, DIGEST.replace(':', '-'));
    await mkdir(blob);
    await writeFile(join(blob, '0.tmp'), 'half');
    await mkdir(join(directory, 'photos'));
    await writeFile(join(directory, 'photos', 'holiday'), 'dear');
    const store = await open();
    expect(store.statistics.pieces).toBe(0);
    expect(await readdir(blob)).toEqual([]);
    expect(await readFile(join(directory, 'photos', 'holiday'), 'utf8')).toBe('dear');
  });

  it('evicts down to a smaller capacity', async () => {
    const first = await open();
    for (let index = 0; index < 5; index++) first.put(id(index), piece(), { owned: true });
    await first.close();
    const second = await open({ capacity: 2500 });
    expect(second.statistics.used).toBeLessThanOrEqual(2500);
    expect(second.statistics.pieces).toBe(2);
  });
});

describe('damage', () => {
  it.each([
    ['a flipped bit', (bytes: Buffer) => bytes.fill(bytes[10]! ^ 1, 10, 11)],
    ['a file cut short', (bytes: Buffer) => bytes.subarray(0, bytes.length - 20)],
    ['an empty file', () => Buffer.alloc(0)],
  ])('%s is noticed, counted and removed', async (_, harm) => {
    const first = await open();
    first.put(id(0), piece(), { owned: true });
    await first.close();
    const path = join(directory, DIGEST.replace(':', '-'), '0');
    await writeFile(path, harm(await readFile(path)));
    const second = await open();
    expect(await second.get(id(0))).toBeUndefined();
    expect(second.statistics).toMatchObject({ damaged: 1, pieces: 0, used: 0 });
  });
});

describe('space', () => {
  it('never uses more than it may, and evicts relayed pieces before owned ones', async () => {
    const store = await open({ capacity: 4500, memory: 1 });
    store.put(id(0, OTHER), piece(), { owned: false });
    await store.close();
    const again = await open({ capacity: 4500, memory: 3000 });
    for (let index = 0; index < 4; index++) again.put(id(index), piece(), { owned: true });
    await again.close();
    expect(again.statistics.used).toBeLessThanOrEqual(4500);
    const last = await open({ capacity: 4500 });
    expect(last.has(id(0, OTHER))).toBe(false);
    expect(last.has(id(3))).toBe(true);
  });

  it('serves from memory when the file system has no room to spare', async () => {
    const store = await open({ keepFree: 0.999999 });
    const kept = piece();
    store.put(id(0), kept, { owned: true });
    await store.close();
    expect(await store.get(id(0))).toEqual(kept);
    expect(store.statistics).toMatchObject({ used: 0, unwritten: 1 });
    expect(await readdir(directory)).toEqual([]);
  });

  it('serves from memory when the folder has gone', async () => {
    const store = await open();
    await rm(directory, { recursive: true });
    await writeFile(directory, 'in its place');
    const kept = piece();
    store.put(id(0), kept, { owned: true });
    await store.close();
    expect(await store.get(id(0))).toEqual(kept);
    expect(store.statistics.unwritten).toBe(1);
  });

  it('removes what was not used for long', async () => {
    const first = await open();
    first.put(id(0), piece(), { owned: true });
    await first.close();
    const store = await open({ ttl: 1 });
    // Nobody is given a piece any more that is about to be removed: the figures come first.
    await expect.poll(() => readdir(directory)).toEqual([]);
    expect(store.statistics).toMatchObject({ pieces: 0, used: 0 });
  });
});

describe('drop', () => {
  it('removes all pieces of a blob from memory and disk, also one that is being written, and no others', async () => {
    const store = await open();
    store.put(id(0, OTHER), piece(), { owned: true });
    store.put(id(0), piece(), { owned: true });
    store.put(id(1), piece(), { owned: false });
    // The same piece once more: it stays known.
    store.put(id(1), piece(), { owned: false });
    expect(store.count(DIGEST)).toBe(2);
    await store.drop(DIGEST);
    await store.close();
    expect(store.count(DIGEST)).toBe(0);
    expect(await store.get(id(0))).toBeUndefined();
    expect(await store.get(id(1))).toBeUndefined();
    expect(await readdir(directory)).toEqual([OTHER.replace(':', '-')]);
  });
});
