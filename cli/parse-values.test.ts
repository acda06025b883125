import { describe, expect, it } from 'vitest';
import {
  collect,
  collectPaths,
  parseAddress,
  parseAgentUrl,
  parseBlockSize,
  parseChunkSize,
  parseInteger,
  parseMaxLayerSize,
  parseSpan,
  parseVsize,
} from './parse-values.ts';

describe('--vsize', () => {
  it.each([
    ['64', 2 ** 36],
    ['0.125', 2 ** 27],
    ['1.5', 1.5 * 2 ** 30],
    ['16384', 2 ** 44],
    ['64G', 2 ** 36],
    ['64GiB', 2 ** 36],
    ['16T', 2 ** 44],
    ['128M', 2 ** 27],
  ])('%s', (text, bytes) => expect(parseVsize(text)).toBe(bytes));
  it.each(['0', '-1', '0.1', '16384.125', '17T', '64K', '64X', 'G', '', 'NaN', '1e3', '0x40'])('refuses %j', (text) =>
    expect(() => parseVsize(text)).toThrow('--vsize'),
  );
});

describe('--agent', () => {
  it.each([
    ['127.0.0.1:65001', 'http://127.0.0.1:65001'],
    ['localhost:65001', 'http://localhost:65001'],
    ['http://127.0.0.1:65001/', 'http://127.0.0.1:65001'],
    ['https://[::1]:65001', 'https://[::1]:65001'],
  ])('%s', (text, url) => expect(parseAgentUrl(text)).toBe(url));
  it.each(['foo', '', 'http://foo', 'foo:bar', 'ftp://a:1', 'http://a:1/path', 'http://u:p@a:1', '127.0.0.1:70000'])(
    'refuses %j',
    (text) => expect(() => parseAgentUrl(text)).toThrow('--agent does not take this value'),
  );
});

describe('--listen', () => {
  it.each([
    ['127.0.0.1:10809', '127.0.0.1', 10_809],
    ['localhost:0', 'localhost', 0],
    ['[::1]:65535', '::1', 65_535],
  ])('%s', (text, host, port) => expect(parseAddress(text)).toEqual({ host, port }));
  it.each(['', 'host', ':10809', '10809', '::1:10809', '[::1]', 'host:65536', 'host:-1', 'host:1x', 'a b:1', '[x]:1'])(
    'refuses %j',
    (text) => expect(() => parseAddress(text)).toThrow('--listen'),
  );
});

describe('--bs', () => {
  it.each([
    ['4', 4096],
    ['64', 65_536],
    ['4096', 4096],
    ['65536', 65_536],
    ['16K', 16_384],
    ['8KiB', 8192],
  ])('%s', (text, bytes) => expect(parseBlockSize(text)).toBe(bytes));
  it.each(['2', '3', '5', '128', '131072', '4G', '', '4.0'])('refuses %j', (text) =>
    expect(() => parseBlockSize(text)).toThrow('--bs'),
  );
});

describe('--span', () => {
  it.each([
    ['1M', 2 ** 20],
    ['64K', 65_536],
    ['1048576', 2 ** 20],
    ['64m', 2 ** 26],
  ])('%s', (text, bytes) => expect(parseSpan(text)).toBe(bytes));
  it.each(['63K', '65M', '0', 'x'])('refuses %j', (text) => expect(() => parseSpan(text)).toThrow('--span'));
});

describe('--chunk-size', () => {
  it.each([
    ['64K', 65_536],
    ['4M', 4 * 2 ** 20],
    ['4MiB', 4 * 2 ** 20],
    ['100000', 100_000],
    ['1024m', 2 ** 30],
  ])('%s', (text, bytes) => expect(parseChunkSize(text)).toBe(bytes));
  it.each(['63K', '1025M', '0', '-1', '4G', ''])('refuses %j', (text) =>
    expect(() => parseChunkSize(text)).toThrow('--chunk-size'),
  );
});

describe('--max-layer-size', () => {
  it.each([
    ['256G', 2 ** 38],
    ['1T', 2 ** 40],
    ['512m', 2 ** 29],
    ['1000000', 1_000_000],
  ])('%s', (text, bytes) => expect(parseMaxLayerSize(text)).toBe(bytes));
  it.each(['0', '-1', '1.5G', 'G', '8192T0', '999999999999999T', ''])('refuses %j', (text) =>
    expect(() => parseMaxLayerSize(text)).toThrow('--max-layer-size'),
  );
});

it('whole numbers keep to their bounds', () => {
  const parse = parseInteger('--workers', 0, 8);
  expect([parse('0'), parse('8')]).toEqual([0, 8]);
  for (const text of ['9', '-1', '1.5', '', ' 1', '1e1', '9'.repeat(20)])
    expect(() => parse(text)).toThrow('--workers');
});

it('collects repeated flags', () => {
  expect(collect('linux/amd64,linux/arm64')).toEqual(['linux/amd64', 'linux/arm64']);
  expect(collect('linux/386', ['linux/amd64'])).toEqual(['linux/amd64', 'linux/386']);
  expect(collectPaths('a,b.pem', ['c'])).toEqual(['c', 'a,b.pem']);
});
