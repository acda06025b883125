import { createHash, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { htpasswdLine, makeCertificates, startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { fetchBytes } from '../content.ts';
import { blob, noise, pieces, pushImage, rejects, storageContract } from '../contract.ts';
import type { RegistryOptions } from './registry-options.ts';
import { openRegistry } from './registry-target.ts';
import { killedUploads } from './testing/killed-upload.ts';
import { startScripted } from './testing/scripted-server.ts';

/** The refresh token that the token server knows. */
const REFRESH = 'refresh-token-of-ann';

/** Nothing of the machine's own credentials and proxies. */
const env = { HOME: '/nonexistent', PATH: process.env.PATH };

describeWith({ tools: ['docker-registry'] }, 'docker-registry over HTTP', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry?.stop());

  storageContract('docker-registry', async () => ({
    target: await openRegistry({ registry: registry.host, repository: 'contract/plain' }, { plain: true, env }),
  }));

  storageContract('docker-registry, chunks of 300 000 bytes', async () => ({
    target: await openRegistry(
      { registry: registry.host, repository: 'contract/chunks' },
      { plain: true, env, chunkSize: 300_000 },
    ),
  }));

  killedUploads(() => registry);

  test('a failed upload leaves no session in the registry’s store', async () => {
    const target = await openRegistry(
      { registry: registry.host, repository: 'tidy' },
      { plain: true, env, chunkSize: 1000 },
    );
    const bytes = noise(5000, 3);
    const wrong = bytes.slice();
    wrong[1] = (wrong[1] ?? 0) ^ 1;
    await rejects(target.push(blob(bytes), pieces(wrong, 1000)), 'digest-mismatch');
    const uploads = path.join(registry.root, 'docker/registry/v2/repositories/tidy/_uploads');
    // docker-registry itself writes its hash state once more after it cancelled; the bytes are gone.
    const left = await readdir(uploads, { recursive: true });
    expect(left.filter((name) => path.basename(name) === 'data')).toEqual([]);
    await target.close();
  });

  test('without --plain a loopback registry is spoken to in HTTP, after saying so', async () => {
    const warnings: string[] = [];
    const warn = (message: string) => warnings.push(message);
    const target = await openRegistry({ registry: registry.host, repository: 'loopback' }, { env, warn });
    await rejects(target.resolve('latest'), 'not-found');
    await rejects(target.resolve('latest'), 'not-found');
    expect(warnings).toEqual([expect.stringContaining('speaks plain HTTP')]);
    await target.close();
  });

  test('a blob is mounted from another repository, without bytes', async () => {
    const from = await openRegistry({ registry: registry.host, repository: 'mount/from' }, { plain: true, env });
    const to = await openRegistry({ registry: registry.host, repository: 'mount/to' }, { plain: true, env });
    const bytes = noise(100_000, 71);
    await from.push(blob(bytes), bytesSource(bytes));
    expect(await to.exists(blob(bytes))).toBe(false);
    expect(await to.mount(blob(bytes), 'mount/from')).toBe(true);
    expect(Buffer.from(await fetchBytes(to, blob(bytes), 1e6)).equals(bytes)).toBe(true);
    expect(await to.mount(blob(noise(10, 72)), 'mount/from')).toBe(false);
    await from.close();
    await to.close();
  });

  test('memory does not grow with a blob of 192 MiB, pushed and read', async () => {
    const target = await openRegistry({ registry: registry.host, repository: 'large' }, { plain: true, env });
    const piece = noise(1 << 20, 1);
    const hash = createHash('sha256');
    for (let i = 0; i < 192; i += 1) hash.update(piece);
    const descriptor = { ...blob(piece), digest: `sha256:${hash.digest('hex')}`, size: 192 << 20 };
    const source = {
      async *open() {
        for (let i = 0; i < 192; i += 1) yield piece;
      },
    };
    expect(await target.push(descriptor, source)).toBe('pushed');
    let peak = 0;
    let size = 0;
    const start = process.memoryUsage().arrayBuffers;
    for await (const chunk of await target.fetch(descriptor)) {
      size += chunk.length;
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - start);
    }
    expect(size).toBe(192 << 20);
    expect(peak).toBeLessThan(96 << 20);
    await target.close();
  });

  test('a registry that restarts between requests', async () => {
    const target = await openRegistry({ registry: registry.host, repository: 'restart' }, { plain: true, env });
    const bytes = noise(100_000, 73);
    await target.push(blob(bytes), bytesSource(bytes));
    await registry.restart();
    expect(Buffer.from(await fetchBytes(target, blob(bytes), 1e6)).equals(bytes)).toBe(true);
    const { descriptor } = await pushImage(target, 'restarted');
    const restarting = registry.restart();
    await Promise.all([restarting, target.tag(descriptor, 'v1')]);
    expect((await target.resolve('v1')).digest).toBe(descriptor.digest);
    await target.close();
  });

  describe('what a killed registry left behind', () => {
    const store = (repository: string, { digest }: { digest: string }) => {
      const hex = digest.slice('sha256:'.length);
      const root = path.join(registry.root, 'docker/registry/v2');
      return {
        link: path.join(root, 'repositories', repository, '_layers/sha256', hex, 'link'),
        tagLink: path.join(root, 'repositories', repository, '_manifests/tags/v1/current/link'),
        data: path.join(root, 'blobs/sha256', hex.slice(0, 2), hex, 'data'),
      };
    };
    const opened = (repository: string) =>
      openRegistry(
        { registry: registry.host, repository },
        { plain: true, env, runtime: { sleep: async () => undefined } },
      );

    test('an empty link, for which it answers 500: the blob is pushed again', async () => {
      const target = await opened('killed/link');
      const bytes = noise(10_000, 75);
      await target.push(blob(bytes), bytesSource(bytes));
      await writeFile(store('killed/link', blob(bytes)).link, '');
      expect(await target.exists(blob(bytes))).toBe(false);
      expect(await target.push(blob(bytes), bytesSource(bytes))).toBe('pushed');
      expect(Buffer.from(await fetchBytes(target, blob(bytes), 1e6)).equals(bytes)).toBe(true);
      await target.close();
    });

    test('an empty link of a tag: the tag is written again', async () => {
      const target = await opened('killed/tag');
      const { descriptor } = await pushImage(target, 'killed');
      await target.tag(descriptor, 'v1');
      await writeFile(store('killed/tag', descriptor).tagLink, '');
      await target.tag(descriptor, 'v1');
      expect((await target.resolve('v1')).digest).toBe(descriptor.digest);
      await target.close();
    });

    test('an empty file, which it does not replace: never taken for the blob', async () => {
      const target = await opened('killed/data');
      const bytes = noise(10_000, 76);
      await target.push(blob(bytes), bytesSource(bytes));
      await writeFile(store('killed/data', blob(bytes)).data, '');
      expect(await target.exists(blob(bytes))).toBe(false);
      const error = await rejects(target.push(blob(bytes), bytesSource(bytes)), 'registry-error');
      expect(error.message).toContain('does not replace it');
      await target.close();
    });
  });

  test('a registry that is not there fails at once and says what to check', async () => {
    const gone = await startRegistry();
    await gone.stop();
    const waits: number[] = [];
    const sleep = async (milliseconds: number): Promise<void> => void waits.push(milliseconds);
    const place = { registry: gone.host, repository: 'x' };
    const target = await openRegistry(place, { plain: true, env, runtime: { sleep } });
    const error = await rejects(target.resolve('latest'), 'registry-unreachable');
    expect(waits).toEqual([]);
    expect(`${error.found} ${error.hint}`).toMatch(/ECONNREFUSED.*Check host and port/);
    await target.close();
  });
});

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'skopeo as the judge', () => {
  test('copies an image that we pushed, checking every digest', async () => {
    const registry = await startRegistry();
    const directory = await tempDirectory();
    try {
      const target = await openRegistry({ registry: registry.host, repository: 'judge' }, { plain: true, env });
      const { descriptor } = await pushImage(target, 'judge');
      await target.tag(descriptor, 'v1');
      const from = `docker://${registry.host}/judge:v1`;
      const image = JSON.parse(
        (await run('skopeo', ['inspect', '--raw', '--tls-verify=false', from])).stdout.toString('utf8'),
      );
      expect(image.schemaVersion).toBe(2);
      await run('skopeo', ['copy', '--preserve-digests', '--src-tls-verify=false', from, `oci:${directory.path}:v1`]);
      await target.close();
    } finally {
      await registry.stop();
      await directory.remove();
    }
  });
});

describeWith(
  { tools: ['docker-registry', 'openssl'] },
  'docker-registry over HTTPS with an authority of its own',
  () => {
    let registry: TestRegistry;
    let directory: TempDirectory;
    let ca = '';
    beforeAll(async () => {
      directory = await tempDirectory();
      const files = await makeCertificates(directory.path);
      ca = files.ca;
      registry = await startRegistry({ tls: files });
    });
    afterAll(async () => {
      await registry?.stop();
      await directory?.remove();
    });
    const open = (options: RegistryOptions) =>
      openRegistry({ registry: registry.host, repository: 'contract/tls' }, { env, ...options });

    storageContract('docker-registry, HTTPS', async () => ({ target: await open({ rootCa: ca }) }));

    test('an unknown authority is refused, with the way out', async () => {
      const error = await rejects((await open({})).resolve('x'), 'registry-unreachable');
      expect(error.hint).toContain('rootCa');
    });

    test('--insecure accepts it, with a warning', async () => {
      const warnings: string[] = [];
      const target = await open({ insecure: true, warn: (message) => warnings.push(message) });
      await rejects(target.resolve('x'), 'not-found');
      expect(warnings).toEqual([expect.stringContaining('is not checked')]);
    });

    test('--cert-dir in Docker’s form', async () => {
      await rejects((await open({ certDir: directory.path })).resolve('x'), 'not-found');
    });

    test('--plain against it fails and is not retried as HTTPS', async () => {
      const error = await rejects((await open({ plain: true })).resolve('x'), 'registry-error');
      expect(String(error.found)).toContain('400');
    });

    test.each([
      ['a missing file', { rootCa: '/nonexistent/ca.pem' }],
      ['half a client certificate', { clientCert: 'only-one-file' }],
      ['a missing directory', { certDir: '/nonexistent' }],
    ])('%s is a usage error', async (_, options) => {
      await rejects(open(options), 'usage');
    });
  },
);

describeWith({ tools: ['docker-registry', 'htpasswd'] }, 'docker-registry with basic auth', () => {
  const password = 'pass:with:colons"\\ä';
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ htpasswd: await htpasswdLine('ann', password) });
  });
  afterAll(() => registry?.stop());
  const open = (options: RegistryOptions) =>
    openRegistry({ registry: registry.host, repository: 'contract/basic' }, { plain: true, env, ...options });

  storageContract('docker-registry, basic auth', async () => ({ target: await open({ username: 'ann', password }) }));

  test.each([
    ['without credentials', {}],
    ['with a wrong password', { username: 'ann', password: 'wrong-password' }],
  ])('%s it is unauthorized, the registry’s words are shown, the password is not', async (_, options) => {
    const target = await open(options);
    const error = await rejects(target.resolve('v1'), 'unauthorized');
    expect(error.found).toContain('UNAUTHORIZED');
    expect(JSON.stringify(error) + error.stack).not.toContain('wrong-password');
    await rejects(target.push(blob(noise(10, 1)), bytesSource(noise(10, 1))), 'unauthorized');
  });

  test('credentials of Docker’s config.json', async () => {
    const directory = await tempDirectory();
    const auth = Buffer.from(`ann:${password}`, 'utf8').toString('base64');
    await writeFile(path.join(directory.path, 'config.json'), JSON.stringify({ auths: { [registry.host]: { auth } } }));
    const target = await open({ env: { ...env, DOCKER_CONFIG: directory.path } });
    await rejects(target.resolve('nothing-here'), 'not-found');
    await directory.remove();
  });
});

describeWith({ tools: ['docker-registry', 'openssl'] }, 'docker-registry that verifies tokens', () => {
  let registry: TestRegistry;
  let directory: TempDirectory;
  let tokens: Awaited<ReturnType<typeof startTokenServer>>;
  beforeAll(async () => {
    directory = await tempDirectory();
    tokens = await startTokenServer(directory.path);
    const { realm, bundle } = tokens;
    registry = await startRegistry({ token: { realm, bundle, service: 'accel-test', issuer: 'accel-issuer' } });
  });
  afterAll(async () => {
    await registry?.stop();
    await tokens?.stop();
    await directory?.remove();
  });
  const open = (repository: string, options: RegistryOptions = {}) =>
    openRegistry(
      { registry: registry.host, repository },
      { plain: true, env, username: 'ann', password: 'secret-of-ann', ...options },
    );

  storageContract('docker-registry, bearer tokens', async () => ({ target: await open('contract/token') }));

  test('one token serves many requests, and an expired one is renewed', async () => {
    let now = Date.now();
    const target = await open('renewal', { runtime: { now: () => now } });
    const bytes = noise(5000, 41);
    const before = tokens.seen.length;
    await Promise.all([1, 2, 3, 4].map((seed) => target.push(blob(noise(500, seed)), pieces(noise(500, seed), 100))));
    const asked = tokens.seen.length - before;
    expect(asked).toBeLessThanOrEqual(1);
    now += 3600_000;
    await target.push(blob(bytes), bytesSource(bytes));
    expect(tokens.seen.length - before).toBe(asked + 1);
    await target.close();
  });

  test('an upload in chunks outlives its token', async () => {
    let now = Date.now();
    const target = await open('chunked', { chunkSize: 20_000, runtime: { now: () => now } });
    const bytes = noise(100_000, 43);
    const source = {
      async *open() {
        for (let at = 0; at < bytes.length; at += 10_000) {
          now += 300_000;
          yield bytes.slice(at, at + 10_000);
        }
      },
    };
    const before = tokens.seen.length;
    expect(await target.push(blob(bytes), source)).toBe('pushed');
    expect(tokens.seen.length - before).toBeGreaterThan(2);
    await target.close();
  });

  test('an identity token of docker login is exchanged by POST, and opens push and pull', async () => {
    const home = await tempDirectory();
    const auths = {
      [registry.host]: { auth: Buffer.from('00000000-0000:').toString('base64'), identitytoken: REFRESH },
    };
    await writeFile(path.join(home.path, 'config.json'), JSON.stringify({ auths }));
    const target = await openRegistry(
      { registry: registry.host, repository: 'identity' },
      { plain: true, env: { ...env, DOCKER_CONFIG: home.path } },
    );
    const bytes = noise(5000, 44);
    expect(await target.push(blob(bytes), bytesSource(bytes))).toBe('pushed');
    expect(Buffer.from(await fetchBytes(target, blob(bytes), 1e4)).equals(bytes)).toBe(true);
    const asked = tokens.seen.at(-1);
    expect([asked?.method, asked?.url, asked?.headers.authorization]).toEqual(['POST', '/token', undefined]);
    expect(Object.fromEntries(new URLSearchParams(asked?.body.toString('utf8')))).toMatchObject({
      grant_type: 'refresh_token',
      service: 'accel-test',
      refresh_token: REFRESH,
    });
    await target.close();
    await home.remove();
  });

  test('an identity token that was revoked is unauthorized, and not shown', async () => {
    const home = await tempDirectory();
    const auths = { [registry.host]: { identitytoken: 'revoked-token-of-ann' } };
    await writeFile(path.join(home.path, 'config.json'), JSON.stringify({ auths }));
    const target = await openRegistry(
      { registry: registry.host, repository: 'identity' },
      { plain: true, env: { ...env, DOCKER_CONFIG: home.path } },
    );
    const error = await rejects(target.resolve('v1'), 'unauthorized');
    expect(JSON.stringify(error) + error.stack).not.toContain('revoked-token-of-ann');
    await target.close();
    await home.remove();
  });

  test('a mount asks for both repositories', async () => {
    const from = await open('token/from');
    const to = await open('token/to');
    const bytes = noise(5000, 42);
    await from.push(blob(bytes), bytesSource(bytes));
    expect(await to.mount(blob(bytes), 'token/from')).toBe(true);
    expect(decodeURIComponent(tokens.seen.at(-1)?.url ?? '')).toContain('repository:token/from:pull');
    await from.close();
    await to.close();
  });

  test('anonymous pulls are allowed by this server, anonymous pushes are not', async () => {
    const target = await open('contract/token', { username: '' });
    await rejects(target.resolve('no-such'), 'not-found');
    const error = await rejects(target.push(blob(noise(9, 9)), bytesSource(noise(9, 9))), 'unauthorized');
    expect(error.message).not.toContain('secret-of-ann');
  });
});

/** A token server whose JWTs docker-registry verifies: ES256, the certificate in the header. */
async function startTokenServer(directory: string) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const keyFile = path.join(directory, 'token.key');
  const bundle = path.join(directory, 'token.crt');
  await writeFile(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await run('openssl', ['req', '-x509', '-key', keyFile, '-out', bundle, '-days', '2', '-subj', '/CN=accel tokens']);
  const certificate = new X509Certificate(await readFile(bundle)).raw.toString('base64');
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const server = await startScripted(({ method, url, headers, body: form }) => {
    const query =
      method === 'POST' ? new URLSearchParams(form.toString('utf8')) : new URL(url, 'http://x').searchParams;
    const refreshed = query.get('grant_type') === 'refresh_token' && query.get('refresh_token') === REFRESH;
    const known = refreshed || headers.authorization === `Basic ${Buffer.from('ann:secret-of-ann').toString('base64')}`;
    if (method === 'POST' && !refreshed) {
      return { status: 401, body: JSON.stringify({ error: `no such token: ${query.get('refresh_token')}` }) };
    }
    if (headers.authorization !== undefined && !known) return { status: 401, body: '{"details":"wrong password"}' };
    // A GET repeats the parameter, a POST separates the scopes by spaces (OAuth2).
    const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '));
    const access = scopes.map((scope) => {
      const [type, name, actions = ''] = scope.split(':');
      return { type, name, actions: actions.split(',').filter((action) => known || action === 'pull') };
    });
    const seconds = Math.floor(Date.now() / 1000);
    const claims = { iss: 'accel-issuer', sub: 'ann', aud: query.get('service'), access, jti: `${seconds}` };
    const head = encode({ typ: 'JWT', alg: 'ES256', x5c: [certificate] });
    const body = encode({ ...claims, iat: seconds, nbf: seconds - 10, exp: seconds + 600 });
    const key = { key: privateKey, dsaEncoding: 'ieee-p1363' as const };
    const token = `${head}.${body}.${sign('sha256', Buffer.from(`${head}.${body}`), key).toString('base64url')}`;
    return { body: JSON.stringify({ [method === 'POST' ? 'access_token' : 'token']: token, expires_in: 600 }) };
  });
  return { realm: `${server.url}/token`, bundle, seen: server.seen, stop: server.stop };
}
