/** Pruning random repositories of real registries, with a model of what may go and of what a registry does. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RECORD_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import { digestOf } from '../../oci/digest.ts';
import { type RegistryProgram, startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { pruneByName } from './prune-by-name.ts';
import type { PruneReport } from './prune-repository.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const ACCEPT = { accept: `${MANIFEST}, ${INDEX}` };
const EMPTY = Buffer.from('{}');
const signal = new AbortController().signal;

/** An image by its number: an ordinary one, or one that accel made of another number. */
interface Content {
  readonly source?: number;
  readonly children?: readonly number[];
}
interface Repository {
  readonly contents: readonly Content[];
  readonly tags: Readonly<Record<string, number>>;
  /** Tags that come last: they move, or a person adds them. */
  readonly moved: Readonly<Record<string, number>>;
}

const NAMES = ['1', '2', 'mine'];
const SUFFIXES = ['', '_accelerated', '_containerd_accelerated'];
/** Sources of accelerated images; two are gone. */
const source = fc.constantFrom(0, 1, 2, 3, 77, 78);
/** Numbers 0 to 3 are ordinary images, 4 to 7 are accel's, 8 and 9 indexes of a person and of accel. */
const repositories: fc.Arbitrary<Repository> = fc.record({
  contents: fc
    .tuple(
      fc.array(source, { minLength: 4, maxLength: 4 }),
      fc.uniqueArray(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 2 }),
      fc.uniqueArray(fc.integer({ min: 4, max: 7 }), { minLength: 1, maxLength: 3 }),
      source,
    )
    .map(([sources, children, own, whole]) => [
      ...[{}, {}, {}, {}],
      ...sources.map((one) => ({ source: one })),
      ...[{ children }, { children: own, source: whole }],
    ]),
  tags: tagsOf(8),
  moved: tagsOf(2),
});

/** A repository with a tag that goes, and one that is as stale and stays, because a person's tag names its digest too. */
const BOTH: Repository = {
  contents: [
    ...[{}, {}, {}, {}],
    ...Array.from({ length: 4 }, () => ({ source: 0 })),
    { children: [4] },
    { children: [5] },
  ],
  tags: { '1': 1, '1_accelerated': 6, '2': 2, '2_accelerated': 7, mine: 7 },
  moved: {},
};

function tagsOf(maxKeys: number): fc.Arbitrary<Record<string, number>> {
  const name = fc.tuple(fc.constantFrom(...NAMES), fc.constantFrom(...SUFFIXES)).map((parts) => parts.join(''));
  return fc.dictionary(name, fc.integer({ min: 0, max: 9 }), { maxKeys });
}

describe.each<RegistryProgram>(['docker-registry', 'distribution-3'])('%s', (program) => {
  describeWith({ tools: [program] }, 'prune', () => {
    let registry: TestRegistry;
    let count = 0;
    beforeAll(async () => {
      registry = await startRegistry({ program });
    });
    afterAll(() => registry?.stop());

    const at = (name: string, path: string): string => `${registry.url}/v2/${name}/${path}`;
    const digestAt = async (name: string, tag: string): Promise<string | undefined> => {
      const answer = await fetch(at(name, `manifests/${tag}`), { method: 'HEAD', headers: ACCEPT });
      return answer.status === 200 ? answer.headers.get('docker-content-digest')! : undefined;
    };
    const put = async (name: string, tag: string, body: Uint8Array, type: string): Promise<void> => {
      const url = at(name, `manifests/${tag}`);
      const answer = await fetch(url, { method: 'PUT', headers: { 'content-type': type }, body: Buffer.from(body) });
      expect([answer.status, answer.status === 201 ? '' : await answer.text()]).toEqual([201, '']);
    };
    const prune = (name: string, more: Partial<Parameters<typeof pruneByName>[1]> = {}): Promise<PruneReport> => {
      const repository = `${registry.host}/${name}`;
      const registryOptions = { plain: true, env: { HOME: '/nonexistent' } };
      const choices = { bases: [repository], dryRun: false, concurrency: 4, signal };
      return pruneByName(repository, { ...choices, registry: registryOptions, ...more });
    };
    /** Pushes the contents and then the tags; the digests of the contents. */
    const build = async (name: string, { contents, tags, moved }: Repository): Promise<string[]> => {
      const start = await fetch(at(name, 'blobs/uploads/'), { method: 'POST' });
      const to = new URL(start.headers.get('location')!, registry.url);
      to.searchParams.set('digest', digestOf(EMPTY));
      expect((await fetch(to, { method: 'PUT', body: EMPTY })).status).toBe(201);
      const made = contentsOf(contents);
      for (const { bytes, type, digest } of made) await put(name, digest, bytes, type);
      for (const [tag, content] of [...Object.entries(tags), ...Object.entries(moved)]) {
        await put(name, tag, made[content]!.bytes, made[content]!.type);
      }
      return made.map(({ digest }) => digest);
    };

    it('takes exactly what nobody needs, of any repository', async () => {
      let [removals, refusals] = [0, 0];
      await fc.assert(
        fc.asyncProperty(repositories, async (repository) => {
          const name = `random/r${count++}`;
          const digests = await build(name, repository);
          const tags = { ...repository.tags, ...repository.moved };
          const { gone, stale } = modelOf(repository.contents, tags, digests);
          const planned = await prune(name, { dryRun: true });
          for (const [tag, content] of Object.entries(tags)) expect(await digestAt(name, tag)).toBe(digests[content]);
          const done = await prune(name);
          expect(done.problems).toEqual([]);
          expect(tagNames(planned.plan.removals)).toEqual([...gone].sort());
          expect(tagNames(done.removed)).toEqual([...gone].sort());
          removals += gone.size;
          refusals += stale - gone.size;
          // The rest is whole: its tag, and all that it leads to.
          for (const [tag, content] of Object.entries(tags)) {
            expect([tag, await digestAt(name, tag)]).toEqual([tag, gone.has(tag) ? undefined : digests[content]]);
            if (gone.has(tag)) continue;
            for (const child of repository.contents[content]!.children ?? [])
              expect([tag, child, await digestAt(name, digests[child]!)]).toEqual([tag, child, digests[child]]);
          }
          // A base is never removed, with or without a tag.
          for (const ordinary of [0, 1, 2, 3]) expect(await digestAt(name, digests[ordinary]!)).toBeDefined();
          expect((await prune(name)).removed).toEqual([]);
        }),
        { numRuns: 12, examples: [[BOTH]] },
      );
      expect(Math.min(removals, refusals)).toBeGreaterThan(0);
    });

    it('takes the manifests of the platforms with their index, unless something else has them', async () => {
      const contents: Content[] = [{}, {}, {}, {}, { source: 9 }, { source: 9 }, { source: 9 }, { source: 9 }];
      contents.push({ children: [5, 0] }, { children: [4, 5, 6], source: 77 });
      const tags = { other: 8, kept: 6, '1_accelerated': 9 };
      const digests = await build('platforms/app', { contents, tags, moved: {} });
      const planned = await prune('platforms/app', { dryRun: true });
      expect(planned.plan.removals).toEqual([
        { digest: digests[9], tags: [{ tag: '1_accelerated', reason: 'base-gone' }], children: [digests[4]] },
      ]);
      expect(await prune('platforms/app')).toMatchObject({ removed: planned.plan.removals, problems: [] });
      const left = await Promise.all([4, 5, 6, 9].map((number) => digestAt('platforms/app', digests[number]!)));
      expect(left.map((digest) => digest !== undefined)).toEqual([false, true, true, false]);
    });

    // Of a large repository only the tags of the digest, their bases and new ones are looked at before each removal.
    const sizes: [string, number][] = [['small', 0]];
    if (program === 'docker-registry') sizes.push(['large', 101]);
    describe.each(sizes)('a %s repository', (size, fillers) => {
      it.each([
        ['the tag moves', '9_accelerated', 0, 78],
        ['its base comes back', '9', 0, 0],
        ['its base moves back', '9', 0, 0],
        ['a person names its digest', 'prod', 4, 78],
        ['the index of a person takes it in', 'all', 8, 78],
        ...(fillers > 0 ? [] : [['the tag of a person moves to its digest', 'latest', 4, 78] as const]),
      ] as const)('is looked at again: %s after the plan', async (what, tag, number, source) => {
        const name = `race-${size}/${what.replace(/[^a-z]/g, '')}`;
        const contents: Content[] = [{}, {}, {}, {}, { source }, { source: 77 }, { source: 78 }, { source: 79 }];
        contents.push({ children: [4] }, {});
        const others = Object.fromEntries(Array.from({ length: fillers }, (_, index) => [`filler-${index}`, 3]));
        const moved = what === 'its base moves back' ? { 9: 1 } : {};
        const tags = { ...others, ...moved, latest: 2, '1_accelerated': 5, '2_accelerated': 6, '9_accelerated': 4 };
        const digests = await build(name, { contents, tags, moved: {} });
        const content = contentsOf(contents)[number]!;
        const removed: string[] = [];
        // While the first two are removed, something happens to the last.
        const done = await prune(name, {
          onRemoved: async ({ digest }) => {
            removed.push(digest);
            if (removed.length === 2) await put(name, tag, content.bytes, content.type);
          },
        });
        expect(removed).toEqual([digests[5], digests[6]]);
        expect(done.problems).toEqual([expect.stringContaining(`${digests[4]} is kept`)]);
        expect(await digestAt(name, digests[4]!)).toBe(digests[4]);
      });
    });

    it('an index of platforms under the name of a list of referrers needs its platforms', async () => {
      const contents: Content[] = [{}, {}, {}, {}, { source: 77 }, {}, {}, {}, { children: [4] }, {}];
      const list = digestOf(Buffer.from('any')).replace(':', '-');
      const digests = await build('named/app', { contents, tags: { '1_accelerated': 4, [list]: 8 }, moved: {} });
      expect((await prune('named/app')).removed).toEqual([]);
      expect(await digestAt('named/app', '1_accelerated')).toBe(digests[4]);
    });

    it('says before anything is done that the registry lets nothing be removed', async () => {
      const strict = await startRegistry({ program, deletes: false });
      const usual = registry;
      registry = strict;
      try {
        const contents: Content[] = [{}, { source: 77 }, { source: 78 }];
        await build('strict/app', { contents, tags: { '1_accelerated': 1, '2_accelerated': 2 }, moved: {} });
        const planned = await prune('strict/app', { dryRun: true });
        expect(planned.refusal).toBe('the registry does not let manifests be removed; HTTP 405');
        expect(planned.plan.removals).toHaveLength(2);
        const asked: string[] = [];
        const trace = ({ method, url }: { method: string; url: string }): void => {
          if (method === 'DELETE') asked.push(url.split('@').at(-1)!.split('/').at(-1)!);
        };
        const refused = prune('strict/app', { registry: { plain: true, env: { HOME: '/nonexistent' }, trace } });
        await expect(refused).rejects.toMatchObject({ code: 'registry-error' });
        // One question, about nothing that exists.
        expect(asked).toHaveLength(1);
        expect(planned.plan.removals.map(({ digest }) => digest)).not.toContain(asked[0]);
      } finally {
        registry = usual;
        await strict.stop();
      }
    });

    it('drops what lists of referrers say of removed images, and keeps signatures', async () => {
      const subject = digestOf(Buffer.from('a base that is gone'));
      const accelerated = manifestOf(1, { source: 88 }, subject);
      const orphan = manifestOf(2, { source: 88 }, subject);
      const signature = manifestOf(3, {}, subject);
      // Its entry says that accel made it; the manifest does not.
      const liar = { ...manifestOf(5, {}, subject), annotations: orphan.annotations };
      const [present] = await build('refer/app', { contents: [{}], tags: { other: 0 }, moved: {} });
      const wanted = manifestOf(4, { source: 88 }, present!);
      for (const { bytes, digest } of [accelerated, orphan, signature, liar, wanted])
        await put('refer/app', digest, bytes, MANIFEST);
      await put('refer/app', '1_accelerated', accelerated.bytes, MANIFEST);
      const list = subject.replace(':', '-');
      const listing = (...entries: (typeof accelerated)[]): Buffer =>
        Buffer.from(
          JSON.stringify({
            schemaVersion: 2,
            mediaType: INDEX,
            manifests: entries.map(({ bytes, digest, annotations }) => {
              return { mediaType: MANIFEST, digest, size: bytes.length, annotations };
            }),
          }),
        );
      await put('refer/app', list, listing(accelerated, orphan, signature, liar), INDEX);
      const alone = digestOf(Buffer.from('another')).replace(':', '-');
      await put('refer/app', alone, listing(orphan), INDEX);

      // Without a tag, but its subject is there.
      await put('refer/app', present!.replace(':', '-'), listing(wanted), INDEX);
      const planned = await prune('refer/app', { dryRun: true });
      expect(planned.referrers).toEqual({ untagged: [orphan.digest, orphan.digest], entries: 3 });
      expect(await prune('refer/app')).toMatchObject({
        referrers: { untagged: [orphan.digest], entries: 3 },
        problems: [],
      });
      const left = (await (await fetch(at('refer/app', `manifests/${list}`), { headers: ACCEPT })).json()) as {
        manifests: { digest: string }[];
      };
      expect(left.manifests.map(({ digest }) => digest)).toEqual([signature.digest, liar.digest]);
      expect(await digestAt('refer/app', alone)).toBeUndefined();
      expect(await digestAt('refer/app', wanted.digest)).toBe(wanted.digest);
      expect(await digestAt('refer/app', present!.replace(':', '-'))).toBeDefined();
      expect(await digestAt('refer/app', orphan.digest)).toBeUndefined();
      for (const { digest } of [signature, liar]) expect(await digestAt('refer/app', digest)).toBe(digest);
    });

    it('says that nothing is known of bases that were never here, unless somebody says so', async () => {
      const repository = { contents: [{}, { source: 77 }], tags: { '1_accelerated': 1, note: 0 }, moved: {} };
      await build('target/app', repository);
      const reasons = async (bases: string[]): Promise<string[]> => {
        const { plan } = await prune('target/app', { dryRun: true, bases });
        return [...plan.kept, ...plan.removals.flatMap(({ tags }) => tags)].map(
          ({ tag, reason }) => `${tag} ${reason}`,
        );
      };
      expect(await reasons([])).toEqual(['1_accelerated base-unknown', 'note not-ours']);
      expect(await reasons([`${registry.host}/target/app`])).toEqual(['note not-ours', '1_accelerated base-gone']);
      // A repository without any tag may be one that this user may not see.
      expect(await reasons([`${registry.host}/target/nothing`])).toEqual([
        '1_accelerated base-unknown',
        'note not-ours',
      ]);
    });

    it('goes by the time of the image, and keeps what has none', async () => {
      const name = 'ages/app';
      await build(name, { contents: [{}], tags: { other: 0 }, moved: {} });
      const days = (number: number): string => new Date(Date.now() - number * 86_400_000).toISOString();
      const times: [string, string | undefined][] = [
        ['old', days(100)],
        ['new', days(2)],
        ['none', undefined],
        ['epoch', '1970-01-01T00:00:00Z'],
        ['buildpack', '1980-01-01T00:00:01Z'],
      ];
      for (const [index, [tag, created]] of times.entries()) {
        const { bytes } = manifestOf(index, { source: 60 + index }, undefined, created);
        await put(name, `${tag}_accelerated`, bytes, MANIFEST);
      }
      const byAge = await prune(name, { dryRun: true, olderThan: 30 * 86_400_000 });
      expect(tagNames(byAge.plan.removals)).toEqual(['old_accelerated']);
      const reasons = Object.fromEntries(byAge.plan.kept.map(({ tag, reason }) => [tag, reason]));
      expect(reasons).toMatchObject({ new_accelerated: 'too-young', none_accelerated: 'unknown-age' });
      expect([reasons.epoch_accelerated, reasons.buildpack_accelerated]).toEqual(['unknown-age', 'unknown-age']);
      const byCount = await prune(name, { dryRun: true, keepLast: 1 });
      expect(tagNames(byCount.plan.removals)).toEqual(['old_accelerated']);
    });
  });
});

function tagNames(removals: PruneReport['removed']): string[] {
  return removals.flatMap(({ tags }) => tags.map(({ tag }) => tag)).sort();
}

interface Made {
  readonly bytes: Buffer;
  readonly type: string;
  readonly digest: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The digest of a content, or one of a base that is not there for a number that none has. */
function sourceDigest(source: number, made: readonly Made[]): string {
  return made[source]?.digest ?? digestOf(Buffer.from(`gone ${source}`));
}

function contentsOf(contents: readonly Content[]): Made[] {
  const made: Made[] = [];
  for (const [number, content] of contents.entries()) {
    if (content.children === undefined) {
      made.push(manifestOf(number, { ...content, digests: made }));
      continue;
    }
    const annotations = annotationsOf({ ...content, digests: made });
    const manifests = content.children.map((child) => {
      const { type: mediaType, digest, bytes } = made[child]!;
      return { mediaType, digest, size: bytes.length, platform: { os: 'linux', architecture: `a${child}` } };
    });
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests, annotations }));
    made.push({ bytes, type: INDEX, digest: digestOf(bytes), annotations });
  }
  return made;
}

function annotationsOf({ source, digests = [] }: { readonly source?: number; readonly digests?: readonly Made[] }) {
  if (source === undefined) return {};
  const of = sourceDigest(source, digests);
  return { [RECORD_ANNOTATION.sourceDigest]: of, [RECORD_ANNOTATION.mode]: 'full', [RECORD_ANNOTATION.version]: '1' };
}

/** A manifest that differs from that of any other number. */
function manifestOf(
  number: number,
  content: { readonly source?: number; readonly digests?: readonly Made[] },
  subject?: string,
  created?: string,
): Made {
  const annotations = { ...annotationsOf(content), number: `${number}` };
  const blob = { digest: digestOf(EMPTY), size: EMPTY.length };
  const time = created === undefined ? {} : { 'org.opencontainers.image.created': created };
  const bytes = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: MANIFEST, config: { mediaType: 'application/vnd.test.config', ...blob } },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...blob }],
      ...(subject === undefined ? {} : { subject: { mediaType: MANIFEST, digest: subject, size: 7 } }),
      annotations: { ...annotations, ...time },
    }),
  );
  return { bytes, type: MANIFEST, digest: digestOf(bytes), annotations };
}

/** Computes the tags that may go: the largest set of stale tags of accel such that nothing outside of it needs one of their digests. */
function modelOf(
  contents: readonly Content[],
  tags: Readonly<Record<string, number>>,
  digests: readonly string[],
): { readonly gone: Set<string>; readonly stale: number } {
  const isOurs = (tag: string): boolean => contents[tags[tag]!]!.source !== undefined;
  const basesOf = (tag: string): string[] =>
    isOurs(tag)
      ? ['_accelerated', '_containerd_accelerated']
          .filter((end) => tag.endsWith(end))
          .map((end) => tag.slice(0, -end.length))
      : [];
  const leadsTo = (tag: string): (string | undefined)[] => [
    digests[tags[tag]!],
    ...(contents[tags[tag]!]!.children ?? []).map((child) => digests[child]),
  ];
  const names = Object.keys(tags);
  const gone = new Set(
    names.filter((tag) => {
      const bases = basesOf(tag);
      const source = sourceDigest(contents[tags[tag]!]!.source ?? 99, digests.map((digest) => ({ digest })) as Made[]);
      const present = bases.filter((base) => base in tags);
      if (bases.length === 0 || names.some((other) => basesOf(other).includes(tag))) return false;
      if (present.some((base) => leadsTo(base).includes(source))) return false;
      return present.length > 0 || !names.some((other) => other !== tag && leadsTo(other).includes(source));
    }),
  );
  const stale = gone.size;
  for (let size = -1; size !== gone.size; ) {
    size = gone.size;
    const needed = new Set(names.filter((tag) => !gone.has(tag)).flatMap(leadsTo));
    for (const tag of gone) if (needed.has(digests[tags[tag]!])) gone.delete(tag);
  }
  return { gone, stale };
}
