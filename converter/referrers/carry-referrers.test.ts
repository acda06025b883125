import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildIndexLayout } from '../../fixtures/image-builder.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { loadManifest } from '../../oci/document.ts';
import { openLayout } from '../../oci/layout-target.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { referrerTag } from '../../oci/referrers.ts';
import type { ReferrerStore, Target } from '../../oci/storage.ts';
import { type Attached, attachReferrer, attachTag } from '../../tests/support/attach.ts';
import { convertWithin, request, smallTar, type TestLayout, testLayout } from '../../tests/support/converter.ts';
import { convertBetween, planConversion } from '../convert.ts';
import type { ConvertResult } from '../options.ts';

const SPDX: Attached = {
  type: 'application/spdx+json',
  artifactType: 'application/spdx+json',
  content: '{"spdxVersion":"SPDX-2.3"}',
};
const CYCLONEDX: Attached = { type: 'application/vnd.cyclonedx+json', content: '{"bomFormat":"CycloneDX"}' };
const NOTATION: Attached = {
  type: 'application/jose+json',
  artifactType: 'application/vnd.cncf.notary.signature',
  content: '{}',
};
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const PREDICATE = 'dev.sigstore.bundle.predicateType';

type Place = Target & ReferrerStore;
let layout: TestLayout;
let target: Place;

async function open(): Promise<void> {
  target = (await openLayout(layout.directory, { create: false })) as Place;
}

beforeEach(async () => {
  layout = await testLayout([{ tar: smallTar(1) }]);
  await open();
});
afterEach(() => layout.remove());

const convert = (more: object = {}): Promise<ConvertResult> =>
  convertWithin(target, request({ copyReferrers: true, ...more }));
const outcomes = ({ referrers = [] }: ConvertResult): string[] =>
  referrers.map(({ kind, via, action, about }) => `${kind} ${via} ${action} ${about}`);
const referrersOf = async (digest: string): Promise<readonly Descriptor[]> => target.referrers({ digest });

describe('a bill of materials', () => {
  it('as a referrer gets the accelerated image as its subject, with the same content and its origin', async () => {
    const base = await target.resolve('base');
    const original = await attachReferrer(target, base, { ...SPDX, annotations: { author: 'me' } });
    const result = await convert();
    expect(outcomes(result)).toEqual(['sbom referrers copied content']);
    for (const { digest } of result.tags) {
      const listed = await referrersOf(digest);
      expect(listed.map(({ artifactType }) => artifactType)).toEqual(['application/spdx+json']);
      const copy = await loadManifest(target, listed[0]!);
      const { layers, config } = await loadManifest(target, original);
      const { mediaType, size } = await target.resolve(digest);
      expect(copy).toMatchObject({ layers, config, subject: { mediaType, digest, size } });
      expect(copy.annotations).toEqual({
        author: 'me',
        'accel-image/source-digest': base.digest,
        'accel-image/copied-from': original.digest,
        'accel-image/attached-to': digest,
      });
    }
    // The original is as it was.
    expect((await referrersOf(base.digest)).map(({ digest }) => digest)).toEqual([original.digest]);
  });

  it('under a tag of cosign gets the tag of the accelerated image, and a manifest of its own', async () => {
    const base = await target.resolve('base');
    const original = await attachTag(target, base, 'sbom', CYCLONEDX);
    const result = await convert();
    expect(outcomes(result)).toEqual(['sbom tag copied content']);
    for (const { digest } of result.tags) {
      const found = await target.resolve(`${referrerTag(digest)}.sbom`);
      expect(found.digest).not.toBe(original.digest);
      expect((await loadManifest(target, found)).layers).toEqual((await loadManifest(target, original)).layers);
    }
    expect((await target.resolve(`${referrerTag(base.digest)}.sbom`)).digest).toBe(original.digest);
  });

  it('that somebody attached to the accelerated image under the same tag is kept', async () => {
    const base = await target.resolve('base');
    const first = await convert();
    const [full] = first.tags;
    const own = await attachTag(target, await target.resolve(full!.digest), 'sbom', SPDX);
    await attachTag(target, base, 'sbom', CYCLONEDX);
    const result = await convert();
    expect((await target.resolve(`${referrerTag(full!.digest)}.sbom`)).digest).toBe(own.digest);
    expect(result.referrers?.[0]?.made.map(({ subject }) => subject)).toEqual([result.tags[1]!.digest]);
  });

  it('that moved under its tag is copied again over the copy of accel', async () => {
    const base = await target.resolve('base');
    await attachTag(target, base, 'sbom', SPDX);
    await convert();
    const newer = await attachTag(target, base, 'sbom', CYCLONEDX);
    const result = await convert();
    const copy = await loadManifest(target, await target.resolve(`${referrerTag(result.tags[0]!.digest)}.sbom`));
    expect(copy.annotations?.['accel-image/copied-from']).toBe(newer.digest);
  });

  it('is carried to another repository with its content', async () => {
    const base = await target.resolve('base');
    await attachReferrer(target, base, SPDX);
    const elsewhere = new MemoryTarget();
    const result = await convertBetween(
      { source: target, target: elsewhere, mountFrom: undefined },
      request({ copyReferrers: true }),
    );
    const [listed] = await elsewhere.referrers({ digest: result.tags[0]!.digest });
    const { layers } = await loadManifest(elsewhere, listed!);
    expect(await elsewhere.exists(layers[0]!)).toBe(true);
  });
});

describe('what speaks of the digest', () => {
  it.each<[string, Attached, string]>([
    ['a signature of notation', NOTATION, 'signature referrers linked digest'],
    [
      'a signature of cosign 3',
      {
        type: BUNDLE,
        artifactType: BUNDLE,
        content: '{}',
        annotations: { [PREDICATE]: 'https://sigstore.dev/cosign/sign/v1' },
      },
      'signature referrers linked digest',
    ],
    [
      'an attestation of cosign 3',
      {
        type: BUNDLE,
        artifactType: BUNDLE,
        content: '{}',
        annotations: { [PREDICATE]: 'https://slsa.dev/provenance/v1' },
      },
      'attestation referrers linked digest',
    ],
    [
      'a statement about a bill of materials',
      { ...SPDX, type: 'application/vnd.in-toto+json' },
      'attestation referrers linked digest',
    ],
    [
      'something unknown',
      { type: 'application/sarif+json', artifactType: 'application/sarif+json', content: '{}' },
      'other referrers linked unknown',
    ],
  ])('%s is linked', async (_, attached, expected) => {
    const base = await target.resolve('base');
    await attachReferrer(target, base, attached);
    const result = await convert();
    expect(outcomes(result)).toEqual([expected]);
    for (const { digest } of result.tags) {
      const listed = await referrersOf(digest);
      expect(listed.map(({ artifactType }) => artifactType)).toEqual([
        'application/vnd.accel-image.referrer-link.v1+json',
      ]);
      expect((await loadManifest(target, listed[0]!)).annotations).toEqual({
        'accel-image/source-digest': base.digest,
        'accel-image/linked-kind': expected.split(' ')[0],
        'accel-image/attached-to': digest,
      });
    }
  });

  it.each(['sig', 'att'] as const)(
    'under a tag .%s of cosign is linked, many of a kind by one link',
    async (suffix) => {
      const base = await target.resolve('base');
      const type =
        suffix === 'sig' ? 'application/vnd.dev.cosign.simplesigning.v1+json' : 'application/vnd.dsse.envelope.v1+json';
      await attachTag(target, base, suffix, { type, content: '{}' });
      if (suffix === 'sig') await attachReferrer(target, base, NOTATION);
      const result = await convert();
      const listed = await referrersOf(result.tags[0]!.digest);
      expect(listed).toHaveLength(1);
      expect(new Set(result.referrers?.map(({ action }) => action))).toEqual(new Set(['linked']));
      await expect(target.resolve(`${referrerTag(result.tags[0]!.digest)}.${suffix}`)).rejects.toMatchObject({
        code: 'not-found',
      });
    },
  );

  it('of BuildKit, in the index, is linked from the accelerated index', async () => {
    await buildIndexLayout(layout.directory, 'base', [{ layers: [{ tar: smallTar(1) }] }, { attestation: true }]);
    await open();
    const result = await convert();
    expect(outcomes(result)).toEqual(['attestation index linked digest']);
    expect(await referrersOf(result.tags[0]!.digest)).toHaveLength(1);
    expect(await referrersOf(result.tags[0]!.manifests[0]!.digest)).toEqual([]);
  });
});

describe('a second run', () => {
  it('attaches nothing again, pushes nothing, and says so', async () => {
    const base = await target.resolve('base');
    await attachReferrer(target, base, SPDX);
    await attachReferrer(target, base, NOTATION);
    await attachTag(target, base, 'sbom', CYCLONEDX);
    const first = await convert();
    expect(first.referrers?.flatMap(({ made }) => made.map(({ upToDate }) => upToDate))).toEqual(Array(6).fill(false));
    const events: string[] = [];
    const second = await convertWithin(target, request({ copyReferrers: true }), {
      onEvent: ({ type }) => events.push(type),
    });
    expect(second.tags.every(({ upToDate }) => upToDate)).toBe(true);
    expect(second.referrers?.flatMap(({ made }) => made.map(({ upToDate }) => upToDate))).toEqual(Array(6).fill(true));
    expect(events).not.toContain('referrer');
    const digests = ({ referrers = [] }: ConvertResult) =>
      referrers.flatMap(({ made }) => made.map(({ digest }) => digest));
    expect(digests(second)).toEqual(digests(first));
  });

  it('attaches what came later to an image that is up to date', async () => {
    const base = await target.resolve('base');
    await convertWithin(target, request());
    await attachReferrer(target, base, SPDX);
    await attachTag(target, base, 'sbom', CYCLONEDX);
    const result = await convert();
    expect(result.tags.every(({ upToDate }) => upToDate)).toBe(true);
    await open();
    expect(await referrersOf(result.tags[0]!.digest)).toHaveLength(1);
    expect((await target.resolve(`${referrerTag(result.tags[0]!.digest)}.sbom`)).digest).toBe(
      result.referrers?.[1]?.made[0]?.digest,
    );
  });

  it('gives the same digests in another place', async () => {
    const base = await target.resolve('base');
    await attachReferrer(target, base, SPDX);
    await attachReferrer(target, base, NOTATION);
    const one = await convert();
    const made = async () => {
      const other = await testLayout([{ tar: smallTar(1) }]);
      try {
        target = (await openLayout(other.directory, { create: false })) as Place;
        await attachReferrer(target, await target.resolve('base'), NOTATION);
        await attachReferrer(target, await target.resolve('base'), SPDX);
        return await convert();
      } finally {
        await other.remove();
      }
    };
    expect((await made()).referrers).toEqual(one.referrers);
  });
});

it('without the option nothing is looked for', async () => {
  await attachReferrer(target, await target.resolve('base'), SPDX);
  const result = await convertWithin(target, request());
  expect(result.referrers).toBeUndefined();
  expect(await referrersOf(result.tags[0]!.digest)).toEqual([]);
});

it('a run without upload attaches nothing and says what it would', async () => {
  await attachReferrer(target, await target.resolve('base'), SPDX);
  const result = await convert({ noUpload: true });
  expect(outcomes(result)).toEqual(['sbom referrers copied content']);
  expect(await referrersOf(result.tags[0]!.digest)).toEqual([]);
});

it('a plan lists them', async () => {
  await attachReferrer(target, await target.resolve('base'), SPDX);
  const plan = await planConversion(request({ repository: `oci:${layout.directory}`, copyReferrers: true }));
  expect(plan.referrers).toMatchObject([{ kind: 'sbom', action: 'copied' }]);
});
