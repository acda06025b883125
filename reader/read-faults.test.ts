/** A registry that misbehaves while an image is read: what comes is right, or it is an error; never zeros. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { fetchBytes } from '../oci/content.ts';
import { MAX_MANIFEST_SIZE, parseManifest } from '../oci/manifest.ts';
import { isManifestContent } from '../oci/media-types.ts';
import { openRegistry, type RegistryTarget } from '../oci/registry/registry-target.ts';
import {
  type Answer,
  type ScriptedServer,
  type SeenRequest,
  startScripted,
} from '../oci/registry/testing/scripted-server.ts';
import { serve } from '../oci/registry/testing/scripted-target.ts';
import type { Target } from '../oci/storage.ts';
import type { TestLayout } from '../tests/support/converter.ts';
import { openImage } from './accelerated-image.ts';
import { openFiles } from './files.ts';
import { convertedLayout, FULL, INDEXED, readText } from './testing/test-images.ts';

/** Compresses badly, so that the layer is too large to be fetched at once. */
const CONTENT = Buffer.from(
  Array.from({ length: 700_000 }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 0xff),
).toString('latin1');

/** Answers of a good registry, by path. */
type Content = Map<string, { readonly bytes: Uint8Array; readonly type: string; readonly digest: string }>;

let layout: TestLayout;
let content: Content;
const servers: ScriptedServer[] = [];
const targets: RegistryTarget[] = [];

beforeAll(async () => {
  layout = await convertedLayout(
    [
      {
        tar: new TarBuilder()
          .dir('etc/')
          .file('etc/data', Buffer.from(CONTENT, 'latin1'))
          .symlink('data', 'etc/data')
          .build(),
      },
      // Large enough to be read by ranges.
    ],
    { algorithm: 'lz4', blockSize: 4096 },
  );
  content = await contentOf(layout.target);
});
afterEach(async () => {
  for (const target of targets.splice(0)) await target.close();
  for (const server of servers.splice(0)) await server.stop();
});
afterAll(() => layout.remove());

async function contentOf(target: Target): Promise<Content> {
  const content: Content = new Map();
  for (const tag of [FULL, INDEXED, 'base']) {
    const descriptor = await target.resolve(tag);
    const bytes = await fetchBytes(target, descriptor, MAX_MANIFEST_SIZE);
    const entry = { bytes, type: descriptor.mediaType, digest: descriptor.digest };
    for (const name of [tag, descriptor.digest]) content.set(`/v2/app/manifests/${name}`, entry);
    const { config, layers } = parseManifest(bytes, descriptor);
    for (const blob of [config, ...layers])
      content.set(`/v2/app/blobs/${blob.digest}`, {
        bytes: await fetchBytes(target, blob, 1 << 24),
        type: 'application/octet-stream',
        digest: blob.digest,
      });
  }
  return content;
}

/** Misbehaves where it wants to; undefined leaves the answer to the good registry. */
type Fault = (request: SeenRequest, good: Answer, seen: readonly SeenRequest[]) => Answer | undefined;

async function registry(fault: Fault): Promise<{ target: RegistryTarget; server: ScriptedServer; waits: number[] }> {
  const server = await startScripted((request, seen) => {
    const good = goodAnswer(request, content);
    return fault(request, good, seen) ?? good;
  });
  const waits: number[] = [];
  const sleep = async (milliseconds: number): Promise<void> => {
    waits.push(milliseconds);
  };
  const options = { plain: true, env: { HOME: '/nonexistent' }, runtime: { random: () => 0.5, sleep } };
  const target = await openRegistry({ registry: server.host, repository: 'app' }, options);
  servers.push(server);
  targets.push(target);
  return { target, server, waits };
}

function goodAnswer({ url, headers }: SeenRequest, content: Content): Answer {
  if (url === '/v2/') return { body: '{}' };
  const entry = content.get(url);
  if (entry === undefined) return { status: 404, body: '{"errors":[{"code":"BLOB_UNKNOWN"}]}' };
  if (!isManifestContent(entry.type)) return serve(entry.bytes, headers.range);
  return { body: entry.bytes, headers: { 'content-type': entry.type, 'docker-content-digest': entry.digest } };
}

const isRange = ({ headers }: SeenRequest): boolean => headers.range !== undefined;

async function readAll(target: Target, tag: string): Promise<string> {
  return readText(await openFiles(await openImage(target, tag)), '/data');
}

/** A fault on the first `times` requests that `applies` picks. */
function firstOnes(times: number, applies: (request: SeenRequest) => boolean, answer: (good: Answer) => Answer): Fault {
  let left = times;
  return (request, good) => {
    if (left <= 0 || !applies(request)) return undefined;
    left--;
    return answer(good);
  };
}

describe.each([FULL, INDEXED])('%s', (tag) => {
  it('a registry that does what it should', async () => {
    const { target, server } = await registry(() => undefined);
    expect(await readAll(target, tag)).toBe(CONTENT);
    expect(server.seen.some(isRange)).toBe(true);
  });

  it('200 instead of 206', async () => {
    const { target } = await registry((request) => {
      if (!isRange(request)) return undefined;
      return goodAnswer({ ...request, headers: {} }, content);
    });
    expect(await readAll(target, tag)).toBe(CONTENT);
  });

  it.each<[string, (good: Answer) => Answer]>([
    ['a body that is cut', (good) => ({ ...good, body: Buffer.from(good.body ?? '').subarray(0, 100), cut: true })],
    ['no answer at all', () => ({ reset: true })],
    ['503', () => ({ status: 503, body: 'overloaded' })],
    ['500', () => ({ status: 500 })],
  ])('%s, a few times', async (_, answer) => {
    const { target, waits } = await registry(firstOnes(3, isRange, answer));
    expect(await readAll(target, tag)).toBe(CONTENT);
    expect(waits.length).toBeGreaterThanOrEqual(3);
  });

  it('429 with Retry-After is waited for', async () => {
    const { target, waits } = await registry(
      firstOnes(2, isRange, () => ({ status: 429, headers: { 'retry-after': '7' } })),
    );
    expect(await readAll(target, tag)).toBe(CONTENT);
    expect(waits.filter((milliseconds) => milliseconds === 7000)).toHaveLength(2);
  });

  it.each<[string, (good: Answer) => Answer, string]>([
    [
      'bodies that are always short',
      (good) => ({ ...good, body: Buffer.from(good.body ?? '').subarray(0, 0), headers: { ...good.headers } }),
      'size-mismatch',
    ],
    ['503 without end', () => ({ status: 503 }), 'registry-error'],
    [
      'another range than was asked for',
      (good) => ({ ...good, headers: { 'content-range': 'bytes 7-8/9' } }),
      'registry-error',
    ],
    ['a blob that is gone', () => ({ status: 404 }), 'not-found'],
  ])('%s: an error that names the blob', async (_, answer, code) => {
    const { target } = await registry(firstOnes(1e6, isRange, answer));
    await expect(readAll(target, tag)).rejects.toMatchObject({
      code,
      where: { layer: 1, digest: expect.stringMatching(/^sha256:/) },
    });
  });

  it('ranges of other bytes are never accepted: in a full layer a checksum differs', async () => {
    const { target } = await registry((request, good) => {
      if (!isRange(request)) return undefined;
      const body = Buffer.from(good.body ?? '');
      for (let i = 0; i < body.length; i += 50) body[i]! ^= 0x55;
      return { ...good, body };
    });
    const outcome = await readAll(target, tag).then(
      (text) => text,
      (error: { code: string }) => error.code,
    );
    expect(outcome).not.toBe(CONTENT);
    if (tag === FULL) expect(outcome).toMatch(/^(zfile|tar|lsmt)-invalid$/);
  });

  it('a token that expires in the middle of reading is fetched again', async () => {
    let valid = 0;
    let left = 0;
    const { target, server } = await registry((request, _good, _seen) => {
      if (request.url.startsWith('/token')) {
        valid++;
        left = 3;
        return { body: JSON.stringify({ token: `t${valid}` }) };
      }
      if (request.headers.authorization === `Bearer t${valid}` && left-- > 0) return undefined;
      const challenge = `Bearer realm="http://${request.headers.host}/token",service="test"`;
      return { status: 401, headers: { 'www-authenticate': challenge } };
    });
    expect(await readAll(target, tag)).toBe(CONTENT);
    expect(valid).toBeGreaterThan(1);
    expect(server.seen.length).toBeGreaterThan(valid);
  });

  it('a redirect to another host is followed, and credentials stay behind', async () => {
    const store = await registry(() => undefined);
    const { target } = await registry((request) => {
      if (request.url.startsWith('/token')) return { body: JSON.stringify({ token: 'secret' }) };
      if (request.headers.authorization !== 'Bearer secret') {
        const challenge = `Bearer realm="http://${request.headers.host}/token",service="test"`;
        return { status: 401, headers: { 'www-authenticate': challenge } };
      }
      if (!request.url.includes('/blobs/')) return undefined;
      return {
        status: 307,
        headers: { location: `${store.server.url.replace('127.0.0.1', 'localhost')}${request.url}` },
      };
    });
    expect(await readAll(target, tag)).toBe(CONTENT);
    expect(store.server.seen.length).toBeGreaterThan(2);
    expect(store.server.seen.map(({ headers }) => headers.authorization)).toEqual(
      store.server.seen.map(() => undefined),
    );
  });
});
