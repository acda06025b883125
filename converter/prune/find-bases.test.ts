/** Each rule by which the state of a base is known, in the repository itself and in others. */
import { describe, expect, it } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { encodeJson } from '../../oci/manifest.ts';
import { OCI } from '../../oci/media-types.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { BaseFinder, type BaseFinderOptions } from './find-bases.ts';
import type { TagFacts } from './plan-prune.ts';
import type { RepositoryTags } from './read-tags.ts';

const OWN = 'r.test/fast/app';

/** A repository that lists a tag which is gone. */
class Listing extends MemoryTarget {
  override async tags(): Promise<readonly string[]> {
    return [...(await super.tags()), 'lost'];
  }
}

async function put(target: MemoryTarget, name: string, document: object, mediaType: string): Promise<Descriptor> {
  const bytes = encodeJson({ schemaVersion: 2, mediaType, annotations: { name }, ...document });
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await target.push(descriptor, bytesSource(bytes));
  return descriptor;
}

async function putImage(target: MemoryTarget, name: string): Promise<Descriptor> {
  const bytes = encodeJson({});
  const config = { mediaType: OCI.config, digest: digestOf(bytes), size: bytes.length };
  await target.push(config, bytesSource(bytes));
  return put(target, name, { config, layers: [] }, OCI.manifest);
}

const facts = (tag: string, digest: string, more: Partial<TagFacts> = {}): TagFacts => ({
  tag,
  digest,
  children: [],
  ...more,
});
const ours = (tag: string, sourceDigest: string): TagFacts =>
  facts(tag, `of ${sourceDigest}`, { record: { sourceDigest, mode: 'full', options: '', version: '1' } });
const listed = (tags: readonly TagFacts[], broken: readonly string[] = []): RepositoryTags => ({
  tags,
  byTag: new Map(tags.map((one) => [one.tag, one])),
  broken,
});

async function find(tag: string, own: RepositoryTags, more: Partial<BaseFinderOptions> = {}) {
  const finder = new BaseFinder({
    target: new MemoryTarget(OWN),
    sources: [OWN],
    open: (repository) => Promise.reject(new Error(`nobody opens ${repository}`)),
    pace: () => Promise.resolve(),
    signal: new AbortController().signal,
    ...more,
  });
  const found = await finder.find(tag, own);
  await finder.close();
  return found;
}

describe('in the repository itself', () => {
  it('is what its tag names, with the images of an index', async () => {
    const own = listed([facts('1', 'i', { children: ['a', 'b'] })], ['2']);
    expect(await find('1', own)).toEqual({ state: 'present', digests: ['i', 'a', 'b'] });
    expect(await find('3', own)).toEqual({ state: 'gone' });
    // Listed, and cannot be read.
    expect(await find('2', own)).toEqual({ state: 'unknown' });
  });

  it('is not gone where nothing shows that bases ever were there', async () => {
    const own = listed([ours('1_accelerated', `sha256:${'1'.repeat(64)}`), ours('2', 'x')]);
    expect(await find('1', own, { isAssumed: true })).toEqual({ state: 'unknown' });
    expect(await find('1', own, { isAssumed: false })).toEqual({ state: 'gone' });
    // An accelerated image under the name of a base is no base.
    const both = listed([...own.tags, ours('2_accelerated', `sha256:${'2'.repeat(64)}`)]);
    expect(await find('1', both, { isAssumed: true })).toEqual({ state: 'unknown' });
  });

  it('is gone where a base of another tag is there, or an image that one was made from', async () => {
    const gone = `sha256:${'1'.repeat(64)}`;
    const byTag = listed([ours('1_accelerated', gone), ours('2_accelerated', gone), facts('2', 'moved')]);
    expect(await find('1', byTag, { isAssumed: true })).toEqual({ state: 'gone' });
    const target = new MemoryTarget(OWN);
    const { digest } = await putImage(target, 'source');
    const byDigest = listed([ours('1_accelerated', gone), ours('2_accelerated', digest)]);
    expect(await find('1', byDigest, { isAssumed: true, target })).toEqual({ state: 'gone' });
    expect(await find('1', byDigest, { isAssumed: true })).toEqual({ state: 'unknown' });
  });
});

describe('in another repository', () => {
  const bases = 'r.test/team/app';
  const own = listed([ours('1_accelerated', 'x')]);
  const others = async () => {
    const target = new Listing(bases);
    const image = await putImage(target, 'one');
    await target.tag(image, '1');
    const index = await put(target, 'index', { manifests: [image] }, OCI.index);
    await target.tag(index, 'index');
    return { image, index, more: { sources: [bases], open: () => Promise.resolve(target) } };
  };

  it('is what its tag names there', async () => {
    const { image, index, more } = await others();
    expect(await find('1', own, more)).toEqual({ state: 'present', digests: [image.digest] });
    expect(await find('index', own, more)).toEqual({ state: 'present', digests: [index.digest, image.digest] });
    expect(await find('2', own, more)).toEqual({ state: 'gone' });
    expect(await find('lost', own, more)).toEqual({ state: 'unknown' });
  });

  it('is not known where no tag is listed: this user may not see the repository', async () => {
    const open = () => Promise.resolve(new MemoryTarget(bases));
    expect(await find('1', own, { sources: [bases], open })).toEqual({ state: 'unknown' });
  });

  it('is present where one of several has it, and not known where one of them is not', async () => {
    const { image, more } = await others();
    const here = listed([...own.tags, facts('1', 'd')]);
    expect(await find('1', here, { ...more, sources: [OWN, bases] })).toEqual({
      state: 'present',
      digests: ['d', image.digest],
    });
    expect(await find('lost', listed([facts('lost', 'd')]), { ...more, sources: [OWN, bases] })).toEqual({
      state: 'unknown',
    });
    expect(await find('1', here, { sources: [] })).toEqual({ state: 'unknown' });
  });

  it('is pending where any of them is about to be converted, and not known before that', async () => {
    const { more } = await others();
    const pending = async () => (image: string) => image === `${bases}:2` || image === `${bases}:lost`;
    const sources = [OWN, bases];
    expect(await find('2', listed([facts('2', 'd')]), { ...more, sources, pending })).toEqual({ state: 'pending' });
    const unknown = listed([], ['2']);
    expect(await find('2', unknown, { ...more, sources, pending })).toEqual({ state: 'unknown' });
  });
});

it('asks each repository once for a plan, and again for the next', async () => {
  let lists = 0;
  const target = new (class extends MemoryTarget {
    override tags(): Promise<readonly string[]> {
      lists += 1;
      return Promise.resolve(['other']);
    }
  })('r.test/team/app');
  const finder = new BaseFinder({
    target: new MemoryTarget(OWN),
    sources: ['r.test/team/app'],
    open: () => Promise.resolve(target),
    pace: () => Promise.resolve(),
    signal: new AbortController().signal,
  });
  const [plan, next] = [listed([]), listed([])];
  for (const tag of ['1', '2']) expect(await finder.find(tag, plan)).toEqual({ state: 'gone' });
  expect(lists).toBe(1);
  await finder.find('1', next);
  expect(lists).toBe(2);
});
