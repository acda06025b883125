import { describe, expect, it } from 'vitest';
import { MAX_LIST_SIZE } from './layout.ts';
import { encodeList, isReadableLine, namesDirectory, readList } from './list.ts';

describe('the runtime keeps', () => {
  it.each(['/', '/a', 'a', '/usr/lib/', 'usr/lib/', '/usr/lib/python3.11/os.py', '/a/../b', '/.hidden', '/A-z_0.9'])(
    '%s',
    (line) => expect(isReadableLine(line)).toBe(true),
  );
});

describe('the runtime skips', () => {
  it.each([
    ['a plus', '/usr/lib/libstdc++.so.6'],
    ['an at', '/node_modules/@scope/a.js'],
    ['a colon', '/a:b'],
    ['a space', '/a b'],
    ['a star', '/usr/lib/*'],
    ['two slashes', '/usr//lib'],
    ['two slashes in front', '//usr'],
    ['UTF-8', Buffer.from('/caffè').toString('latin1')],
    ['a byte that is not UTF-8', '/caf\xe9'],
    ['a carriage return', '/a\r'],
    ['a tab', '\t/a'],
    ['a comment', '# a'],
    ['nothing', ''],
  ])('%s', (_name, line) => expect(isReadableLine(line)).toBe(false));
});

describe('a list', () => {
  it('keeps and skips line by line; blanks around a line are no part of it', () => {
    const bytes = Buffer.from('  /a/b  \n\n/c d\n/e/\n# note\n/last', 'latin1');
    expect(readList(bytes)).toEqual({ read: true, kept: ['/a/b', '/e/', '/last'], skipped: ['/c d', '# note'] });
  });

  it('of 65536 bytes is read, of one more ignored', () => {
    const line = `/${'x'.repeat(62)}`;
    const whole = encodeList(Array.from({ length: MAX_LIST_SIZE / 64 }, () => line));
    expect(whole.length).toBe(MAX_LIST_SIZE);
    expect(readList(whole).kept).toHaveLength(1024);
    expect(readList(Buffer.concat([whole, Buffer.from('\n')]))).toEqual({ read: false, kept: [], skipped: [] });
  });

  it('is read as it was written', () => {
    expect(readList(encodeList(['/a', '/b/'])).kept).toEqual(['/a', '/b/']);
    expect([namesDirectory('/b/'), namesDirectory('/a')]).toEqual([true, false]);
  });
});
