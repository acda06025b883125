import { describe, expect, it } from 'vitest';
import { readerOf } from '../zfile/testing/goldens.ts';
import {
  encodeHeader,
  headerStruct,
  type IndexEntry,
  LSMT_SPACE,
  NULL_UUID,
  writeEntry,
  writePadding,
} from './layout.ts';
import { readLsmtIndex } from './reader.ts';

const VIRTUAL_SIZE = 1 << 20;

/** An LSMT file of `data` sectors and these entries (undefined: padding), as a careless writer might make it. */
function fileOf(entries: (Partial<IndexEntry> | undefined)[], data = 8, change: (file: Uint8Array) => void = () => {}) {
  const indexOffset = LSMT_SPACE + data * 512;
  const file = new Uint8Array(indexOffset + entries.length * 16 + LSMT_SPACE);
  const fields = { virtualSize: VIRTUAL_SIZE, uuid: NULL_UUID, parentUuid: NULL_UUID };
  file.set(encodeHeader({ ...fields, flags: 7, indexOffset: 0, indexSize: 0 }));
  const view = new DataView(file.buffer);
  entries.forEach((entry, i) => {
    const at = indexOffset + i * 16;
    if (entry === undefined) writePadding(view, at);
    else writeEntry(view, at, { start: 0, length: 1, moffset: 8, zeroed: false, tag: 0, ...entry });
  });
  file.set(encodeHeader({ ...fields, flags: 6, indexOffset, indexSize: entries.length }), file.length - LSMT_SPACE);
  change(file);
  return file;
}

const open = (file: Uint8Array) => readLsmtIndex(readerOf(file), file.length);

describe('readLsmtIndex', () => {
  it('takes bounds that are just met', async () => {
    const last = VIRTUAL_SIZE / 512 - 2;
    const index = await open(
      fileOf([
        { start: 0, length: 8 },
        undefined,
        { start: 8, length: 1, moffset: 15 },
        { start: last, length: 2, moffset: 14 },
      ]),
    );
    expect(index.count).toBe(3);
    expect(index.segment(2)).toEqual({ offset: last * 512, length: 1024, moffset: 7168, zeroed: false, tag: 0 });
    expect([0, 4095, 4096, 4607, 4608, VIRTUAL_SIZE - 1].map((at) => index.find(at))).toEqual([0, 0, 1, 1, 2, 2]);
    expect(index.find(VIRTUAL_SIZE)).toBe(3);
    expect(() => index.segment(3)).toThrow(RangeError);
  });

  it('reads every bit of an entry', async () => {
    const entry = { start: 1, length: 0x7ff - 2, moffset: 0x7_ffff_ffff, tag: 1 };
    const index = await open(fileOf([{ length: 1 }, entry]));
    expect(index.remote).toBe(true);
    expect(index.segment(1)).toEqual({
      offset: 512,
      length: 0x7fd * 512,
      moffset: 0x7_ffff_ffff * 512,
      zeroed: false,
      tag: 1,
    });
  });

  it('counts tags from the smallest', async () => {
    const index = await open(fileOf([{ tag: 3 }, { start: 1, tag: 4, moffset: 5000 }]));
    expect([index.segment(0).tag, index.segment(1).tag, index.remote]).toEqual([0, 1, true]);
    await expect(open(fileOf([{ tag: 3 }, { start: 1, tag: 5, moffset: 5000 }]))).rejects.toThrow(/unknown tag/);
    // Nothing but "remote" segments is what a node takes for metadata.
    expect((await open(fileOf([{ tag: 1 }]))).remote).toBe(false);
  });

  it.each<[string, Uint8Array]>([
    ['cut short', fileOf([]).subarray(0, 8191)],
    ['without a length', fileOf([{ length: 0 }])],
    ['out of order', fileOf([{ start: 5 }, { start: 4 }])],
    ['that overlap', fileOf([{ start: 0, length: 3 }, { start: 2 }])],
    ['behind the device', fileOf([{ start: VIRTUAL_SIZE / 512 - 1, length: 2 }])],
    ['in the header', fileOf([{ moffset: 7 }])],
    ['in the index', fileOf([{ moffset: 15, length: 2 }])],
    ['of zeros with a place in the header', fileOf([{ moffset: 7, zeroed: true }])],
    ['past 2^53', fileOf([{}, { start: 1, tag: 1, moffset: 2 ** 54 }])],
  ])('refuses segments %s', async (_name, file) => {
    await expect(open(file)).rejects.toMatchObject({ code: 'lsmt-invalid' });
  });

  it('refuses an index that is too large before it reads it', async () => {
    const trailer = encodeHeader({
      ...{ flags: 6, indexOffset: LSMT_SPACE, indexSize: 1_000_001, virtualSize: VIRTUAL_SIZE },
      ...{ uuid: NULL_UUID, parentUuid: NULL_UUID },
    });
    const file = fileOf([], 0);
    const size = 2 * LSMT_SPACE + 16 * 1_000_001;
    const reads: number[] = [];
    const read = async (offset: number, length: number) => {
      reads.push(length);
      return offset === 0 ? file.subarray(0, LSMT_SPACE) : trailer;
    };
    await expect(readLsmtIndex(read, size)).rejects.toThrow(/too large/);
    expect(reads).toEqual([LSMT_SPACE, LSMT_SPACE]);
  });

  it('notices every flipped bit of header and trailer that means something', async () => {
    const entries = [{ start: 0, length: 8 }, { start: 16, zeroed: true }, undefined];
    const whole = fileOf(entries);
    const { offsets } = headerStruct;
    // Without a checksum of its own (the ZFile around it has them) nothing distinguishes a changed note from a right one.
    const free = (at: number) => at >= offsets.reserved && at < headerStruct.size && at !== offsets.version;
    for (const base of [0, whole.length - LSMT_SPACE])
      for (let at = 0; at < LSMT_SPACE; at++) {
        if (free(at)) continue;
        const damaged = fileOf(entries, 8, (file) => {
          file[base + at]! ^= 1 << (at % 8);
        });
        await expect(open(damaged), `byte ${at}`).rejects.toMatchObject({ code: 'lsmt-invalid' });
      }
  });
});
