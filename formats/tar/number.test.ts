import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { base256 } from '../../fixtures/tar-header.ts';
import { parseDecimal, parseNumber } from './number.ts';

const field = (text: string) => Buffer.from(text, 'latin1');
const parse = (bytes: Buffer) => parseNumber(bytes, 0, bytes.length, 'size');

describe('parseNumber, octal', () => {
  const cases: Record<string, [string, number]> = {
    nul_terminated: ['0000644\0', 0o644],
    space_terminated: ['0000644 ', 0o644],
    space_and_nul: ['000644 \0', 0o644],
    leading_spaces: ['    644\0', 0o644],
    leading_nul: ['\x00\x00\x00644 ', 0o644],
    full_field_8: ['77777777', 0o77777777],
    full_field_12: ['777777777777', 0o777777777777],
    all_nul: ['\0\0\0\0\0\0\0\0', 0],
    all_spaces: ['        ', 0],
    junk_behind_nul: ['644\0junk', 0o644],
    junk_behind_space: ['644 junk', 0o644],
  };
  for (const [name, [text, value]] of Object.entries(cases)) {
    test(name, () => expect(parse(field(text))).toBe(value));
  }
  for (const [name, text] of Object.entries({
    digit_8: '0000648\0',
    minus: '-000644\0',
    letters: 'abcdefg\0',
    junk_behind_digits: '644x\0\0\0\0',
    plus: '+644\0\0\0\0',
  })) {
    test(`refuses ${name}`, () => expect(() => parse(field(text))).toThrow(AccelError));
  }
});

describe('parseNumber, base-256', () => {
  const cases: Record<string, [number, number]> = {
    zero_8: [0, 8],
    size_8_GiB: [2 ** 33, 12],
    id_2_21: [2 ** 21, 8],
    id_2_32_minus_1: [2 ** 32 - 1, 8],
    largest: [Number.MAX_SAFE_INTEGER - 1, 12],
    largest_in_8_bytes: [Number.MAX_SAFE_INTEGER - 1, 8],
    minus_1: [-1, 12],
    minus_256: [-256, 12],
    far_past: [-(2 ** 52), 12],
    smallest: [-Number.MAX_SAFE_INTEGER, 8],
  };
  for (const [name, [value, size]] of Object.entries(cases)) {
    test(name, () => expect(parse(Buffer.from(base256(value, size)))).toBe(value));
  }
  test('refuses 2^53', () => expect(() => parse(field('\x80\0\0\0\0\x20\0\0\0\0\0\0'))).toThrow(AccelError));
  test('refuses the largest field', () => expect(() => parse(Buffer.alloc(12, 0xbf))).toThrow(/out of range/));
  test('refuses the smallest field', () =>
    expect(() => parse(field('\xc0\0\0\0\0\0\0\0\0\0\0\0'))).toThrow(AccelError));
});

test('every octal and base-256 spelling of a number reads back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0o77777777777 }), (value) => {
      expect(parse(field(`${value.toString(8).padStart(11, '0')}\0`))).toBe(value);
      expect(parse(field(`${value.toString(8).padStart(11, ' ')} `))).toBe(value);
      expect(parse(Buffer.from(base256(value, 12)))).toBe(value);
      expect(parse(Buffer.from(base256(-value, 12)))).toBe(0 - value);
    }),
  );
});

describe('parseDecimal', () => {
  test('takes 2^53-1', () => expect(parseDecimal('9007199254740991', 'size')).toBe(Number.MAX_SAFE_INTEGER));
  for (const text of ['', '9007199254740992', '-1', '1.5', '0x10', ' 1', '1\n', '١', '1'.repeat(40)]) {
    test(`refuses ${JSON.stringify(text)}`, () => expect(() => parseDecimal(text, 'size')).toThrow(AccelError));
  }
});
