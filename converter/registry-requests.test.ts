/** Counts the requests of a conversion, and converts with registries that break their promises. */
import { describe, expect, test } from 'vitest';
import type { AccelError } from '../base/error.ts';
import { copyContent } from '../oci/copy.ts';
import { digestOf } from '../oci/digest.ts';
import { resolveDocument } from '../oci/document.ts';
import { openRegistry, type RegistryTarget } from '../oci/registry/registry-target.ts';
import type { Answer, SeenRequest } from '../oci/registry/testing/scripted-server.ts';
import { missing, scripted, serve } from '../oci/registry/testing/scripted-target.ts';
import { convertWithin, request, smallTar, testLayout } from '../tests/support/converter.ts';
import { startFaultyProxy } from '../tests/support/faulty-proxy.ts';
import { startRegistry } from '../tests/support/registry.ts';
import { describeWith } from '../tests/support/tools.ts';
import { addPrefetch } from './prefetch/add-prefetch.ts';

interface Quirks {
  /** An answer in place of the usual one. */
  readonly instead?: (request: SeenRequest) => Answer | undefined;
  /** Blobs that are acknowledged and not kept, by the number of the upload. */
  readonly forgets?: (upload: number) => boolean;
}

/** A registry in memory that holds the image `base` of two layers. */
async function setUp(quirks: Quirks = {}) {
  const stored = new Map<string, Buffer>();
  let uploads = 0;
  const { target, server, waits } = await scripted((incoming) => {
    const { method, url, body, headers } = incoming;
    const instead = quirks.instead?.(incoming);
    if (instead !== undefined) return instead;
    const { pathname, searchParams } = new URL(url, 'http://x');
    const key = searchParams.get('digest') ?? pathname.split('/').at(-1) ?? '';
    const isManifest = pathname.includes('/manifests/');
    if (method === 'POST') return { status: 202, headers: { location: '/v2/app/blobs/uploads/s' } };
    if (method === 'DELETE') return { status: 204 };
    if (method === 'PUT') {
      if (!isManifest) uploads += 1;
      if (!isManifest && quirks.forgets?.(uploads)) return { status: 201 };
      stored.set(key, body);
      stored.set(digestOf(body), body);
      return { status: 201 };
    }
    const found = stored.get(key);
    if (found === undefined) return missing;
    if (!isManifest) return serve(found, headers.range);
    const { mediaType } = JSON.parse(found.toString());
    return { body: found, headers: { 'content-type': mediaType, 'docker-content-digest': digestOf(found) } };
  });
  await pushBase(target);
  return { target, server, waits, stored, start: server.seen.length, tags: () => tagsIn(server.seen) };
}

async function pushBase(target: RegistryTarget): Promise<void> {
  const layout = await testLayout([1, 2].map((seed) => ({ tar: smallTar(seed), compression: 'gzip' as const })));
  try {
    const { descriptor, document } = await resolveDocument(layout.target, 'base');
    if (document.kind !== 'manifest') throw new Error('a plain image was expected');
    for (const one of [document.manifest.config, ...document.manifest.layers, descriptor])
      await copyContent(layout.target, target, one);
    await target.tag(descriptor, 'base');
  } finally {
    await layout.remove();
  }
}

const tagsIn = (seen: readonly SeenRequest[]) =>
  seen.flatMap(({ method, url }) => (method === 'PUT' ? (/\/manifests\/([\w.-]+)$/.exec(url)?.[1] ?? []) : []));

const heads = (seen: readonly SeenRequest[]) =>
  seen.filter(({ method, url }) => method === 'HEAD' && url.includes('/blobs/')).map(({ url }) => url);

describe('a conversion with nothing to do', () => {
  test('asks four times: source and config, and the two tags', async () => {
    const { target, server } = await setUp();
    await convertWithin(target, request({ cache: true }));
    const before = server.seen.length;
    const result = await convertWithin(target, request({ cache: true }));
    expect(result.tags.map(({ upToDate }) => upToDate)).toEqual([true, true]);
    expect(server.log().slice(before).sort()).toEqual([
      expect.stringContaining('GET /v2/app/blobs/sha256:'),
      'GET /v2/app/manifests/base',
      'GET /v2/app/manifests/base_accelerated',
      'GET /v2/app/manifests/base_containerd_accelerated',
    ]);
  });
});

describeWith({ tools: ['docker-registry'] }, 'with docker-registry', () => {
  test('a conversion with nothing to do asks at most six times', async () => {
    const registry = await startRegistry();
    const proxy = await startFaultyProxy(registry.host);
    const target = await openRegistry(
      { registry: proxy.host, repository: 'app' },
      { plain: true, env: { HOME: '/nonexistent' } },
    );
    try {
      await pushBase(target);
      await convertWithin(target, request({ cache: true }));
      proxy.clear();
      const result = await convertWithin(target, request({ cache: true }));
      expect(result.tags.every(({ upToDate }) => upToDate)).toBe(true);
      expect(proxy.passages.length).toBe(4);
    } finally {
      await target.close();
      await proxy.stop();
      await registry.stop();
    }
  });
});

describe('before a tag', () => {
  test('each blob that it refers to is asked for once, and no manifest that was read back', async () => {
    const { target, server, start, tags } = await setUp();
    await convertWithin(target, request());
    const seen = server.seen.slice(start);
    expect(tags().slice(1)).toEqual(expect.arrayContaining(['base_accelerated', 'base_containerd_accelerated']));
    const lastUpload = seen.findLastIndex(({ method, url }) => method === 'PUT' && url.includes('/blobs/'));
    const asked = heads(seen.slice(lastUpload));
    // Two layers in both kinds, two source layers; the config of both images is the same.
    expect(new Set(asked).size).toBeGreaterThanOrEqual(7);
    expect(asked.length).toBe(new Set(asked).size);
  });

  test.each([1, 2, 3, 4, 5])(
    'the blob of upload %i that was acknowledged and not kept is missed: no tag',
    async (at) => {
      // The first three uploads are the image itself.
      const { target, start, server } = await setUp({ forgets: (upload) => upload === 3 + at });
      const error = await convertWithin(target, request()).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toMatchObject({ code: 'registry-error', where: { content: expect.any(String) } });
      expect(tagsIn(server.seen.slice(start))).toEqual([]);
    },
  );

  test('a source layer that is deleted while it is converted is missed: no tag', async () => {
    let gone: string | undefined;
    const { target, start, server } = await setUp({
      instead: ({ method, url }) =>
        gone !== undefined && method === 'HEAD' && url.includes(gone) ? missing : undefined,
    });
    const { document } = await resolveDocument(target, 'base');
    gone = document.kind === 'manifest' ? document.manifest.layers[0]!.digest : '';
    await expect(convertWithin(target, request())).rejects.toMatchObject({
      code: 'registry-error',
      where: { content: 'source layer', digest: gone },
    });
    expect(tagsIn(server.seen.slice(start))).toEqual([]);
  });

  test('a blob that shows up a moment later is waited for', async () => {
    let hidden = 0;
    let uploaded = 'none';
    const { target, waits, tags } = await setUp({
      instead: ({ method, url }) => {
        if (method === 'PUT') uploaded = new URL(url, 'http://x').searchParams.get('digest') ?? uploaded;
        if (method !== 'HEAD' || !url.includes(uploaded) || hidden >= 3) return undefined;
        hidden += 1;
        return missing;
      },
    });
    hidden = 0;
    await convertWithin(target, request());
    expect(tags()).toContain('base_accelerated');
    expect(waits.length).toBe(3);
  });

  test('a prefetch list that is put on: the layer that carries it is missed as well', async () => {
    let forget = false;
    const { target, server } = await setUp({ forgets: () => forget });
    await convertWithin(target, request({ outputs: [{ tag: 'full', kind: 'full' }] }));
    forget = true;
    const start = server.seen.length;
    const adding = addPrefetch({ target, tagOrDigest: 'full', prefetch: { lines: ['/d1/text'] } });
    await expect(adding).rejects.toMatchObject({ code: 'registry-error', where: { content: expect.any(String) } });
    expect(tagsIn(server.seen.slice(start))).toEqual([]);
  });
});

describe('a push that will be denied', () => {
  const denied: Answer = { status: 403, body: '{"errors":[{"code":"DENIED","message":"read only"}]}' };
  const isPush = ({ method }: SeenRequest) => method === 'POST' || method === 'PUT' || method === 'PATCH';

  test('is denied before a layer is read, and in the same words as later', async () => {
    let deny = false;
    const { target, server } = await setUp({ instead: (incoming) => (deny && isPush(incoming) ? denied : undefined) });
    deny = true;
    const start = server.seen.length;
    const early = await convertWithin(target, request()).catch((error: unknown) => error);
    expect(server.seen.slice(start).filter(({ method }) => method === 'POST').length).toBe(1);
    expect(heads(server.seen.slice(start))).toEqual([]);
    let posts = 0;
    const other = await setUp({
      instead: (incoming) => {
        if (incoming.method === 'POST') posts += 1;
        // Three for the image, one for the look ahead.
        return posts > 4 && isPush(incoming) ? denied : undefined;
      },
    });
    const late = await convertWithin(other.target, request()).catch((error: unknown) => error);
    expect(early).toMatchObject({ code: 'unauthorized', found: expect.stringContaining('read only') });
    const { message, found } = late as AccelError;
    expect(early).toMatchObject({ message, found });
  });

  test('is not tried where nothing is due, and not without an upload', async () => {
    const { target, server } = await setUp();
    await convertWithin(target, request());
    const start = server.seen.length;
    await convertWithin(target, request());
    await convertWithin(target, request({ noUpload: true, force: true }));
    expect(server.seen.slice(start).filter(isPush)).toEqual([]);
  });

  test('the session that is begun for it is cancelled', async () => {
    const { target, server } = await setUp();
    const start = server.seen.length;
    await target.probePush();
    expect(server.log().slice(start)).toEqual(['POST /v2/app/blobs/uploads/', 'DELETE /v2/app/blobs/uploads/s']);
  });
});
