import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { pushImage, rejects } from '../contract.ts';
import { digestOf } from '../digest.ts';
import { encodeJson } from '../manifest.ts';
import { OCI } from '../media-types.ts';
import { bytes, descriptor, missing, scripted, serve } from './testing/scripted-target.ts';

describe('a HEAD without the size', () => {
  test.each([
    ['says 0 for want of it', '0', true, true],
    ['says 0 of a blob that is empty', '0', false, false],
    ['says another size', '9', true, false],
  ])('%s', async (_, length, serves, expected) => {
    const { target } = await scripted(({ method, headers }) => {
      if (method === 'HEAD') return { headers: { 'content-length': length } };
      return serves ? serve(bytes, headers.range) : { status: 416 };
    });
    expect(await target.exists(descriptor)).toBe(expected);
  });
});

describe('manifests', () => {
  const manifest = encodeJson({
    schemaVersion: 2,
    config: { mediaType: OCI.config, digest: digestOf(bytes), size: bytes.length },
    layers: [],
  });
  const named = { mediaType: OCI.manifest, digest: digestOf(manifest), size: manifest.length };

  test('a HEAD without digest or type is completed by GET, and the content determines the type', async () => {
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
    ['an invalid digest', 'sha256:xyz', 'registry-error'],
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

  test('a manifest is read back: a registry that accepts one and serves another is caught (a stale cache before it)', async () => {
    const { target } = await scripted(({ method }) => {
      if (method === 'PUT') return { status: 201 };
      return method === 'GET' ? { body: encodeJson({ other: true }) } : missing;
    });
    const error = await rejects(target.push(named, bytesSource(manifest)), 'size-mismatch');
    expect(error.where.digest).toBe(named.digest);
    const flipped = Buffer.from(manifest);
    flipped[2] = (flipped[2] ?? 0) ^ 1;
    const same = await scripted(({ method }) => {
      if (method === 'PUT') return { status: 201 };
      return method === 'GET' ? { body: flipped } : missing;
    });
    await rejects(same.target.push(named, bytesSource(manifest)), 'digest-mismatch');
  });

  test('a manifest that shows up a moment later is waited for, one that never does is an error (replicated stores)', async () => {
    const late = await scripted(({ method }, seen) => {
      if (method === 'PUT') return { status: 201 };
      const reads = seen.filter((request) => request.method === 'GET').length;
      return method === 'GET' && reads >= 3 ? { body: manifest } : missing;
    });
    expect(await late.target.push(named, bytesSource(manifest))).toBe('pushed');
    expect(late.waits.length).toBe(2);
    const never = await scripted(({ method }) => (method === 'PUT' ? { status: 201 } : missing));
    const error = await rejects(never.target.push(named, bytesSource(manifest)), 'registry-error');
    expect(error.message).toContain('does not have it');
  });

  test.each([
    ['of blobs', 400, 'MANIFEST_BLOB_UNKNOWN'],
    ['of any content', 404, 'BLOB_UNKNOWN'],
  ])(
    'a registry that does not see the content of a manifest yet is asked again (its word %s)',
    async (_, status, code) => {
      const body = JSON.stringify({ errors: [{ code: 'DIGEST_INVALID' }, { code, message: 'unknown' }] });
      const late = await scripted(({ method }, seen) => {
        const puts = seen.filter((request) => request.method === 'PUT').length;
        if (method === 'PUT') return puts < 3 ? { status, body } : { status: 201 };
        return method === 'GET' && puts === 3 ? { body: manifest } : missing;
      });
      expect(await late.target.push(named, bytesSource(manifest))).toBe('pushed');
      expect(late.waits.length).toBe(2);
      const never = await scripted(({ method }) => (method === 'PUT' ? { status, body } : missing));
      const error = await rejects(
        never.target.push(named, bytesSource(manifest)),
        status === 404 ? 'not-found' : 'registry-error',
      );
      expect(error.found).toContain(code);
      expect(never.server.log().filter((line) => line.startsWith('PUT')).length).toBe(5);
    },
  );

  test('a manifest that a registry refuses for another reason is sent once', async () => {
    const body = JSON.stringify({ errors: [{ code: 'MANIFEST_INVALID', message: 'no' }] });
    const { target, server } = await scripted(({ method }) => (method === 'PUT' ? { status: 400, body } : missing));
    await rejects(target.push(named, bytesSource(manifest)), 'registry-error');
    expect(server.log().filter((line) => line.startsWith('PUT')).length).toBe(1);
  });

  test('an existing tag is not written again (immutable tags)', async () => {
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
