import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { contentHasher } from './content-hash.ts';

const sha256 = (...parts: Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

function record(position: bigint, block: Uint8Array): Uint8Array {
  const out = Buffer.alloc(8 + 4096);
  out.writeBigUInt64LE(position);
  out.set(block, 8);
  return out;
}

describe('contentHasher', () => {
  it('gives what sha256sum gives', () => {
    const hasher = contentHasher('sha256');
    hasher.update(0, Buffer.from('hello '));
    hasher.update(6, Buffer.from('world\n'));
    expect(hasher.finish()).toEqual({
      rule: 'sha256',
      hex: 'a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447',
    });
  });

  it('leaves zeros out of the hash of blocks, and fills up the last one', () => {
    const hasher = contentHasher('sha256-of-blocks');
    hasher.update(0, new Uint8Array(8192));
    hasher.update(2 ** 40, Buffer.from('far'));
    expect(hasher.finish()).toEqual({ rule: 'sha256-of-blocks', hex: sha256(record(2n ** 28n, Buffer.from('far'))) });
  });

  it.each([
    ['block_0 and block_1', [4095, 2]],
    ['block_1', [4096, 1]],
  ])('distinguishes %s', (_, [offset, length]) => {
    const hash = (fill: number): string => {
      const hasher = contentHasher('sha256-of-blocks');
      hasher.update(offset!, new Uint8Array(length!).fill(fill));
      return hasher.finish().hex;
    };
    expect(hash(1)).not.toBe(hash(2));
    expect(hash(0)).toBe(sha256());
  });

  test('the hash of blocks does not depend on the pieces, nor on whether zeros are given', () => {
    const runs = fc.array(fc.tuple(fc.nat(20_000), fc.uint8Array({ minLength: 1, maxLength: 9000 })), { maxLength: 4 });
    fc.assert(
      fc.property(runs, fc.constantFrom(1, 321, 4096, 5000), (list, step) => {
        const whole = new Uint8Array(40_000);
        const sparse = contentHasher('sha256-of-blocks');
        let end = 0;
        for (const [gap, bytes] of list) {
          const piece = bytes.subarray(0, whole.length - end - gap);
          if (end + gap >= whole.length) break;
          whole.set(piece, end + gap);
          for (let at = 0; at < piece.length; at += step) sparse.update(end + gap + at, piece.subarray(at, at + step));
          end += gap + piece.length;
        }
        const full = contentHasher('sha256-of-blocks');
        for (let at = 0; at < whole.length; at += 7001) full.update(at, whole.subarray(at, at + 7001));
        expect(sparse.finish()).toEqual(full.finish());
      }),
      { numRuns: 100 },
    );
  });
});
