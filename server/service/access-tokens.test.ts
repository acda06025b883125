/** Who may use the API, by token, address and origin. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { type AccessRequest, AccessTokens, isLoopbackHost } from './access-tokens.ts';

let folder: TempDirectory;
beforeAll(async () => {
  folder = await tempDirectory();
  for (const name of ['reader', 'writer']) await writeFile(join(folder.path, name), `${name}-token\n`);
});
afterAll(() => folder.remove());

const entry = (name: 'reader' | 'writer') => ({
  name,
  file: join(folder.path, name),
  scope: name === 'reader' ? ('read' as const) : ('write' as const),
});
const load = (loopback: boolean, ...names: ('reader' | 'writer')[]) => AccessTokens.load(names.map(entry), loopback);
const request = (authorization?: string, host = '127.0.0.1:8686', origin?: string): AccessRequest => ({
  authorization,
  host,
  origin,
});

describe('a token', () => {
  it.each([
    ['Bearer reader-token', 'read', { name: 'reader', scope: 'read' }],
    ['bearer  writer-token', 'read', { name: 'writer', scope: 'write' }],
    ['Bearer writer-token', 'write', { name: 'writer', scope: 'write' }],
    ['Bearer reader-token', 'write', 'forbidden'],
    ['Bearer reader-toke', 'read', 'unauthenticated'],
    ['Bearer reader-token2', 'read', 'unauthenticated'],
    ['Bearer ', 'read', 'unauthenticated'],
    ['', 'read', 'unauthenticated'],
    ['Basic cmVhZGVyLXRva2Vu', 'read', 'unauthenticated'],
    ['reader-token', 'read', 'unauthenticated'],
  ] as const)('%s to %s', async (authorization, scope, expected) => {
    const tokens = await load(false, 'reader', 'writer');
    expect(tokens.check(request(authorization), scope)).toEqual(expected);
    // On loopback a wrong one is not taken for none.
    expect((await load(true, 'reader', 'writer')).check(request(authorization), scope)).toEqual(expected);
  });

  it('of an empty file, or of none, is an error of the configuration', async () => {
    await writeFile(join(folder.path, 'empty'), '\n');
    const at = (file: string) => AccessTokens.load([{ name: 'x', file: join(folder.path, file), scope: 'read' }], true);
    await expect(at('empty')).rejects.toMatchObject({ code: 'usage' });
    await expect(at('absent')).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('without a token', () => {
  it('nobody is let in where others can reach the service', async () => {
    for (const names of [[], ['writer']] as const)
      for (const scope of ['read', 'write'] as const)
        expect((await load(false, ...names)).check(request(), scope)).toBe('unauthenticated');
  });

  it('everybody on this machine reads; writes only as long as no token for writing is configured', async () => {
    expect((await load(true)).check(request(), 'write')).toEqual({ name: 'anonymous', scope: 'write' });
    expect((await load(true, 'reader')).check(request(), 'write')).toEqual({ name: 'anonymous', scope: 'write' });
    expect((await load(true, 'writer')).check(request(), 'write')).toBe('unauthenticated');
    expect((await load(true, 'writer')).check(request(), 'read')).toEqual({ name: 'anonymous', scope: 'read' });
  });

  it.each([
    ['evil.example.com', undefined],
    ['127.0.0.1.evil.example.com:8686', undefined],
    ['127.0.0.1:8686', 'https://evil.example.com'],
    ['127.0.0.1:8686', 'http://localhost:8686'],
    ['127.0.0.1:8686', 'https://127.0.0.1:8686'],
    ['127.0.0.1:8686', 'null'],
  ])('a page that reaches %s from %s is not let in', async (host, origin) => {
    expect((await load(true)).check(request(undefined, host, origin), 'read')).toBe('forbidden');
  });

  it.each(['127.0.0.1:8686', 'localhost:8686', '[::1]:8686', '127.1.2.3'])('%s is this machine', async (host) => {
    expect((await load(true)).check(request(undefined, host, `http://${host}`), 'read')).toMatchObject({
      name: 'anonymous',
    });
  });

  it('a request that names no host is not let in', async () => {
    const nobody = { authorization: undefined, host: undefined, origin: undefined };
    expect((await load(true)).check(nobody, 'read')).toBe('forbidden');
  });
});

it.each([
  ['127.0.0.1', true],
  ['::1', true],
  ['localhost', true],
  ['0.0.0.0', false],
  ['128.0.0.1', false],
  ['127.0.0.1x', false],
  ['localhost.example.com', false],
])('%s is loopback: %s', (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});
