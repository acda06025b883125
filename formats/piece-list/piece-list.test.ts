import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { PieceHasher, pieceListOfBytes } from './piece-hasher.ts';
import { encodePieceList, MAX_PIECE_LIST_BYTES, PIECE_BYTES, parsePieceList, pieceListBytes } from './piece-list.ts';

/** Bytes in which no two pieces are alike. */
function blobOf(size: number): Uint8Array {
  const blob = new Uint8Array(size);
  for (let i = 0; i < size; i++) blob[i] = (i * 31 + (i >>> 11) * 7 + (i >>> 21)) & 0xff;
  return blob;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('a piece list', () => {
  it.each([
    ['empty', 0, 0],
    ['of one byte', 1, 1],
    ['one byte short of a piece', PIECE_BYTES - 1, 1],
    ['of a whole piece', PIECE_BYTES, 1],
    ['one byte past a piece', PIECE_BYTES + 1, 2],
    ['of three whole pieces', 3 * PIECE_BYTES, 3],
  ])('of a blob %s', (_, size, count) => {
    const blob = blobOf(size);
    const bytes = pieceListOfBytes(blob);
    expect(bytes.length).toBe(32 + 32 * count);
    expect(bytes.length).toBe(pieceListBytes(size));
    const list = parsePieceList(bytes);
    expect(list.blobBytes).toBe(size);
    expect(list.hashes).toEqual(
      Array.from({ length: count }, (__, i) => sha256(blob.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES))),
    );
  });

  it('does not depend on the chunks that the blob comes in', () => {
    const blob = blobOf(2 * PIECE_BYTES + 12_345);
    const whole = pieceListOfBytes(blob);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: PIECE_BYTES + 999 }), { maxLength: 8 }), (lengths) => {
        const hasher = new PieceHasher();
        let at = 0;
        for (const length of lengths) {
          // The chunk is overwritten after it was taken.
          const chunk = blob.slice(at, at + length);
          hasher.update(chunk);
          chunk.fill(0);
          at = Math.min(blob.length, at + length);
        }
        hasher.update(blob.subarray(at));
        expect(Buffer.compare(encodePieceList(hasher.finish()), whole)).toBe(0);
      }),
      { numRuns: 25 },
    );
  });

  it('is read as it was written', () => {
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
    const lists = fc
      .array(hash, { maxLength: 20 })
      .chain((hashes) =>
        fc
          .integer({ min: 1, max: PIECE_BYTES })
          .map((last) => ({ hashes, blobBytes: hashes.length === 0 ? 0 : (hashes.length - 1) * PIECE_BYTES + last })),
      );
    fc.assert(
      fc.property(lists, (list) => {
        expect(parsePieceList(encodePieceList(list))).toEqual(list);
      }),
    );
  });

  it('that is damaged in its header or length is refused, and nothing else happens', () => {
    const sound = pieceListOfBytes(blobOf(PIECE_BYTES + 1));
    fc.assert(
      fc.property(fc.nat(sound.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(40), (at, flip, cut) => {
        const bytes = sound.slice(0, sound.length - cut);
        if (at < bytes.length) bytes[at]! ^= flip;
        try {
          expect(parsePieceList(bytes).hashes).toHaveLength(2);
          // Only the reserved field, the hashes and, within the last piece, the size are free.
          expect(cut).toBe(0);
        } catch (error) {
          if (!(error instanceof AccelError)) throw error;
          expect(error.code).toBe('manifest-invalid');
        }
      }),
    );
  });

  it.each([
    ['no header', (bytes: Uint8Array) => bytes.subarray(0, 31), 'is shorter than its header'],
    ['another magic', (bytes: Uint8Array) => bytes.fill(0x41, 7, 8), 'does not begin with its magic'],
    ['another piece size', (bytes: Uint8Array) => bytes.fill(1, 8, 9), 'has another piece size'],
    ['a count that is not that of its size', (bytes: Uint8Array) => bytes.fill(9, 12, 13), 'another number of pieces'],
    ['a size past 2^53', (bytes: Uint8Array) => bytes.fill(0xff, 16, 24), 'a number in its header that no blob has'],
    ['a byte after its hashes', (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.of(0)]), 'has another length'],
  ])('with %s is refused', (_, damage, message) => {
    expect(() => parsePieceList(damage(pieceListOfBytes(blobOf(10))))).toThrow(message);
  });

  it('with an invalid hash, or too few of them, is not written', () => {
    expect(() => encodePieceList({ blobBytes: 1, hashes: ['xyz'] })).toThrow('SHA-256');
    expect(() => encodePieceList({ blobBytes: PIECE_BYTES + 1, hashes: ['0'.repeat(64)] })).toThrow('one hash');
  });

  it('of the largest blob that is read takes 4 MiB and its header', () => {
    expect(pieceListBytes(256 * 2 ** 30)).toBe(MAX_PIECE_LIST_BYTES);
    expect(MAX_PIECE_LIST_BYTES).toBe(32 + 4 * 2 ** 20);
  });

  it('has the header that README.md describes', () => {
    const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');
    const rows = [...readme.matchAll(/^\| `(\w+)` +\| (\d+) +\| (\d+) +\|/gm)].map(([, name, at, size]) => [
      name,
      Number(at),
      Number(size),
    ]);
    expect(rows).toEqual([
      ['magic', 0, 8],
      ['pieceBytes', 8, 4],
      ['pieceCount', 12, 4],
      ['blobBytes', 16, 8],
      ['reserved', 24, 8],
    ]);
    const view = new DataView(pieceListOfBytes(blobOf(PIECE_BYTES + 5)).buffer);
    expect(view.getUint32(8, true)).toBe(PIECE_BYTES);
    expect(view.getUint32(12, true)).toBe(2);
    expect(view.getBigUint64(16, true)).toBe(BigInt(PIECE_BYTES + 5));
  });
});

describeWith({ tools: ['split', 'sha256sum'] }, 'a piece list beside split and sha256sum', () => {
  it('has the hashes that they say', () => {
    const folder = mkdtempSync(join(tmpdir(), 'accel-pieces-'));
    try {
      const blob = blobOf(3 * PIECE_BYTES + 777);
      writeFileSync(join(folder, 'blob'), blob);
      execFileSync('split', ['-b', '2M', '-a', '4', 'blob', 'piece-'], { cwd: folder });
      const pieces = readdirSync(folder)
        .filter((name) => name.startsWith('piece-'))
        .sort();
      const sums = execFileSync('sha256sum', pieces, { cwd: folder, encoding: 'utf8' });
      const hashes = sums
        .trim()
        .split('\n')
        .map((line) => line.slice(0, 64));
      expect(hashes).toHaveLength(4);
      expect(parsePieceList(pieceListOfBytes(new Uint8Array(readFileSync(join(folder, 'blob'))))).hashes).toEqual(
        hashes,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
