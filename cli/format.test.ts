import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatRate, formatSeconds, formatShare, withReadableSizes } from './format.ts';

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [99_940, '99.9 kB'],
    [99_960, '100 kB'],
    [999_499, '999 kB'],
    [999_500, '1.0 MB'],
    [30_100_000, '30.1 MB'],
    [1.5e9, '1.5 GB'],
    [2e18, '2000 PB'],
  ])('%d', (bytes, expected) => expect(formatBytes(bytes)).toBe(expected));
});

describe('formatSeconds', () => {
  it.each([
    [0, '0.0 s'],
    [9.94, '9.9 s'],
    [9.95, '10 s'],
    [59.4, '59 s'],
    [59.6, '1 min 0 s'],
    [125, '2 min 5 s'],
    [3599.6, '1 h 0 min'],
    [3840, '1 h 4 min'],
  ])('%d', (seconds, expected) => expect(formatSeconds(seconds)).toBe(expected));
});

it.each([
  [0.0084, '0.8 %'],
  [0.0994, '9.9 %'],
  [0.0996, '10 %'],
  [1.31, '131 %'],
])('share %d', (share, expected) => expect(formatShare(share)).toBe(expected));

it('names rates and counts', () => {
  expect(formatRate(2.1e8)).toBe('210 MB/s');
  expect(formatCount(1, 'layer')).toBe('1 layer');
  expect(formatCount(2, 'layer')).toBe('2 layers');
});

it.each([
  ['at most 274877906944 bytes, uncompressed', 'at most 274877906944 bytes (275 GB), uncompressed'],
  ['9999 bytes', '9999 bytes'],
  ['10000 bytes', '10000 bytes (10.0 kB)'],
  ['65537 bytes (65.5 kB)', '65537 bytes (65.5 kB)'],
  ['12345 files', '12345 files'],
])('%s has a unit', (text, expected) => expect(withReadableSizes(text)).toBe(expected));
