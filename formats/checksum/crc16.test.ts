import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc16 } from './crc16.ts';

describe('crc16', () => {
  // The catalogue's check values of "123456789": CRC-16/ARC starts at 0, CRC-16/MODBUS at 0xffff.
  test.each([
    ['ARC', 0, 0xbb3d],
    ['MODBUS', 0xffff, 0x4b37],
  ])('CRC-16/%s', (_, register, expected) => {
    expect(crc16(Buffer.from('123456789'), register)).toBe(expected);
  });

  test('is the same in one piece and in two, and has 16 bits', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), fc.nat(0xffff), (bytes, cut, register) => {
        const whole = crc16(bytes, register);
        expect(crc16(bytes.subarray(cut), crc16(bytes.subarray(0, cut), register))).toBe(whole);
        expect(whole).toBeLessThanOrEqual(0xffff);
      }),
    );
  });

  test('of nothing is the register', () => {
    expect(crc16(new Uint8Array(0), 0x1234)).toBe(0x1234);
  });
});
