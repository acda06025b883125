import { afterEach, describe, expect, test } from 'vitest';
import { blob, noise, pieces, pushImage, rejects } from '../contract.ts';
import { digestOf } from '../digest.ts';
import { encodeJson } from '../manifest.ts';
import { OCI } from '../media-types.ts';
import { bytesSource, fetchBytes } from '../storage.ts';
import { openRegistry, type RegistryTarget } from './client.ts';
import type { RegistryOptions } from './options.ts';
import { type Answer, type Script, type ScriptedServer, startScripted } from './testing/scripted-server.ts';

const open: { server: ScriptedServer; target: RegistryTarget }[] = [];
afterEach(async () => {
  for (const { server, target } of open.splice(0)) {
    await target.close();
    await server.stop();
  }
});

/** A target before a scripted registry; waits are recorded instead of waited for. */
async function scripted(script: Script, options: RegistryOptions = {}) {
  const waits: number[] = [];
  const server = await startScripted(script);
  const target = await openRegistry(
    { registry: server.host, repository: 'app' },
    {
      plain: true,
      env: { HOME: '/nonexistent' },
      ...options,
      runtime: {
        random: () => 0.5,
        sleep: async (milliseconds, signal) => {
          signal?.throwIfAborted();
          waits.push(milliseconds);
        },
        ...options.runtime,
      },
    },
  );
  open.push({ server, target });
  return { server, target, waits };
}

const bytes = noise(10_000, 1);
const descriptor = blob(bytes);
const missing: Answer = {
  status: 404,
  body: '{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}',
};

/** Honours Range as object stores do. */
function serve(content: Uint8Array, range: string | undefined): Answer {
  const match = /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
  if (!match) return { body: content };
  const [start, end] = [Number(match[1]), Math.min(Number(match[2]), content.length - 1)];
  const headers = { 'content-range': `bytes ${start}-${end}/${content.length}` };
  return { status: 206, headers, body: content.subarray(start, end + 1) };
}

describe('retries', () => {
  test.each([408, 425, 429, 500, 502, 503, 504])('HTTP %i passes: the third try is answered', async (status) => {
    const { target, waits, server } = await scripted((_, seen) =>
      seen.length < 3 ? { status, body: 'later' } : serve(bytes, undefined),
    );
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
    expect(waits).toEqual([375, 750]);
    expect(server.seen.length).toBe(3);
  });

  test.each([400, 405, 409, 413, 501])('HTTP %i stays: one try, the body is shown', async (status) => {
    const { target, server } = await scripted(() => ({
      status,
      body: '{"errors":[{"code":"DENIED","message":"by policy","detail":{"quota":5}}]}',
    }));
    const error = await rejects(target.fetch(descriptor), 'registry-error');
    expect(error.found).toBe(`HTTP ${status}: DENIED: by policy ({"quota":5})`);
    expect(server.seen.length).toBe(1);
  });

  test.each([
    ['7', 7000],
    ['0', 0],
    ['86400', 60_000],
    [new Date(10_000_000_000_000 + 12_000).toUTCString(), 12_000],
    ['soon', 375],
  ])('Retry-After: %s', async (value, wait) => {
    const { target, waits } = await scripted(
      (_, seen) => (seen.length === 1 ? { status: 429, headers: { 'retry-after': value } } : serve(bytes, undefined)),
      { runtime: { now: () => 10_000_000_000_000 } },
    );
    await fetchBytes(target, descriptor, 1e6);
    expect(waits).toEqual([wait]);
  });

  test('a registry that always fails ends after five tries with its own words', async () => {
    const { target, server, waits } = await scripted(() => ({
      status: 503,
      body: '<h1>upstream\u001b[31m is down</h1>',
    }));
    const error = await rejects(target.fetch(descriptor), 'registry-error');
    expect(error.found).toBe('HTTP 503: <h1>upstream [31m is down</h1>');
    expect(server.seen.length).toBe(5);
    expect(waits).toEqual([375, 750, 1500, 3000]);
  });

  test('resets pass, as behind a load balancer that drains', async () => {
    const { target } = await scripted((_, seen) => (seen.length < 3 ? { reset: true } : serve(bytes, undefined)));
    expect((await fetchBytes(target, descriptor, 1e6)).length).toBe(bytes.length);
  });

  test('resets without end are an error in bounded time', async () => {
    const { target, server } = await scripted(() => ({ reset: true }));
    await rejects(target.fetch(descriptor), 'registry-unreachable');
    expect(server.seen.length).toBe(5);
  });

  test('a server that never answers is given up by the stall timeout', async () => {
    const { target } = await scripted(() => ({ hang: true }), { runtime: { stallTimeout: 100, attempts: 2 } });
    const error = await rejects(target.fetch(descriptor), 'registry-unreachable');
    expect(error.found).toContain('UND_ERR_HEADERS_TIMEOUT');
  });

  test('an abort ends the wait between tries', async () => {
    const controller = new AbortController();
    const { target } = await scripted(
      () => {
        setTimeout(() => controller.abort(), 50);
        return { status: 503 };
      },
      { runtime: { sleep: (await import('./options.ts')).DEFAULT_RUNTIME.sleep, random: () => 1 } },
    );
    await expect(target.fetch(descriptor, { signal: controller.signal })).rejects.toThrow(/abort/i);
  });
});

describe('downloads', () => {
  test('a stream that breaks twice is resumed by Range', async () => {
    const { target, server } = await scripted(({ headers }, seen) => {
      const whole = serve(bytes, headers.range);
      if (seen.length > 2) return whole;
      const length = String((whole.body as Uint8Array).length);
      return {
        ...whole,
        headers: { ...whole.headers, 'content-length': length },
        body: (whole.body as Uint8Array).subarray(0, 3000),
        cut: true,
      };
    });
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
    expect(server.seen.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=3000-9999', 'bytes=6000-9999']);
  });

  test('a registry without ranges starts over, and what was there is passed over', async () => {
    const { target } = await scripted((_, seen) => {
      if (seen.length > 1) return { body: bytes };
      return { headers: { 'content-length': '10000' }, body: bytes.subarray(0, 4321), cut: true };
    });
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
  });

  test('a part-way stream without Content-Length that ends early is resumed, not believed', async () => {
    const { target } = await scripted(({ headers }, seen) => {
      if (seen.length > 1) return serve(bytes, headers.range);
      return { headers: { 'content-length': '', 'transfer-encoding': 'chunked' }, body: bytes.subarray(0, 500) };
    });
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
  });

  test('a stream that never gets further ends after five tries', async () => {
    const { target, server } = await scripted(({ headers }) => {
      if (headers.range) return { reset: true };
      return { headers: { 'content-length': '10000' }, body: bytes.subarray(0, 100), cut: true };
    });
    await rejects(fetchBytes(target, descriptor, 1e6), 'registry-unreachable');
    expect(server.seen.length).toBe(6);
  });

  test('a whole of another size is refused at once', async () => {
    const { target, server } = await scripted(() => ({ body: bytes.subarray(1) }));
    const error = await rejects(target.fetch(descriptor), 'size-mismatch');
    expect(error.found).toBe('9999 bytes');
    expect(server.seen.length).toBe(1);
  });

  test('a resumed stream whose end changed is a digest-mismatch', async () => {
    const { target } = await scripted(({ headers }) => {
      if (headers.range) return serve(noise(10_000, 2), headers.range);
      return { headers: { 'content-length': '10000' }, body: bytes.subarray(0, 100), cut: true };
    });
    await rejects(fetchBytes(target, descriptor, 1e6), 'digest-mismatch');
  });

  test.each([
    ['another start', { status: 206, headers: { 'content-range': 'bytes 0-9/10000' } }, 'registry-error'],
    ['more than asked for', { status: 206, headers: { 'content-range': 'bytes 100-9999/10000' } }, 'registry-error'],
    ['no Content-Range', { status: 206 }, 'registry-error'],
    ['another total', { status: 206, headers: { 'content-range': 'bytes 100-109/10001' } }, 'size-mismatch'],
    ['HTTP 416', { status: 416 }, 'size-mismatch'],
  ] as const)('a range answered with %s is refused', async (_, answer, code) => {
    const { target } = await scripted(() => answer);
    await rejects(target.fetchRange(descriptor, 100, 10), code);
  });

  test('a range from a registry that answers with the whole (200)', async () => {
    const { target } = await scripted(() => ({ body: bytes }));
    expect(Buffer.from(await target.fetchRange(descriptor, 100, 10)).equals(bytes.subarray(100, 110))).toBe(true);
  });

  test('a range answered in short pieces is completed', async () => {
    const { target, server } = await scripted(({ headers }) => {
      const [, start] = /^bytes=(\d+)-/.exec(headers.range ?? '') ?? [];
      return serve(bytes, `bytes=${start}-${Number(start) + 3}`);
    });
    expect(Buffer.from(await target.fetchRange(descriptor, 100, 10)).equals(bytes.subarray(100, 110))).toBe(true);
    expect(server.seen.map(({ headers }) => headers.range)).toEqual(
      ['bytes=100-109', 'bytes=104-109', 'bytes=108-109'].map((range) => range),
    );
  });
});

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
    expect(server.log()).toEqual(
      [
        `HEAD /v2/app/blobs/${descriptor.digest}`,
        '/token?service=reg%2Cistry&scope=repository%3Aapp%3Apull',
        `HEAD /v2/app/blobs/${descriptor.digest}`,
        `GET /v2/app/blobs/${descriptor.digest}`,
      ].map((line) => (line.startsWith('/') ? `GET ${line}` : line)),
    );
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

describe('redirects', () => {
  test('to another origin, Authorization stays behind; the signed query is not in errors', async () => {
    const store = await startScripted(({ headers }) => serve(bytes, headers.range));
    const { target } = await scripted(
      ({ headers }) => {
        if (!headers.authorization) return { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
        return { status: 307, headers: { location: `http://${store.host}/bucket/x?sig=secret` } };
      },
      { username: 'ann', password: 'hunter22' },
    );
    await fetchBytes(target, descriptor, 1e6);
    expect(store.seen[0]!.headers.authorization).toBeUndefined();
    expect(store.seen[0]!.url).toBe('/bucket/x?sig=secret');
    await store.stop();
    const error = await rejects(target.fetch(descriptor), 'registry-unreachable');
    expect(JSON.stringify(error)).not.toContain('sig=secret');
  });

  test('a 401 of the other origin is not answered with our credentials', async () => {
    const store = await startScripted(() => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="trap"' } }));
    const { target } = await scripted(() => ({ status: 302, headers: { location: `${store.url}/x` } }), {
      username: 'ann',
      password: 'hunter22',
    });
    await rejects(target.fetch(descriptor), 'unauthorized');
    expect(store.seen.every(({ headers }) => headers.authorization === undefined)).toBe(true);
    await store.stop();
  });

  test('within the origin Authorization goes along', async () => {
    const { target, server } = await scripted(
      ({ headers, url }) => {
        if (!headers.authorization) return { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
        return url === '/blob' ? { body: bytes } : { status: 301, headers: { location: '/blob' } };
      },
      { username: 'ann', password: 'hunter22' },
    );
    await fetchBytes(target, descriptor, 1e6);
    expect(server.seen.at(-1)!.headers.authorization).toMatch(/^Basic /);
  });

  test('a loop ends', async () => {
    const { target, server } = await scripted(({ url }) => ({ status: 302, headers: { location: url } }));
    await rejects(target.fetch(descriptor), 'registry-error');
    expect(server.seen.length).toBe(11);
  });
});

describe('uploads', () => {
  /** A registry that takes uploads; `put` answers the n-th PUT of a blob. */
  const taking =
    (put: (count: number, body: Buffer) => Answer, location = '/v2/app/blobs/uploads/s?_state=a%20b%2Fc'): Script =>
    ({ method, body, url }, seen) => {
      if (method === 'HEAD') return missing;
      if (method === 'POST') return { status: 202, headers: { location } };
      if (method === 'DELETE') return { status: 204 };
      expect(url).toContain('?_state=a%20b%2Fc&digest=sha256%3A');
      return put(seen.filter((request) => request.method === 'PUT').length, body);
    };

  test('HEAD, POST, one PUT with the length; the session’s query stays as it is', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 201 })));
    expect(await target.push(descriptor, pieces(bytes, 1000))).toBe('pushed');
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'PUT']);
    expect(server.seen[2]!.headers['content-length']).toBe('10000');
    expect(server.seen[2]!.headers['transfer-encoding']).toBeUndefined();
    expect(server.seen[2]!.body.equals(bytes)).toBe(true);
  });

  test.each([
    ['503', { status: 503 }],
    ['a reset', { reset: true }],
    ['404, the session is gone', { status: 404 }],
  ])('an upload answered by %s begins again with a session of its own', async (_, answer) => {
    const { target, server } = await scripted(taking((count) => (count === 1 ? answer : { status: 201 })));
    expect(await target.push(descriptor, pieces(bytes, 1000))).toBe('pushed');
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'PUT', 'HEAD', 'POST', 'PUT']);
    expect(server.seen.at(-1)!.body.equals(bytes)).toBe(true);
  });

  test('an upload whose answer was lost is found to stand', async () => {
    let stored = false;
    const { target, server } = await scripted(({ method }) => {
      if (method === 'HEAD') return stored ? { headers: { 'content-length': '10000' } } : missing;
      if (method === 'POST') return { status: 202, headers: { location: '/v2/app/blobs/uploads/s' } };
      stored = true;
      return { reset: true };
    });
    expect(await target.push(descriptor, pieces(bytes, 1000))).toBe('pushed');
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'PUT', 'HEAD']);
  });

  test('413 of a proxy says what to raise', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 413, body: '<center>nginx</center>' })));
    const error = await rejects(target.push(descriptor, bytesSource(bytes)), 'registry-error');
    expect(`${error.found} ${error.hint}`).toMatch(/413: <center>nginx.*client_max_body_size/);
    expect(server.seen.filter(({ method }) => method === 'PUT').length).toBe(1);
  });

  test('wrong content is told as such, and its last piece is never sent', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 201 })));
    const damaged = bytes.slice();
    damaged[9000]! ^= 1;
    await rejects(target.push(descriptor, pieces(damaged, 1000)), 'digest-mismatch');
    expect(server.seen.filter(({ method }) => method === 'PUT').length).toBe(0);
  });

  test('a location on another host gets the bytes, not the credentials', async () => {
    const store = await startScripted(() => ({ status: 201 }));
    const { target } = await scripted(
      ({ method, headers }) => {
        if (!headers.authorization) return { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
        return method === 'HEAD' ? { status: 404 } : { status: 202, headers: { location: `${store.url}/up` } };
      },
      { username: 'ann', password: 'hunter22' },
    );
    await target.push(descriptor, bytesSource(bytes));
    expect(store.seen[0]!.headers.authorization).toBeUndefined();
    expect(store.seen[0]!.body.equals(bytes)).toBe(true);
    await store.stop();
  });

  test('a session without a Location is an error', async () => {
    const { target } = await scripted(({ method }) => (method === 'HEAD' ? missing : { status: 202 }));
    await rejects(target.push(descriptor, bytesSource(bytes)), 'registry-error');
  });

  test('a repository that must be created first: 404 is shown, not retried (ECR)', async () => {
    const body = '{"errors":[{"code":"NAME_UNKNOWN","message":"The repository does not exist"}]}';
    const { target, server } = await scripted(() => ({ status: 404, body }));
    const error = await rejects(target.push(descriptor, bytesSource(bytes)), 'not-found');
    expect(error.found).toBe('HTTP 404: NAME_UNKNOWN: The repository does not exist');
    expect(error.hint).toContain('created');
    expect(server.seen.length).toBe(2);
  });

  test('a mount that the registry turns into an upload is cancelled', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 201 })));
    expect(await target.mount(descriptor, 'other/app')).toBe(false);
    expect(server.log()).toEqual([
      `POST /v2/app/blobs/uploads/?mount=${encodeURIComponent(descriptor.digest)}&from=other%2Fapp`,
      'DELETE /v2/app/blobs/uploads/s?_state=a%20b%2Fc',
    ]);
  });
});

describe('manifests', () => {
  const manifest = encodeJson({
    schemaVersion: 2,
    config: { mediaType: OCI.config, digest: digestOf(bytes), size: bytes.length },
    layers: [],
  });
  const named = { mediaType: OCI.manifest, digest: digestOf(manifest), size: manifest.length };

  test('a HEAD without digest or type is completed by GET, the content tells its type', async () => {
    const { target } = await scripted(({ method }) => (method === 'HEAD' ? {} : { body: manifest }));
    expect(await target.resolve('v1')).toEqual(named);
  });

  test('a Content-Type with parameters', async () => {
    const headers = {
      'content-type': `${OCI.manifest}; charset=utf-8`,
      'docker-content-digest': named.digest,
      'content-length': String(named.size),
    };
    const { target } = await scripted(() => ({ headers }));
    expect(await target.resolve('v1')).toEqual(named);
  });

  test.each([
    ['a digest that is none', 'sha256:xyz', 'registry-error'],
    ['another digest than asked for', digestOf(bytes), 'digest-mismatch'],
  ] as const)('HEAD by digest answered with %s', async (_, digest, code) => {
    const headers = { 'content-type': OCI.manifest, 'docker-content-digest': digest, 'content-length': '9' };
    const { target } = await scripted(() => ({ headers }));
    await rejects(target.resolve(named.digest), code);
  });

  test('a missing tag names the reference and shows the registry’s words', async () => {
    const { target } = await scripted(() => ({
      status: 404,
      body: '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"v9"}}]}',
    }));
    const error = await rejects(target.resolve('v9'), 'not-found');
    expect(error.where.reference).toBe('v9');
    expect(error.message).toContain('app:v9');
    expect(error.found).toBe('HTTP 404: MANIFEST_UNKNOWN: manifest unknown ({"Tag":"v9"})');
  });

  test('a registry that stores another manifest than was sent is caught', async () => {
    const { target } = await scripted(({ method }) =>
      method === 'PUT' ? { status: 201, headers: { 'docker-content-digest': digestOf(bytes) } } : missing,
    );
    await rejects(target.push(named, bytesSource(manifest)), 'digest-mismatch');
  });

  test('a tag that stands is not written again (immutable tags)', async () => {
    const headers = { 'docker-content-digest': named.digest, 'content-length': String(named.size) };
    const { target, server } = await scripted(() => ({ headers: { ...headers, 'content-type': OCI.manifest } }));
    await target.tag(named, 'v1');
    expect(server.log()).toEqual(['HEAD /v2/app/manifests/v1']);
  });

  test('a manifest without end is not read into memory', async () => {
    const { target } = await scripted(({ method }) => (method === 'HEAD' ? {} : { body: new Uint8Array(5 << 20) }));
    await rejects(target.resolve('v1'), 'limit-exceeded');
  });
});

test('30 % of requests fail by 503 or a reset: images are pushed and read all the same', async () => {
  let state = 7;
  const random = () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
  const stored = new Map<string, Buffer>();
  const { target } = await scripted(
    ({ method, url, body, headers }) => {
      const dice = random();
      if (dice < 0.3) return dice < 0.15 ? { status: 503 } : { reset: true };
      const { pathname, searchParams } = new URL(url, 'http://x');
      const key = searchParams.get('digest') ?? pathname.split('/').at(-1) ?? '';
      if (method === 'POST') return { status: 202, headers: { location: '/v2/app/blobs/uploads/s' } };
      if (method === 'PUT') {
        stored.set(key, body);
        stored.set(digestOf(body), body);
        return { status: 201 };
      }
      const found = stored.get(key);
      if (!found) return missing;
      const answer = serve(found, headers.range);
      return { ...answer, headers: { ...answer.headers, 'docker-content-digest': digestOf(found) } };
    },
    { runtime: { attempts: 12 } },
  );
  for (let i = 0; i < 20; i += 1) {
    const { descriptor: image } = await pushImage(target, `image ${i}`);
    await target.tag(image, `v${i}`);
    expect((await target.resolve(`v${i}`)).digest).toBe(image.digest);
  }
});
