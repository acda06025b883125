import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Xxh64 } from './xxh64.ts';

const hash = (bytes: Uint8Array, chunk = bytes.length || 1): string => {
  const state = new Xxh64();
  for (let from = 0; from < bytes.length; from += chunk) state.update(bytes.subarray(from, from + chunk));
  return state.digest().toString(16).padStart(16, '0');
};

describe('Xxh64', () => {
  // The values that xxhash's own command prints.
  it.each([
    ['', 'ef46db3751d8e999'],
    ['a', 'd24ec4f1a98c6e5b'],
    ['abc', '44bc2cf5ad770999'],
    ['Nobody inspects the spammish repetition', 'fbcea83c8a378bf1'],
  ])('of %j', (text, expected) => {
    expect(hash(Buffer.from(text))).toBe(expected);
  });

  it('does not depend on how the bytes are cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 70 }), (bytes, chunk) => {
        expect(hash(bytes, chunk)).toBe(hash(bytes));
      }),
    );
  });
});
