import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printable } from './printable.ts';

test.each([
  ['plain/path', 'plain/path'],
  ['', ''],
  ['caf\xc3\xa9', 'café'],
  ['caf\xe9', 'caf\ufffd'],
  ['a\x1b[31mred\x07', 'a\\x1b[31mred\\x07'],
  ['line\nfeed\r', 'line\\x0afeed\\x0d'],
  ['\xc2\x9b31m', '\\x9b31m'],
  ['\xe2\x80\xa8', '\\x2028'],
])('%j', (raw, expected) => {
  expect(printable(raw)).toBe(expected);
});

test('long ones are cut', () => {
  expect(printable('x'.repeat(200))).toHaveLength(201);
  expect(printable('x'.repeat(100_000))).toBe(`${'x'.repeat(200)}…`);
});

test('nothing that steers a terminal survives', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (raw) => {
      const shown = printable(Buffer.from(raw).toString('latin1'));
      expect([...shown].filter((c) => c < ' ' || (c >= '\x7f' && c < '\xa0'))).toEqual([]);
      expect(shown.length).toBeLessThanOrEqual(201);
    }),
  );
});
