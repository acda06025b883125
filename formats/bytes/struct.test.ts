import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { array, bytes, type Field, i8, i32, reserved, struct, text, u8, u16, u32, u64, viewOf } from './struct.ts';

const sample = struct('sample', 48, {
  a: u8,
  b: i8,
  c: u16,
  d: u32,
  e: i32,
  pad: reserved(4),
  f: u64,
  g: text(8),
  h: bytes(4),
  i: array(u16, 6),
});

describe('struct', () => {
  test('lays fields one after another', () => {
    expect(sample.offsets).toEqual({ a: 0, b: 1, c: 2, d: 4, e: 8, pad: 12, f: 16, g: 24, h: 32, i: 36 });
  });

  test('a table that adds up to another size is a defect', () => {
    expect(() => struct('short', 5, { a: u32 })).toThrow(expect.objectContaining({ code: 'internal', found: 4 }));
  });

  test('writes little-endian, the fields that are not given as zero', () => {
    const encoded = sample.encode({
      a: 1,
      b: -1,
      c: 0x1234,
      d: 0x89ab_cdef,
      e: -2,
      f: 2 ** 40 + 5,
      g: 'caf\xe9',
      i: [7],
    });
    expect(Buffer.from(encoded).toString('hex')).toBe(
      [
        '01ff',
        '3412',
        'efcdab89',
        'feffffff',
        '00000000',
        '0500000000010000',
        '636166e900000000',
        '00000000',
        '0700',
        '00'.repeat(10),
      ].join(''),
    );
  });

  test('writes over what was there, reserved and omitted fields too, and nothing beside them', () => {
    const target = new Uint8Array(60).fill(0xff);
    sample.write(target, 6, {});
    expect([...target.subarray(0, 6), ...target.subarray(54)]).toEqual(Array.from({ length: 12 }, () => 0xff));
    expect(target.subarray(6, 54).every((byte) => byte === 0)).toBe(true);
  });

  test('reads back what it wrote, at any offset of any view', () => {
    const value = fc.record({
      a: fc.nat(255),
      b: fc.integer({ min: -128, max: 127 }),
      c: fc.nat(0xffff),
      d: fc.nat(0xffff_ffff),
      e: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      pad: fc.constant(undefined),
      f: fc.maxSafeNat(),
      g: fc.string({ unit: 'binary-ascii', maxLength: 8 }).filter((s) => !s.includes('\0')),
      h: fc.uint8Array({ minLength: 4, maxLength: 4 }),
      i: fc.array(fc.nat(0xffff), { minLength: 6, maxLength: 6 }),
    });
    fc.assert(
      fc.property(value, fc.nat(20), fc.nat(20), (fields, shift, offset) => {
        const view = new Uint8Array(100).subarray(shift);
        sample.write(view, offset, fields);
        expect(sample.read(view, offset)).toEqual(fields);
      }),
    );
  });

  test('what does not fit is a RangeError', () => {
    expect(() => sample.read(new Uint8Array(47))).toThrow(RangeError);
    expect(() => sample.write(new Uint8Array(48), 1, {})).toThrow(RangeError);
  });
});

describe('fields', () => {
  const limits: readonly (readonly [string, Field<number>, number, number])[] = [
    ['u8', u8, 0, 255],
    ['i8', i8, -128, 127],
    ['u16', u16, 0, 65_535],
    ['u32', u32, 0, 2 ** 32 - 1],
    ['i32', i32, -(2 ** 31), 2 ** 31 - 1],
    ['u64', u64, 0, Number.MAX_SAFE_INTEGER],
  ];
  test.each(limits)('%s takes its limits and nothing beyond', (_, field, min, max) => {
    const view = new DataView(new ArrayBuffer(8));
    for (const value of [min, max]) {
      field.set(view, 0, value);
      expect(field.get(view, 0)).toBe(value);
    }
    for (const value of [min - 1, max + 1, 0.5, Number.NaN])
      expect(() => field.set(view, 0, value)).toThrow(RangeError);
  });

  test('a u64 past 2^53-1 is not read as another number', () => {
    const view = viewOf(Uint8Array.of(0, 0, 0, 0, 0, 0, 0x20, 0));
    expect(() => u64.get(view, 0)).toThrow(RangeError);
  });

  test('bytes, texts and arrays that are too long are refused, shorter ones padded', () => {
    const view = new DataView(new ArrayBuffer(8));
    expect(() => bytes(2).set(view, 0, new Uint8Array(3))).toThrow(RangeError);
    expect(() => text(2).set(view, 0, 'abc')).toThrow(RangeError);
    expect(() => array(u16, 1).set(view, 0, [1, 2])).toThrow(RangeError);
    text(8).set(view, 0, 'full-len');
    expect(text(8).get(view, 0)).toBe('full-len');
    text(8).set(view, 0, 'ab');
    expect(text(8).get(view, 0)).toBe('ab');
    expect(view.getUint32(4)).toBe(0);
  });

  test('bytes that were read are a copy', () => {
    const source = Uint8Array.of(1, 2);
    const read = bytes(2).get(viewOf(source), 0);
    source[0] = 9;
    expect([...read]).toEqual([1, 2]);
  });
});
