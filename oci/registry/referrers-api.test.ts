import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { referrerOf, rejects } from '../contract.ts';
import type { Descriptor } from '../descriptor.ts';
import { digestOf } from '../digest.ts';
import { encodeJson } from '../manifest.ts';
import { OCI } from '../media-types.ts';
import { MemoryTarget } from '../memory-target.ts';
import { referrerTag } from '../referrers.ts';
import type { Answer, SeenRequest } from './testing/scripted-server.ts';
import { missing, scripted } from './testing/scripted-target.ts';

const TYPE = 'application/vnd.containerd.overlaybd.native.v1+json';
const subject: Descriptor = { mediaType: OCI.manifest, digest: digestOf(new Uint8Array(3)), size: 3 };
const made = await referrerOf(new MemoryTarget(), subject, TYPE, { label: 'scripted' });
const entry = { ...made.descriptor, artifactType: TYPE };
const tag = referrerTag(subject.digest);

/** Manifests by tag and digest, as any registry keeps them; `special` answers first. */
function keeping(special: (request: SeenRequest, store: Map<string, Buffer>) => Answer | undefined) {
  const store = new Map<string, Buffer>();
  return {
    store,
    script: (request: SeenRequest): Answer => {
      const answer = special(request, store);
      if (answer !== undefined) return answer;
      const { method, url, body } = request;
      if (!url.includes('/manifests/')) return { status: 404 };
      const name = url.split('/').at(-1) ?? '';
      if (method === 'PUT') {
        store.set(name, body);
        store.set(digestOf(body), body);
        return { status: 201, headers: { 'docker-content-digest': digestOf(body) } };
      }
      const found = store.get(name);
      if (found === undefined) return missing;
      const { mediaType } = JSON.parse(found.toString('utf8'));
      const headers = { 'content-type': mediaType, 'docker-content-digest': digestOf(found) };
      return method === 'HEAD'
        ? { headers: { ...headers, 'content-length': `${found.length}` } }
        : { headers, body: found };
    },
  };
}

function index(manifests: readonly unknown[], headers: Record<string, string> = {}): Answer {
  const body = encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests });
  return { body, headers: { 'content-type': OCI.index, ...headers } };
}

/** A registry with the API that says so (Docker Hub, ECR, ACR, Harbor from 2.11). */
const modern = (lists: (asked: number) => boolean) => {
  let asked = 0;
  return ({ method, url, body }: SeenRequest, store: Map<string, Buffer>): Answer | undefined => {
    if (url.includes('/referrers/')) {
      asked += 1;
      return index(store.has(made.descriptor.digest) && lists(asked) ? [entry] : []);
    }
    if (method !== 'PUT') return undefined;
    store.set(digestOf(body), body);
    return { status: 201, headers: { 'oci-subject': subject.digest } };
  };
};

describe('pushing a referrer', () => {
  const push = (target: Awaited<ReturnType<typeof scripted>>['target']) =>
    target.pushReferrer(made.descriptor, bytesSource(made.bytes));

  test('with OCI-Subject the registry keeps the list, no tag is written (Docker Hub, ECR, ACR)', async () => {
    const { script } = keeping(modern(() => true));
    const { target, server } = await scripted(script);
    expect(await push(target)).toEqual({ outcome: 'pushed', via: 'api' });
    expect(await push(target)).toEqual({ outcome: 'existed', via: 'api' });
    expect(server.log().some((line) => line.includes(tag))).toBe(false);
    expect(server.log().filter((line) => line.startsWith('PUT')).length).toBe(1);
  });

  test('a list that needs a moment is waited for', async () => {
    const { script } = keeping(modern((asked) => asked > 3));
    const { target, waits } = await scripted(script);
    expect(await push(target)).toEqual({ outcome: 'pushed', via: 'api' });
    expect(waits.length).toBe(3);
  });

  test('a registry that says it linked and does not list it is an error (Harbor 2.8 to 2.10)', async () => {
    const { script } = keeping(modern(() => false));
    const { target } = await scripted(script);
    const error = await rejects(push(target), 'registry-error');
    expect(error.expected).toContain(made.descriptor.digest);
  });

  test('without OCI-Subject the list is kept under the tag (GHCR, GCR, Artifactory, distribution 2)', async () => {
    const { script, store } = keeping(() => undefined);
    const { target } = await scripted(script);
    expect(await push(target)).toEqual({ outcome: 'pushed', via: 'tag' });
    expect(JSON.parse(store.get(tag)?.toString('utf8') ?? '').manifests).toEqual([
      { ...entry, annotations: { label: 'scripted' } },
    ]);
    expect((await target.referrers(subject, TYPE)).length).toBe(1);
  });

  test('entries of others stay: a signer that writes between our read and our write', async () => {
    const signature = { mediaType: OCI.manifest, digest: `sha256:${'5'.repeat(64)}`, size: 5, artifactType: 'sig' };
    const early = { ...signature, digest: `sha256:${'6'.repeat(64)}` };
    let raced = false;
    const { script, store } = keeping(({ method, url }, kept) => {
      if (method !== 'PUT' || !url.endsWith(tag) || raced) return undefined;
      raced = true;
      // The signer's write comes right behind ours and knows nothing of it.
      const theirs = encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests: [early, signature] });
      kept.set(tag, Buffer.from(theirs));
      kept.set(digestOf(theirs), Buffer.from(theirs));
      return { status: 201 };
    });
    store.set(tag, Buffer.from(encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests: [early] })));
    store.set(digestOf(store.get(tag)!), store.get(tag)!);
    const { target } = await scripted(script);
    await push(target);
    const digests = (await target.referrers(subject)).map(({ digest }) => digest).sort();
    expect(digests).toEqual([early.digest, signature.digest, made.descriptor.digest].sort());
  });

  test('a list that is overwritten for ever is an error', async () => {
    const theirs = Buffer.from(encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests: [] }));
    const { script } = keeping(({ method, url }, store) => {
      if (method !== 'PUT' || !url.endsWith(tag)) return undefined;
      store.set(tag, theirs);
      store.set(digestOf(theirs), theirs);
      return { status: 201 };
    });
    const { target } = await scripted(script);
    const error = await rejects(push(target), 'registry-error');
    expect(error.where.reference).toBe(tag);
  });

  test('a registry that refuses a subject is reported as such (Quay)', async () => {
    const body = '{"errors":[{"code":"MANIFEST_INVALID","message":"unknown field: subject"}]}';
    const { script } = keeping(({ method }) => (method === 'PUT' ? { status: 400, body } : undefined));
    const { target } = await scripted(script);
    const error = await rejects(push(target), 'registry-error');
    expect(error.message).toContain('refuses manifests that refer to a subject');
    expect(error.found).toContain('unknown field: subject');
    expect(error.hint).toContain('referrer');
  });

  test('a refusal for want of rights stays one', async () => {
    const { script } = keeping(({ method }) => (method === 'PUT' ? { status: 403 } : undefined));
    const { target } = await scripted(script);
    await rejects(push(target), 'unauthorized');
  });
});

describe('listing referrers', () => {
  const other = { ...entry, digest: `sha256:${'1'.repeat(64)}`, artifactType: 'other' };

  test('a registry that does not filter is filtered here', async () => {
    const { target, server } = await scripted(() => index([entry, other]));
    expect((await target.referrers(subject, TYPE)).map(({ digest }) => digest)).toEqual([entry.digest]);
    expect(server.log()).toEqual([`GET /v2/app/referrers/${subject.digest}?artifactType=${encodeURIComponent(TYPE)}`]);
  });

  test('pages by Link are followed (ECR, Harbor)', async () => {
    const { target } = await scripted(({ url }) =>
      url.includes('last=') ? index([other]) : index([entry], { link: '</v2/app/referrers/x?last=1>; rel="next"' }),
    );
    expect((await target.referrers(subject)).length).toBe(2);
  });

  test('pages without end are bounded', async () => {
    const { target } = await scripted(() => index([entry], { link: '</v2/app/referrers/x?last=1>; rel="next"' }));
    await rejects(target.referrers(subject), 'limit-exceeded');
  });

  test('a page on another host is not asked for', async () => {
    const { target, server } = await scripted(() =>
      index([entry], { link: '<http://127.0.0.1:1/v2/app/referrers/x>; rel="next"' }),
    );
    expect((await target.referrers(subject)).length).toBe(1);
    expect(server.seen.length).toBe(1);
  });

  test.each<[string, Answer]>([
    ['404 (GHCR, distribution)', { status: 404, body: 'page not found' }],
    ['405', { status: 405 }],
    ['a login page (Artifact Registry)', { body: '<html>', headers: { 'content-type': 'text/html' } }],
    ['an empty list though the tag has one (an upgraded registry)', index([])],
  ])('%s: the tag is asked', async (_, answer) => {
    const { script, store } = keeping(({ url }) => (url.includes('/referrers/') ? answer : undefined));
    const list = Buffer.from(encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests: [entry] }));
    store.set(tag, list);
    store.set(digestOf(list), list);
    const { target } = await scripted(script);
    expect((await target.referrers(subject)).map(({ digest }) => digest)).toEqual([entry.digest]);
  });

  test('a tag that names an image is not taken for a list', async () => {
    const { script, store } = keeping(() => undefined);
    store.set(tag, Buffer.from(made.bytes));
    store.set(made.descriptor.digest, Buffer.from(made.bytes));
    const { target } = await scripted(script);
    await rejects(target.referrers(subject), 'manifest-invalid');
  });
});

test.each([
  [`sha256:${'a'.repeat(64)}`, `sha256-${'a'.repeat(64)}`],
  [`sha512:${'b'.repeat(128)}`, `sha512-${'b'.repeat(64)}`],
])('the tag for the referrers of %s', (digest, expected) => expect(referrerTag(digest)).toBe(expected));
