import { describe, expect, it } from 'vitest';
import { parsePrefetchLines, splitLines } from './lines.ts';

describe('the lines of a list', () => {
  it('keep their numbers; comments, blank lines and blanks around a path are left out', () => {
    const lines = ['# first', '', '  /a  ', '\t/b/c/\t', '/with # inside', '/windows\r', '   # also a comment'];
    expect(parsePrefetchLines(lines)).toEqual([
      { number: 3, path: '/a' },
      { number: 4, path: '/b/c/' },
      { number: 5, path: '/with # inside' },
      { number: 6, path: '/windows' },
    ]);
  });

  it('are bytes: text is UTF-8, and bytes stay what they are', () => {
    const bytes = new Uint8Array([0x2f, 0xe9]);
    expect(parsePrefetchLines(['/é', bytes]).map(({ path }) => path)).toEqual(['/\xc3\xa9', '/\xe9']);
  });

  it.each([
    ['relative', 'usr/bin/app', 'is no absolute path'],
    ['with a NUL', '/a\0b', 'holds a byte that no path has'],
    ['with a newline', '/a\nb', 'holds a byte that no path has'],
    ['of 4097 bytes', `/${'x'.repeat(4096)}`, 'is too long for a path'],
  ])('%s: usage, with the number', (_name, line, problem) => {
    expect(() => parsePrefetchLines(['/fine', line])).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringContaining(problem), where: { line: 2 } }),
    );
  });

  it.each([
    ['', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['\n\na\r\nb', ['', '', 'a\r', 'b']],
  ])('of the file %j are %j', (text, lines) => {
    expect(splitLines(Buffer.from(text)).map((line) => Buffer.from(line).toString())).toEqual(lines);
  });
});
