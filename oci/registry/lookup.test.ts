import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { blob, rejects } from '../contract.ts';
import { digestOf } from '../digest.ts';
import { encodeJson } from '../manifest.ts';
import { OCI } from '../media-types.ts';
import type { Answer, Script } from './testing/scripted-server.ts';
import { bytes, descriptor, missing, scripted, serve } from './testing/scripted-target.ts';

const manifest = encodeJson({
  schemaVersion: 2,
  mediaType: OCI.manifest,
  config: { mediaType: OCI.config, digest: descriptor.digest, size: descriptor.size },
  layers: [],
});
const named = { mediaType: OCI.manifest, digest: digestOf(manifest), size: manifest.length };
const typed = { 'content-type': OCI.manifest };

/** A registry that answers HEAD with `status` and everything else by `script`. */
function withoutHead(status: number, script: Script): Script {
  return (request, seen) => (request.method === 'HEAD' ? { status } : script(request, seen));
}

describe.each([400, 403, 405, 406, 415, 501])('HEAD answered by %i', (status) => {
  test('a blob is asked for its first byte, and HEAD is not tried again', async () => {
    const { target, server } = await scripted(withoutHead(status, ({ headers }) => serve(bytes, headers.range)));
    expect(await target.exists(descriptor)).toBe(true);
    expect(await target.exists({ ...descriptor, size: 9999 })).toBe(false);
    expect(await target.blobSize(descriptor.digest)).toBe(bytes.length);
    expect(server.seen.map(({ method, headers }) => `${method} ${headers.range ?? ''}`)).toEqual([
      'HEAD ',
      'GET bytes=0-0',
      'GET bytes=0-0',
      'GET bytes=0-0',
    ]);
  });

  test('a tag is read by GET', async () => {
    const { target } = await scripted(withoutHead(status, () => ({ body: manifest, headers: typed })));
    expect(await target.resolve('v1')).toEqual(named);
    expect(await target.resolve(named.digest)).toEqual(named);
  });

  test('what is missing is missing', async () => {
    const { target } = await scripted(withoutHead(status, () => missing));
    expect(await target.exists(descriptor)).toBe(false);
    expect(await target.exists(named)).toBe(false);
    await rejects(target.resolve('v1'), 'not-found');
    await rejects(target.blobSize(descriptor.digest), 'not-found');
  });
});

test.each<[string, Answer, boolean]>([
  ['an empty blob has no first byte', { status: 416, headers: { 'content-range': 'bytes */0' } }, true],
  ['a 416 without a length', { status: 416 }, true],
  ['a registry without ranges sends the whole', { status: 200, body: '' }, true],
  ['a length of its own', { status: 206, headers: { 'content-range': 'bytes 0-0/7' }, body: 'x' }, false],
])('%s', async (_, answer, expected) => {
  const { target } = await scripted(withoutHead(405, () => answer));
  expect(await target.exists(blob(new Uint8Array(0)))).toBe(expected);
});

test('a refusal of HEAD and GET alike is a refusal, with the words of the GET', async () => {
  const { target } = await scripted(withoutHead(403, () => ({ status: 403, body: 'not for you' })));
  const error = await rejects(target.exists(descriptor), 'unauthorized');
  expect(error.found).toContain('not for you');
  await rejects(target.resolve('v1'), 'unauthorized');
});

test('a digest that contradicts the one that was asked for is not the blob', async () => {
  const headers = { 'content-length': String(bytes.length), 'docker-content-digest': digestOf(manifest) };
  const { target } = await scripted(() => ({ headers }));
  expect(await target.exists(descriptor)).toBe(false);
});

test('an image is pushed and tagged without a HEAD that works', async () => {
  const stored = new Map<string, Buffer>();
  const { target } = await scripted(
    withoutHead(405, ({ method, url, body, headers }) => {
      const { pathname, searchParams } = new URL(url, 'http://x');
      const key = searchParams.get('digest') ?? pathname.split('/').at(-1) ?? '';
      if (method === 'POST') return { status: 202, headers: { location: '/v2/app/blobs/uploads/s' } };
      if (method === 'PUT') {
        stored.set(key, body);
        stored.set(digestOf(body), body);
        return { status: 201 };
      }
      const found = stored.get(key);
      if (found === undefined) return missing;
      return pathname.includes('/manifests/') ? { body: found, headers: typed } : serve(found, headers.range);
    }),
  );
  expect(await target.push(descriptor, bytesSource(bytes))).toBe('pushed');
  expect(await target.push(descriptor, bytesSource(bytes))).toBe('existed');
  expect(await target.push(named, bytesSource(manifest))).toBe('pushed');
  await target.tag(named, 'v1');
  expect(await target.resolve('v1')).toEqual(named);
});
