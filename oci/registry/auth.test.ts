import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { fetchBytes } from '../content.ts';
import { rejects } from '../contract.ts';
import type { Script } from './testing/scripted-server.ts';
import { bytes, descriptor, scripted, serve } from './testing/scripted-target.ts';

describe('authorisation', () => {
  const bearer = (host: string, extra = '') => `Bearer realm="http://${host}/token",service="reg,istry"${extra}`;

  /** A registry and token server in one; `accept` is the token that opens. */
  const guarded =
    (accept: (token: string) => boolean, extra = ''): Script =>
    ({ url, headers, method }, seen) => {
      if (url.startsWith('/token'))
        return { body: JSON.stringify({ access_token: `t${seen.length}`, expires_in: 300 }) };
      const token = headers.authorization?.replace('Bearer ', '') ?? '';
      if (!accept(token)) {
        return { status: 401, headers: { 'www-authenticate': bearer(headers.host ?? '', extra) }, body: 'no' };
      }
      return method === 'HEAD' ? { headers: { 'content-length': '10000' } } : serve(bytes, headers.range);
    };

  test('a challenge is answered by a token for scope and service; later requests bring it along', async () => {
    const { target, server } = await scripted(guarded((token) => token === 't2'));
    expect(await target.exists(descriptor)).toBe(true);
    await fetchBytes(target, descriptor, 1e6);
    expect(server.log()).toEqual([
      `HEAD /v2/app/blobs/${descriptor.digest}`,
      'GET /token?service=reg%2Cistry&scope=repository%3Aapp%3Apull',
      `HEAD /v2/app/blobs/${descriptor.digest}`,
      `GET /v2/app/blobs/${descriptor.digest}`,
    ]);
  });

  test('a token that is refused later is replaced once', async () => {
    let valid = 't2';
    const { target, server } = await scripted(guarded((token) => token === valid));
    await target.exists(descriptor);
    valid = 't5';
    await target.exists(descriptor);
    expect(server.log().filter((line) => line.includes('/token')).length).toBe(2);
  });

  test('a registry that refuses every token is unauthorized, after one token', async () => {
    const { target, server } = await scripted(guarded(() => false));
    await rejects(target.fetch(descriptor), 'unauthorized');
    expect(server.seen.length).toBe(3);
  });

  test('parallel requests share one token', async () => {
    const { target, server } = await scripted(guarded((token) => token.startsWith('t')));
    await Promise.all(Array.from({ length: 8 }, () => fetchBytes(target, descriptor, 1e6)));
    expect(server.log().filter((line) => line.includes('/token')).length).toBe(1);
  });

  test('what the challenge asks for beyond our scope is asked for too (proxied repositories)', async () => {
    const extra = ',scope="repository:hub/library/app:pull"';
    const { target, server } = await scripted(guarded((token) => token === 't2', extra));
    await target.exists(descriptor);
    const asked = new URL(server.seen[1]!.url, 'http://x').searchParams.getAll('scope');
    expect(asked).toEqual(['repository:app:pull', 'repository:hub/library/app:pull']);
  });

  test('user and password go to the token server as Basic, the account is named', async () => {
    const { target, server } = await scripted(
      guarded((token) => token === 't2'),
      { username: 'ann', password: 'a:b' },
    );
    await target.exists(descriptor);
    expect(server.seen[0]!.headers.authorization).toBeUndefined();
    expect(server.seen[1]!.headers.authorization).toBe(`Basic ${Buffer.from('ann:a:b').toString('base64')}`);
    expect(server.seen[1]!.url).toContain('account=ann');
  });

  test('the token server’s refusal is shown; an echoed password and its header are not', async () => {
    const { target } = await scripted(
      ({ url, headers }) => {
        if (!url.startsWith('/token'))
          return { status: 401, headers: { 'www-authenticate': bearer(headers.host ?? '') } };
        return { status: 401, body: JSON.stringify({ details: `bad hunter22 from ${headers.authorization}` }) };
      },
      { username: 'ann', password: 'hunter22' },
    );
    const error = await rejects(target.fetch(descriptor), 'unauthorized');
    expect(error.found).toBe('HTTP 401: bad *** from Basic ***');
  });

  test.each([
    ['not JSON', '<html>'],
    ['no token', '{"expires_in":5}'],
    ['a token with a line break', '{"token":"a\\r\\nx: y"}'],
  ])('a token answer with %s is unauthorized', async (_, body) => {
    const { target } = await scripted(({ url, headers }) =>
      url.startsWith('/token')
        ? { body }
        : { status: 401, headers: { 'www-authenticate': bearer(headers.host ?? '') } },
    );
    await rejects(target.fetch(descriptor), 'unauthorized');
  });

  test('the body of a refused HEAD is asked for by GET', async () => {
    const { target } = await scripted(() => ({
      status: 403,
      body: '{"errors":[{"code":"DENIED","message":"not yours"}]}',
    }));
    const error = await rejects(target.push(descriptor, bytesSource(bytes)), 'unauthorized');
    expect(error.found).toBe('HTTP 403: DENIED: not yours');
  });
});
