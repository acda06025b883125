import { describe, expect, it } from 'vitest';
import { alignRows, formatMode, formatTime, nameBytes } from './listing.ts';
import { imagePath, splitPath } from './reading.ts';

describe('formatMode', () => {
  it.each([
    ['file', 0o644, '-rw-r--r--'],
    ['directory', 0o1777, 'drwxrwxrwt'],
    ['directory', 0o1776, 'drwxrwxrwT'],
    ['file', 0o4755, '-rwsr-xr-x'],
    ['file', 0o2644, '-rw-r-Sr--'],
    ['file', 0o6000, '---S--S---'],
    ['symlink', 0o777, 'lrwxrwxrwx'],
    ['character', 0o666, 'crw-rw-rw-'],
    ['block', 0o660, 'brw-rw----'],
    ['fifo', 0, 'p---------'],
    ['socket', 0o111, 's--x--x--x'],
  ] as const)('%s %o', (type, mode, text) => expect(formatMode({ type, mode })).toBe(text));
});

describe('formatTime', () => {
  it.each([
    [0, 0, '1970-01-01T00:00:00Z'],
    [1_700_000_000, 0, '2023-11-14T22:13:20Z'],
    [1_700_000_000, 250_000_000, '2023-11-14T22:13:20.25Z'],
    [-2, 999_999_999, '1969-12-31T23:59:58.999999999Z'],
    [15_032_385_535, 0, '2446-05-10T22:38:55Z'],
  ])('%i.%i', (seconds, nanoseconds, text) => expect(formatTime({ seconds, nanoseconds })).toBe(text));
});

it('columns are aligned', () => {
  expect(
    alignRows([
      ['a', '1', 'x'],
      ['bb', '22', 'y'],
    ]),
  ).toEqual(['a   1 x', 'bb 22 y']);
  expect(alignRows([])).toEqual([]);
});

it('names are harmless, or themselves where that is asked for', () => {
  expect(Buffer.from(nameBytes('evil\x1b[2J\xe9', false)).toString()).toBe('evil\\x1b[2J\\xe9');
  expect(Buffer.from(nameBytes('evil\x1b[2J\xe9', true)).toString('latin1')).toBe('evil\x1b[2J\xe9');
});

describe('REF:PATH', () => {
  it.each([
    ['host/app:1.2:/etc', 'host/app:1.2', '/etc'],
    ['host:5000/app:/etc/a', 'host:5000/app', '/etc/a'],
    ['oci:./dir:tag:/', 'oci:./dir:tag', '/'],
    ['oci:/dir:tag:/a:/b', 'oci:/dir:tag:/a', '/b'],
    [`host/app@sha256:${'0'.repeat(64)}:/etc`, `host/app@sha256:${'0'.repeat(64)}`, '/etc'],
    ['host/app:1.2', 'host/app:1.2', undefined],
    ['oci:/dir:tag', 'oci:/dir:tag', undefined],
    ['oci:/dir', 'oci:/dir', undefined],
    ['https://host/app', 'https://host/app', undefined],
  ])('%s', (text, reference, path) => expect(splitPath(text, undefined)).toEqual({ reference, path }));

  it('a second argument is the path, whatever the first one looks like', () => {
    expect(splitPath('a:/b', '/c')).toEqual({ reference: 'a:/b', path: '/c' });
  });
});

it('a path of the image is absolute and in bytes', () => {
  expect(imagePath('etc')).toBe('/etc');
  expect(imagePath('/é')).toBe('/\xc3\xa9');
  expect(() => imagePath('')).toThrow(expect.objectContaining({ code: 'usage' }));
});
