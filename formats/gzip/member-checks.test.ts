import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type GzipMemberEnd, MemberChecks } from './member-checks.ts';

/** The ends of members of these lengths within `bytes`. */
function endsOf(bytes: Uint8Array, lengths: readonly number[]): GzipMemberEnd[] {
  let at = 0;
  return lengths.map((length, i) => {
    const sum = crc32(bytes.subarray(at, at + length));
    at += length;
    return { outputOffset: at, crc32: sum, inputOffset: 100 * (i + 1) };
  });
}

/**
 * Gives `bytes` in pieces of `step`, and reports each end as late as a decompressor may: with the piece that reaches it, or
 * right behind when `after` and the piece ends there.
 */
function check(bytes: Uint8Array, ends: readonly GzipMemberEnd[], step: number, after: boolean): void {
  const checks = new MemberChecks();
  const left = [...ends];
  const tell = (upTo: number): void => {
    while (left[0] !== undefined && left[0].outputOffset <= upTo) checks.end(left.shift()!);
  };
  for (let from = 0; from < bytes.length; from += step) {
    const to = Math.min(from + step, bytes.length);
    tell(after ? to - 1 : to);
    checks.update(bytes.subarray(from, to));
    tell(to);
  }
  tell(bytes.length);
}

const members = fc.array(fc.oneof(fc.constant(0), fc.nat(300)), { minLength: 1, maxLength: 8 });

describe('members of any length in pieces of any size', () => {
  test('with their checksums', () => {
    fc.assert(
      fc.property(members, fc.integer({ min: 1, max: 400 }), fc.boolean(), (lengths, step, after) => {
        const bytes = Uint8Array.from({ length: lengths.reduce((a, b) => a + b) }, (_, i) => (i * 37 + 11) & 0xff);
        expect(() => check(bytes, endsOf(bytes, lengths), step, after)).not.toThrow();
      }),
      { numRuns: 300 },
    );
  });

  test('one with another checksum is found, and where its trailer is', () => {
    fc.assert(
      fc.property(members, fc.nat(7), fc.integer({ min: 1, max: 400 }), fc.boolean(), (lengths, pick, step, after) => {
        const bytes = Uint8Array.from({ length: lengths.reduce((a, b) => a + b) }, (_, i) => (i * 37 + 11) & 0xff);
        const wrong = pick % lengths.length;
        const ends = endsOf(bytes, lengths).map((end, i) => (i === wrong ? { ...end, crc32: end.crc32 ^ 1 } : end));
        expect(() => check(bytes, ends, step, after)).toThrow(
          expect.objectContaining({ code: 'gzip-invalid', where: { 'compressed byte': 100 * (wrong + 1) } }),
        );
      }),
      { numRuns: 300 },
    );
  });
});
