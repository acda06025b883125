import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { combine, combineAll, compareHashes, hashColumns, hashParts, hashText, subtractHashes } from './hash.ts';

const hex = ({ hi, lo }: { hi: number; lo: number }): string =>
  hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0');

const hash64 = fc
  .tuple(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 0xffffffff }))
  .map(([hi, lo]) => ({ hi, lo }));
const asBigInt = ({ hi, lo }: { hi: number; lo: number }): bigint => (BigInt(hi) << 32n) | BigInt(lo);

describe('hashText', () => {
  // From another implementation of MurmurHash3 (mmh3 for Python). Agents of all versions agree on these: they never change.
  it.each([
    ['', '0000000000000000'],
    ['a', '5556b01ba794933c'],
    ['hello', 'db91def72b2444a0'],
    ['hello, world', 'b9b98a1e8b21605c'],
    ['The quick brown fox jumps over the lazy dog', 'ecee2c672f1583c3'],
    [`sha256:${'0'.repeat(64)}`, '57c2d8a8af09d84c'],
    ['10.0.0.1:65002', '0cb59722cc02ed11'],
    ['ü€😀', 'eb71ab2f8fcca08c'],
  ])('%j', (text, expected) => expect(hex(hashText(text))).toBe(expected));
});

describe('combine', () => {
  it('is the hash of both numbers, little-endian', () => {
    expect(hex(combine({ hi: 0x01234567, lo: 0x89abcdef }, { hi: 0xfedcba98, lo: 0x76543210 }))).toBe(
      'c92fe58254a2393e',
    );
  });

  it('combineAll computes the same for a column', () => {
    fc.assert(
      fc.property(hash64, fc.array(hash64, { maxLength: 20 }), (left, others) => {
        const columns = hashColumns(others.length);
        others.forEach(({ hi, lo }, index) => {
          columns.hi[index] = hi;
          columns.lo[index] = lo;
        });
        const result = hashColumns(others.length);
        combineAll(left, columns, result);
        others.forEach((other, index) => {
          expect({ hi: result.hi[index], lo: result.lo[index] }).toEqual(combine(left, other));
        });
      }),
    );
  });
});

describe('hashParts', () => {
  it('folds its parts from the left, so that a part moved over changes the hash', () => {
    expect(hashParts('o', 'ab', 1, 'c')).toEqual(
      combine(combine(combine(hashText('o'), hashText('ab')), { hi: 0, lo: 1 }), hashText('c')),
    );
    expect(hashParts('ab', 'c')).not.toEqual(hashParts('a', 'bc'));
  });

  it('takes a number as it is, up to 2⁵³', () => {
    expect(hashParts(2 ** 40 + 7)).toEqual({ hi: 256, lo: 7 });
  });
});

it('compares and subtracts as unsigned 64-bit numbers do', () => {
  fc.assert(
    fc.property(hash64, hash64, (left, right) => {
      const [a, b] = [asBigInt(left), asBigInt(right)];
      expect(Math.sign(compareHashes(left, right))).toBe(a < b ? -1 : a > b ? 1 : 0);
      expect(asBigInt(subtractHashes(left, right))).toBe(BigInt.asUintN(64, a - b));
    }),
  );
});
