/** Tests what a referrer is, and lists and documents that are damaged, missing or too large: anybody may attach anything. */
import { beforeEach, describe, expect, it } from 'vitest';
import { attachReferrer, attachTag } from '../tests/support/attach.ts';
import type { Descriptor } from './descriptor.ts';
import { digestOf } from './digest.ts';
import { listReferrersOf, MAX_REFERRERS } from './list-referrers.ts';
import { encodeJson, MAX_MANIFEST_SIZE } from './manifest.ts';
import { OCI } from './media-types.ts';
import { MemoryTarget } from './memory-target.ts';
import { aboutOf, type KindFacts, referrerKind } from './referrer-kinds.ts';
import { referrerTag } from './referrers.ts';

const SPDX = 'application/spdx+json';
const COSIGN = 'application/vnd.dev.cosign.simplesigning.v1+json';
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const SARIF = 'application/sarif+json';
const layers = (...types: string[]): KindFacts['layers'] =>
  types.map((mediaType) => ({ mediaType, digest: digestOf(Buffer.from(mediaType)), size: 1 }));

describe('the kind of a referrer', () => {
  it.each<[string, KindFacts, string, string]>([
    ['a bill of materials', { layers: layers(SPDX) }, 'sbom', 'content'],
    ['two of them', { layers: layers(SPDX, 'text/spdx') }, 'sbom', 'content'],
    ['one with something else after it', { layers: layers(SPDX, SARIF) }, 'other', 'unknown'],
    ['one with something else before it', { layers: layers(SARIF, SPDX) }, 'other', 'unknown'],
    ['one with a signature', { layers: layers(SPDX, COSIGN) }, 'signature', 'digest'],
    ['one with a statement', { layers: layers('application/vnd.in-toto+json', SPDX) }, 'attestation', 'digest'],
    ['one by its artifactType alone', { artifactType: SPDX, layers: layers(SARIF) }, 'other', 'unknown'],
    ['no layer', { artifactType: SPDX, layers: [] }, 'other', 'unknown'],
    ['a type with parameters and capitals', { layers: layers('Application/SPDX+json; v=2') }, 'sbom', 'content'],
    ['a bundle without a predicate', { artifactType: BUNDLE, layers: layers(BUNDLE) }, 'attestation', 'digest'],
    ['a signature of notation', { artifactType: 'application/vnd.cncf.notary.signature' }, 'signature', 'digest'],
  ])('%s', (_, facts, kind, about) => {
    expect([referrerKind(facts), aboutOf(referrerKind(facts))]).toEqual([kind, about]);
  });
});

/** A place whose list of referrers anybody may write, and whose blobs may be damaged. */
class Hostile extends MemoryTarget {
  listed: readonly Descriptor[] = [];
  readonly damaged = new Set<string>();

  override async referrers(): Promise<readonly Descriptor[]> {
    return this.listed;
  }

  override async fetch(descriptor: Descriptor): Promise<AsyncIterable<Uint8Array>> {
    if (!this.damaged.has(descriptor.digest)) return super.fetch(descriptor);
    const bytes = Buffer.alloc(descriptor.size, 0x20);
    return (async function* () {
      yield bytes;
    })();
  }
}

describe('a list of referrers', () => {
  let place: Hostile;
  let subject: Descriptor;
  let sound: Descriptor;
  beforeEach(async () => {
    place = new Hostile();
    subject = place.put(OCI.index, encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests: [] }));
    sound = await attachReferrer(place, subject, { type: SPDX, artifactType: SPDX, content: '{}' });
  });

  const list = async () => {
    const { found, unread, problem } = await listReferrersOf(place, subject);
    return {
      found: new Map(found.map((one) => [one.digest, one])),
      count: found.length,
      unread,
      problem,
    };
  };

  it('keeps what is damaged, with the reason, beside what is sound', async () => {
    const large = { mediaType: OCI.manifest, digest: digestOf(Buffer.from('large')), size: MAX_MANIFEST_SIZE + 1 };
    const gone = { ...large, digest: digestOf(Buffer.from('gone')), size: 10, artifactType: COSIGN };
    const text = place.put(OCI.manifest, Buffer.from('no JSON'));
    const nothing = place.put(OCI.manifest, Buffer.from('null'));
    const blob = { ...gone, mediaType: 'application/octet-stream' };
    const image = place.put(
      OCI.manifest,
      encodeJson({ schemaVersion: 2, mediaType: OCI.manifest, config: 7, layers: 'x' }),
    );
    const flipped = await attachReferrer(place, subject, { type: SPDX, content: 'other' });
    place.damaged.add(flipped.digest);
    place.listed = [sound, sound, large, text, nothing, image, flipped, gone];
    const { found, count, unread, problem } = await list();
    expect([count, unread, problem]).toEqual([7, 0, undefined]);
    expect(found.get(sound.digest)).toMatchObject({ kind: 'sbom', via: 'referrers', size: 4 });
    expect(found.get(sound.digest)!.problem).toBeUndefined();
    for (const { digest } of [large, text, nothing, image, flipped]) {
      expect(found.get(digest)).toMatchObject({ kind: 'other', about: 'unknown', problem: expect.any(String) });
    }
    // The list says the type of what cannot be read.
    expect(found.get(gone.digest)).toMatchObject({ kind: 'signature', problem: 'its manifest is gone' });
    place.listed = [blob];
    expect((await list()).found.get(blob.digest)!.problem).toBe('no manifest but application/octet-stream');
  });

  it('is read to its limit, in the order of digests, and says how many are left', async () => {
    const many = Array.from({ length: MAX_REFERRERS + 7 }, (_, at) => ({
      mediaType: OCI.manifest,
      digest: digestOf(Buffer.from(`referrer ${at}`)),
      size: 10,
    }));
    place.listed = many;
    const { found, count, unread } = await list();
    expect([count, unread]).toEqual([MAX_REFERRERS, 7]);
    const sorted = many.map(({ digest }) => digest).sort();
    expect([...found.keys()]).toEqual(sorted.slice(0, MAX_REFERRERS));
  });

  it('that cannot be read is a problem, and what tags of cosign name is found all the same', async () => {
    class Unreadable extends Hostile {
      override referrers(): Promise<readonly Descriptor[]> {
        return MemoryTarget.prototype.referrers.call(this, subject);
      }
    }
    const other = new Unreadable();
    const bytes = Buffer.from('{"schemaVersion": 2, "manifests": "none"');
    const broken = other.put(OCI.index, bytes);
    await other.tag(broken, referrerTag(subject.digest));
    await attachTag(other, subject, 'sig', { type: COSIGN, content: '{}' });
    const junk = other.put(OCI.manifest, Buffer.from('junk'));
    await other.tag(junk, `${referrerTag(subject.digest)}.att`);
    const { found, problem } = await listReferrersOf(other, subject);
    expect(problem).toEqual(expect.any(String));
    expect(
      found.map(({ via, tag, kind, problem: own }) => [via, tag?.split('.').at(-1), kind, own !== undefined]),
    ).toEqual([
      ['tag', 'sig', 'signature', false],
      ['tag', 'att', 'other', true],
    ]);
  });
});
