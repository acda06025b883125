import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { asAccelError } from '../../base/error.ts';
import { errorDocument, renderError } from '../../cli/error-report.ts';
import { tempDirectory } from '../../tests/support/tools.ts';
import { fetchBytes } from '../content.ts';
import { rejects } from '../contract.ts';
import { OCI } from '../media-types.ts';
import { openRegistry } from './registry-target.ts';
import { type Script, startScripted } from './testing/scripted-server.ts';
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

  test('a token server’s redirect does not take the refresh token to another origin', async () => {
    const thief = await startScripted(() => ({ body: '{"token":"t"}' }));
    const home = await tempDirectory();
    const script: Script = ({ url, headers }) =>
      url.startsWith('/token')
        ? { status: 307, headers: { location: `http://localhost:${thief.host.split(':')[1]}/steal` } }
        : { status: 401, headers: { 'www-authenticate': bearer(headers.host ?? '') } };
    const server = await startScripted(script);
    const auths = { [server.host]: { identitytoken: 'refresh-token-0123' } };
    await writeFile(path.join(home.path, 'config.json'), JSON.stringify({ auths }));
    const target = await openRegistry(
      { registry: server.host, repository: 'app' },
      { plain: true, env: { HOME: home.path, DOCKER_CONFIG: home.path } },
    );
    const error = await rejects(target.fetch(descriptor), 'registry-error');
    expect(error.message).toContain('secret');
    expect(server.seen.at(-1)!.body.toString()).toContain('refresh-token-0123');
    expect(thief.seen).toEqual([]);
    await target.close();
    await server.stop();
    await thief.stop();
    await home.remove();
  });

  describe('a token server that the registry names', () => {
    /** The error's message, or what was sent to a server that answers. */
    const ask = async (realm: string, plain: boolean) => {
      const { target } = await scripted(
        () => ({ status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}"` } }),
        { username: 'ann', password: 'hunter22', plain, runtime: { attempts: 1, connectTimeout: 300 } },
      );
      return target.fetch(descriptor).then(
        () => undefined,
        (error: unknown) => asAccelError(error),
      );
    };

    // 192.0.2.0/24 is for documentation: nothing answers, so a refusal is accel's own.
    test('gets nothing by plain HTTP, unless plain says so', async () => {
      expect((await ask('http://192.0.2.2:1/token', false))?.message).toContain('plain HTTP');
      expect((await ask('http://192.0.2.2:1/token', true))?.code).toBe('registry-unreachable');
      expect((await ask('https://192.0.2.2:1/token', false))?.code).toBe('registry-unreachable');
    });

    test('may speak plain HTTP on a loopback address', async () => {
      const tokens = await startScripted(() => ({ status: 403, body: 'not you' }));
      expect((await ask(`${tokens.url}/token`, false))?.found).toBe('HTTP 403: not you');
      await tokens.stop();
    });

    test.each(['http://169.254.169.254/x', 'https://metadata.google.internal/x', 'https://[fd00:ec2::254]/x'])(
      '%s is a metadata service',
      async (realm) => {
        for (const plain of [false, true]) expect((await ask(realm, plain))?.message).toContain('metadata service');
      },
    );

    test.each(['ftp://127.0.0.1/token', 'http://[bad', 'javascript:1'])('%s is no HTTP URL', async (realm) => {
      expect((await ask(realm, true))?.message).toContain('not an HTTP URL');
    });
  });

  test.each([
    ['a path', (pw: string, host: string) => ({ status: 307, headers: { location: `http://${host}/v2/${pw}/gone` } })],
    ['a scheme', (pw: string) => ({ status: 307, headers: { location: `${pw}:foo` } })],
    ['a host', (pw: string) => ({ status: 307, headers: { location: `ftp://${pw}/` } })],
    [
      'a digest',
      (pw: string) => ({
        headers: { 'docker-content-digest': pw, 'content-type': OCI.manifest, 'content-length': '5' },
      }),
    ],
    ['a content range', (pw: string) => ({ status: 206, headers: { 'content-range': `bytes ${pw}` }, body: 'abc' })],
    ['base64', (pw: string) => ({ status: 400, body: `no: ${Buffer.from(`ann:${pw}`).toString('base64')}` })],
    [
      'JSON escapes',
      (pw: string) => ({ status: 400, body: `{"message":"no: \\u00${pw.charCodeAt(0).toString(16)}${pw.slice(1)}"}` }),
    ],
    [
      'percent-encoding',
      (pw: string) => ({ status: 400, body: `no: %${pw.charCodeAt(0).toString(16)}${pw.slice(1)}` }),
    ],
    ['the 1000th character', (pw: string) => ({ status: 400, body: `${'x'.repeat(995)}${pw}` })],
  ])('a password that comes back as %s is not shown', async (_, answer) => {
    const password = 'Secret-of-Ann';
    const { target } = await scripted(
      ({ headers }) => {
        if (!headers.authorization) return { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
        return answer(password, headers.host ?? '');
      },
      { username: 'ann', password },
    );
    for (const call of [() => target.fetchRange(descriptor, 0, 10), () => target.resolve('v1')]) {
      const error = asAccelError(await call().catch((thrown: unknown) => thrown));
      const shown = [renderError(error, { verbose: true }), JSON.stringify(errorDocument(error))].join();
      expect(shown.toLowerCase()).not.toContain('secre');
      expect(shown).not.toContain('QW5uO');
    }
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
