import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { isLocalUrl } from '../../http/local-address.ts';
import { redirected, resolveLocation } from '../../http/redirects.ts';
import { fetchBytes } from '../content.ts';
import { rejects } from '../contract.ts';
import { startScripted } from './testing/scripted-server.ts';
import { bytes, descriptor, scripted, serve } from './testing/scripted-target.ts';

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

  test('a 401 of the other origin is not answered, though it names a token server of its own', async () => {
    const store = await startScripted(({ headers }) => ({
      status: 401,
      headers: { 'www-authenticate': `Bearer realm="http://${headers.host}/token"` },
    }));
    const { target } = await scripted(() => ({ status: 302, headers: { location: `${store.url}/x` } }), {
      username: 'ann',
      password: 'hunter22',
    });
    await rejects(target.fetch(descriptor), 'unauthorized');
    expect(store.seen.map(({ url, headers }) => [url, headers.authorization])).toEqual([['/x', undefined]]);
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

  test('the entity tag of another origin is not sent to the registry when a download goes on', async () => {
    const store = await startScripted(({ headers }, seen) => {
      const whole = serve(bytes, headers.range);
      if (seen.length > 1) return whole;
      return {
        headers: { 'content-length': '10000', etag: '"of-the-store"' },
        body: bytes.subarray(0, 300),
        cut: true,
      };
    });
    const { target, server } = await scripted(() => ({ status: 307, headers: { location: `${store.url}/x` } }));
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
    expect(server.seen.map(({ headers }) => headers['if-match'])).toEqual([undefined, undefined]);
    await store.stop();
  });

  test('a loop ends', async () => {
    const { target, server } = await scripted(({ url }) => ({ status: 302, headers: { location: url } }));
    await rejects(target.fetch(descriptor), 'registry-error');
    expect(server.seen.length).toBe(11);
  });
});

describe('one step', () => {
  const request = {
    method: 'PUT' as const,
    url: new URL('https://r.io/v2/a?x=1'),
    headers: { authorization: 'Basic x', accept: 'y' },
    body: { source: bytesSource(bytes), size: bytes.length },
  };

  test.each([
    ['https://r.io/b', ['authorization', 'accept']],
    ['/b', ['authorization', 'accept']],
    ['https://r.io:443/b', ['authorization', 'accept']],
    ['https://r.io:8443/b', ['accept']],
    ['https://sub.r.io/b', ['accept']],
    ['https://r.io.evil.example/b', ['accept']],
    ['//evil.example/b', ['accept']],
  ])('to %s keeps the headers %j', (location, names) => {
    expect(Object.keys(redirected(request, 307, location).headers)).toEqual(names);
  });

  const secret = { ...request, method: 'POST' as const, body: { ...request.body, secret: true } };

  test.each([301, 302, 307, 308])('HTTP %i does not take a body that is a secret to another origin', (status) => {
    for (const location of ['https://evil.example/', 'https://r.io:8443/', '//sub.r.io/']) {
      expect(() => redirected(secret, status, location)).toThrow(expect.objectContaining({ code: 'registry-error' }));
    }
    expect(redirected(secret, status, '/elsewhere').body).toBe(secret.body);
  });

  test('303 leaves a secret body behind and goes on', () => {
    const see = redirected(secret, 303, 'https://evil.example/');
    expect([see.method, see.body, see.headers.authorization]).toEqual(['GET', undefined, undefined]);
  });

  test('307 and 308 keep method and body, 303 turns into GET without it', () => {
    expect(redirected(request, 308, '/b')).toMatchObject({ method: 'PUT', body: request.body });
    const see = redirected(request, 303, '/b');
    expect([see.method, see.body]).toEqual(['GET', undefined]);
  });

  test.each(['http://r.io/b', 'ftp://r.io/b', 'file:///etc/passwd', 'https://[bad'])('to %s is refused', (location) => {
    expect(() => redirected(request, 307, location)).toThrow(expect.objectContaining({ code: 'registry-error' }));
  });

  test('user and password of a Location are dropped', () => {
    expect(redirected(request, 307, 'https://u:p@x.io/b').url.href).toBe('https://x.io/b');
  });
});

describe('towards this machine', () => {
  test.each([
    ['http://localhost/', true],
    ['http://app.localhost:80/', true],
    ['http://127.0.0.1:8080/x', true],
    ['http://127.255.1.2/', true],
    ['http://2130706433/', true],
    ['http://0x7f.1/', true],
    ['http://0.0.0.0/', true],
    ['http://[::1]/', true],
    ['http://[::]/', true],
    ['http://[::ffff:127.0.0.1]/', true],
    ['http://[::ffff:169.254.169.254]/', true],
    ['http://169.254.169.254/latest/meta-data', true],
    ['http://[fe80::1]/', true],
    ['http://127.1/', true],
    ['http://0177.0.0.1/', true],
    ['http://①②⑦.0.0.1/', true],
    ['http://0/', true],
    ['http://255.255.255.255/', true],
    ['http://224.0.0.1/', true],
    ['http://localhost./', true],
    ['http://ip6-localhost/', true],
    ['http://ip6-loopback/', true],
    ['http://localhost.localdomain/', true],
    ['http://localhost6.localdomain6/', true],
    ['http://[::127.0.0.1]/', true],
    ['http://[::ffff:0:127.0.0.1]/', true],
    ['http://[64:ff9b::7f00:1]/', true],
    ['http://[64:ff9b::169.254.169.254]/', true],
    ['http://[64:ff9b:1::a9fe:a9fe]/', true],
    ['http://[2002:7f00:1::]/', true],
    ['http://[2002:a9fe:a9fe::1]/', true],
    ['http://[2001:0:a9fe:a9fe::1]/', true],
    ['http://[2001:0:c000:201::5601:5601]/', true],
    ['http://[2001:db8::5efe:7f00:1]/', true],
    ['http://[2001:db8::200:5efe:a9fe:a9fe]/', true],
    ['http://[fec0::1]/', true],
    ['http://[ff02::1]/', true],
    ['http://metadata/', true],
    ['http://metadata.google.internal/computeMetadata/v1/', true],
    ['http://METADATA.google.internal./', true],
    ['http://metadata.goog/', true],
    ['http://instance-data.ec2.internal/', true],
    ['http://metadata.tencentyun.com/', true],
    ['http://100.100.100.200/latest/meta-data', true],
    ['http://0x646464c8/', true],
    ['http://168.63.129.16/', true],
    ['http://2822734096/', true],
    ['http://192.0.0.192/', true],
    ['http://169.254.170.2/v2/credentials', true],
    ['http://[fd00:ec2::254]/', true],
    ['http://[fd00:ec2::23]/', true],
    ['http://[fd20:ce::254]/', true],
    ['http://[fd00:42::42]/', true],
    ['http://[fd00:a9fe:a9fe::1]/', true],
    ['http://[fd00:c1::a9fe:a9fe]/', true],
    ['http://[::ffff:100.100.100.200]/', true],
    ['http://100.100.100.201/', false],
    ['http://168.63.129.17/', false],
    ['http://metadata.example.com/', false],
    ['http://mylocalhost/', false],
    ['http://[fd00::1]/', false],
    ['http://[64:ff9b::8.8.8.8]/', false],
    ['http://10.0.0.1/', false],
    ['http://192.168.1.1/', false],
    ['http://127.0.0.1.example.com/', false],
    ['http://localhost.example.com/', false],
    ['http://[2001:db8::1]/', false],
    ['http://[::ffff:10.0.0.1]/', false],
  ])('%s is this machine: %s', (url, expected) => expect(isLocalUrl(new URL(url))).toBe(expected));

  const elsewhere = new URL('https://registry.example.com/v2/app/blobs/x');

  test.each(['https://127.0.0.1/', 'https://169.254.169.254/latest/meta-data/iam', 'https://localhost:8443/'])(
    'a registry elsewhere may not send us to %s',
    (location) => {
      expect(() => resolveLocation(location, elsewhere)).toThrow(expect.objectContaining({ code: 'registry-error' }));
      const request = { method: 'GET', url: elsewhere, headers: {} } as const;
      expect(() => redirected(request, 307, location)).toThrow('the server points to');
    },
  );

  test.each(['http://169.254.169.254/', 'http://metadata.google.internal/', 'http://[fd00:ec2::254]/'])(
    'not even a registry on this machine may send us to %s',
    (location) => {
      expect(() => resolveLocation(location, new URL('http://127.0.0.1:5000/v2/app/blobs/x'))).toThrow(
        expect.objectContaining({ code: 'registry-error' }),
      );
    },
  );

  test('a registry on this machine may', () => {
    const here = new URL('http://127.0.0.1:5000/v2/app/blobs/x');
    expect(resolveLocation('http://localhost:9000/store/x', here).port).toBe('9000');
  });
});
