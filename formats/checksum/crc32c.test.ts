import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CRC32C_BLOCK_SALT, crc32c } from './crc32c.ts';

/** The definition, bit by bit. */
function bitwise(bytes: Uint8Array, register: number): number {
  let crc = register;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return crc >>> 0;
}

/** The usual CRC-32C, which inverts before and after. */
const usual = (bytes: Uint8Array): number => (crc32c(bytes, 0xffff_ffff) ^ 0xffff_ffff) >>> 0;

describe('crc32c', () => {
  // RFC 3720, appendix B.4.
  test.each([
    ['123456789', Buffer.from('123456789'), 0xe306_9283],
    ['32 zeros', new Uint8Array(32), 0x8a91_36aa],
    ['32 ones', new Uint8Array(32).fill(0xff), 0x62a8_ab43],
    ['0 to 31', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd_794e],
    ['31 to 0', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113f_db5c],
  ])('of %s, inverted before and after, is what RFC 3720 says', (_, bytes, expected) => {
    expect(usual(bytes)).toBe(expected);
  });

  test('by itself inverts nothing: nothing gives the register back, zeros from 0 stay 0', () => {
    expect(crc32c(new Uint8Array(0))).toBe(0);
    expect(crc32c(new Uint8Array(4096))).toBe(0);
    expect(crc32c(new Uint8Array(0), CRC32C_BLOCK_SALT)).toBe(100_007);
  });

  test.each([0, 1, 7, 8, 9, 15, 16, 17, 4095, 4096, 4097])('length_%i', (length) => {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 37 + 11) & 255);
    for (const register of [0, CRC32C_BLOCK_SALT, 0xffff_ffff]) {
      expect(crc32c(bytes, register)).toBe(bitwise(bytes, register));
    }
  });

  test('is the same in one piece and in two', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), fc.nat(), (bytes, cut, register) => {
        const first = crc32c(bytes.subarray(0, cut), register);
        expect(crc32c(bytes.subarray(cut), first)).toBe(bitwise(bytes, register));
      }),
    );
  });
});
