import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ellipsis, printable, printableLines, shortDigest } from './text.ts';

describe('printable', () => {
  it.each([
    ['plain', 'etc/passwd', 'etc/passwd'],
    ['escape_sequence', 'a\x1b[31mred', 'a\\x1b[31mred'],
    ['newline', 'a\nb', 'a\\x0ab'],
    ['nul', 'a\0b', 'a\\x00b'],
    ['del', 'a\x7f', 'a\\x7f'],
    ['c1_csi', 'a\u009b31m', 'a\\x9b31m'],
    ['bidi_override', 'a\u202etxt.exe', 'a\\u{202e}txt.exe'],
    ['zero_width', 'a\u200bb', 'a\\u{200b}b'],
    ['line_separator', 'a\u2028b', 'a\\u{2028}b'],
    ['umlaut_is_text', 'grün', 'grün'],
    ['emoji', 'a🚀', 'a🚀'],
  ])('text %s', (_, text, expected) => expect(printable(text)).toBe(expected));

  it.each([
    ['ascii', 'usr/bin', 'usr/bin'],
    ['utf8', Buffer.from('usr/größe').toString('latin1'), 'usr/größe'],
    ['not_utf8', 'usr/gr\xfc\xdfe', 'usr/gr\\xfc\\xdfe'],
    ['utf8_of_a_control', Buffer.from('a\u009bb').toString('latin1'), 'a\\x9bb'],
    ['byte_order_mark', '\xef\xbb\xbfa', '\\u{feff}a'],
    ['text_after_all', 'größe→', 'größe→'],
  ])('bytes %s', (_, text, expected) => expect(printable(text, 'bytes')).toBe(expected));

  it('leaves nothing that a terminal obeys, whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('text' as const, 'bytes' as const), (text, kind) => {
        expect(printable(text, kind)).not.toMatch(/\p{Cc}|[\u202a-\u202e\u2066-\u2069\u2028\u2029]/u);
      }),
    );
  });
});

it('keeps the lines of a longer text', () => {
  expect(printableLines('one\r\ntwo\x1b[2J\n\n')).toEqual(['one', 'two\\x1b[2J']);
});

it.each([
  ['abc', 3, 'abc'],
  ['abcd', 3, 'ab…'],
  ['abcd', 1, '…'],
  ['abcd', 0, ''],
])('cuts %s to %d', (text, width, expected) => expect(ellipsis(text, width)).toBe(expected));

it('shortens a digest, with or without algorithm', () => {
  expect(shortDigest(`sha256:${'0123456789abcdef'.repeat(4)}`)).toBe('0123456789ab');
  expect(shortDigest('0123', 7)).toBe('0123');
});
