/** The plan against random repositories and a model of what a registry does when a manifest is removed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ConversionRecord } from '../publish/record-annotations.ts';
import { type BaseFacts, type PruneInput, type PrunePlan, planPrune, type TagFacts } from './plan-prune.ts';

const record = (sourceDigest: string, mode: ConversionRecord['mode'] = 'full'): ConversionRecord => ({
  sourceDigest,
  mode,
  options: '',
  version: '1',
});
const facts = (tag: string, digest: string, more: Partial<TagFacts> = {}): TagFacts => ({
  tag,
  digest,
  children: [],
  ...more,
});

/** Bases are in the repository itself unless given. */
function plan(tags: readonly TagFacts[], more: Partial<PruneInput> = {}): PrunePlan {
  const base = (tag: string): BaseFacts => {
    const found = tags.find((one) => one.tag === tag);
    return found === undefined
      ? { state: 'gone' }
      : { state: 'present', digests: [found.digest, ...(found.children ?? [])] };
  };
  return planPrune({ tags, base, now: 1_000_000, ...more });
}

const removed = ({ removals }: PrunePlan): string[] =>
  removals.flatMap(({ tags }) => tags.map(({ tag, reason }) => `${tag} ${reason}`));
const kept = ({ kept: list }: PrunePlan): string[] =>
  list.map(({ tag, reason, by }) => `${tag} ${reason}${by === undefined ? '' : ` ${by}`}`);
const ours = (tag: string, digest: string, source: string, mode?: ConversionRecord['mode']): TagFacts =>
  facts(tag, digest, { record: record(source, mode) });

describe('a tag', () => {
  it.each<[string, readonly TagFacts[], readonly string[], readonly string[]]>([
    ['whose base is gone', [ours('1_accelerated', 'a', 's')], ['1_accelerated base-gone'], []],
    [
      'whose base moved',
      [facts('1', 't'), ours('1_accelerated', 'a', 's')],
      ['1_accelerated base-moved'],
      ['1 not-ours'],
    ],
    [
      'whose base is as it was',
      [facts('1', 's'), ours('1_accelerated', 'a', 's')],
      [],
      ['1 not-ours', '1_accelerated base-current'],
    ],
    [
      'made from one image of an index',
      [facts('1', 'i', { children: ['s'] }), ours('1_accelerated', 'a', 's')],
      [],
      ['1 not-ours', '1_accelerated base-current'],
    ],
    ['of a person, that looks like ours', [facts('mine_accelerated', 'a')], [], ['mine_accelerated not-ours']],
    ['of ours under a name of its own', [ours('fast', 'a', 's')], [], ['fast other-name']],
    ['that is all suffix', [ours('_accelerated', 'a', 's')], [], ['_accelerated other-name']],
    [
      'of containerd under the other suffix',
      [ours('1_accelerated', 'a', 's', 'containerd')],
      [],
      ['1_accelerated other-name'],
    ],
    [
      'of a base that ends in _containerd',
      [facts('1_containerd', 's'), ours('1_containerd_accelerated', 'a', 's')],
      [],
      ['1_containerd not-ours', '1_containerd_accelerated base-current'],
    ],
    [
      'of containerd that holds a full image',
      [facts('1', 's'), ours('1_containerd_accelerated', 'a', 's')],
      [],
      ['1 not-ours', '1_containerd_accelerated base-current'],
    ],
    [
      'that is a base itself',
      [ours('1_accelerated', 'a', 's'), ours('1_accelerated_accelerated', 'b', 'a')],
      [],
      ['1_accelerated is-base 1_accelerated_accelerated', '1_accelerated_accelerated base-current'],
    ],
    [
      'whose digest a person has tagged, too',
      [ours('1_accelerated', 'a', 's'), ours('prod', 'a', 's')],
      [],
      ['1_accelerated shared-digest prod', 'prod other-name'],
    ],
    [
      'whose digest another conversion needs',
      [facts('1', 't'), facts('2', 's'), ours('1_accelerated', 'a', 's'), ours('2_accelerated', 'a', 's')],
      [],
      ['1 not-ours', '2 not-ours', '1_accelerated shared-digest 2_accelerated', '2_accelerated base-current'],
    ],
    [
      'in an index of a person',
      [ours('1_accelerated', 'a', 's'), facts('all', 'i', { children: ['a'] })],
      [],
      ['1_accelerated needed-by-index all', 'all not-ours'],
    ],
    [
      'in an index of ours that goes as well',
      [ours('1_accelerated', 'a', 's'), facts('2_accelerated', 'i', { record: record('s'), children: ['a'] })],
      ['1_accelerated base-gone', '2_accelerated base-gone'],
      [],
    ],
    [
      'whose base tag is gone while another tag names what it was made from',
      [facts('latest', 's'), ours('mine_accelerated', 'a', 's')],
      [],
      ['latest not-ours', 'mine_accelerated source-tagged latest'],
    ],
    [
      'whose base moved while another tag names what it was made from',
      [facts('1', 't'), facts('old', 's'), ours('1_accelerated', 'a', 's')],
      ['1_accelerated base-moved'],
      ['1 not-ours', 'old not-ours'],
    ],
    [
      'in a list of referrers',
      [ours('1_accelerated', 'a', 's'), facts('sha256-s', 'l', { children: ['a', 'c'], listed: ['a'] })],
      ['1_accelerated base-gone'],
      ['sha256-s referrer-list'],
    ],
    [
      'whose source a list of referrers names alone',
      [ours('1_accelerated', 'a', 's'), facts('sha256-x', 'l', { children: ['s'], listed: [] })],
      ['1_accelerated base-gone'],
      ['sha256-x referrer-list'],
    ],
    [
      'beside a list of referrers that cannot be read',
      [ours('1_accelerated', 'a', 's'), facts('sha256-x', 'l', { children: undefined, listed: [] })],
      ['1_accelerated base-gone'],
      ['sha256-x referrer-list'],
    ],
    ['of the record of layers', [facts('accel-cache', 'r')], [], ['accel-cache layer-record']],
    [
      'in an index of ours that an index of a person needs',
      [
        facts('all', 'j', { children: ['i'] }),
        facts('1_accelerated', 'i', { record: record('s'), children: ['a'] }),
        ours('2_accelerated', 'a', 't'),
      ],
      [],
      ['all not-ours', '1_accelerated needed-by-index all', '2_accelerated needed-by-index 1_accelerated'],
    ],
    [
      'beside an index that cannot be read',
      [ours('1_accelerated', 'a', 's'), facts('odd', 'i', { children: undefined })],
      [],
      ['1_accelerated unreadable-index odd', 'odd not-ours'],
    ],
  ])('%s', (_, tags, gone, stays) => {
    const result = plan(tags);
    expect(removed(result)).toEqual(gone);
    expect(kept(result)).toEqual(stays);
  });

  it.each(['pending', 'unknown'] as const)('whose base is %s is left alone', (state) => {
    const result = plan([ours('1_accelerated', 'a', 's')], { base: () => ({ state }) });
    expect(kept(result)).toEqual([`1_accelerated base-${state}`]);
  });
});

describe('ages', () => {
  const tags = [
    facts('1_accelerated', 'a', { record: record('s1'), built: 100 }),
    facts('1_containerd_accelerated', 'b', { record: record('s1', 'containerd'), built: 100 }),
    facts('2_accelerated', 'c', { record: record('s2'), built: 900_000 }),
    facts('3_accelerated', 'd', { record: record('s3') }),
  ];

  it('keeps an image that is younger, and one that has no age', () => {
    const result = plan(tags, { olderThan: 200_000 });
    expect(removed(result)).toEqual(['1_accelerated base-gone', '1_containerd_accelerated base-gone']);
    expect(kept(result)).toEqual(['2_accelerated too-young', '3_accelerated unknown-age']);
  });

  it('keeps the youngest images, with both of their tags', () => {
    const result = plan(tags, { keepLast: 1 });
    expect(removed(result)).toEqual(['1_accelerated base-gone', '1_containerd_accelerated base-gone']);
    expect(kept(result)).toEqual(['2_accelerated keep-last', '3_accelerated unknown-age']);
    expect(removed(plan(tags, { keepLast: 2 }))).toEqual([]);
    expect(removed(plan(tags, { keepLast: 0 }))).toHaveLength(4);
  });

  it('keeps what is younger, and not what is as old', () => {
    const [old] = tags;
    expect(removed(plan([old!], { olderThan: 1_000_000 - 100 }))).toEqual(['1_accelerated base-gone']);
    expect(removed(plan([old!], { olderThan: 1_000_000 - 99 }))).toEqual([]);
  });

  it('takes the age of an image from its younger tag, and the digest where ages are the same', () => {
    const of = (tag: string, source: string, built: number) =>
      facts(tag, tag, { record: record(source, 'full'), built });
    const twice = [
      of('1_accelerated', 's1', 100),
      of('1_containerd_accelerated', 's1', 900),
      of('2_accelerated', 's2', 500),
    ];
    expect(removed(plan(twice, { keepLast: 1 }))).toEqual(['2_accelerated base-gone']);
    const same = [of('2_accelerated', 's2', 500), of('1_accelerated', 's1', 500)];
    for (const order of [same, [...same].reverse()])
      expect(removed(plan(order, { keepLast: 1 }))).toEqual(['2_accelerated base-gone']);
  });

  it('goes with its children also where a list of referrers names them', () => {
    const index = facts('1_accelerated', 'i', { record: record('s'), children: ['c'] });
    const list = facts('sha256-i', 'l', { children: ['c'], listed: ['c'] });
    expect(plan([index, list]).removals).toMatchObject([{ digest: 'i', children: ['c'] }]);
  });

  it('goes with the children that nothing else leads to', () => {
    const index = facts('1_accelerated', 'i', { record: record('s'), children: ['a', 'b', 'c', 'd'] });
    const others = [facts('all', 'j', { children: ['b'] }), facts('one', 'c'), ours('2_accelerated', 'd', 't')];
    expect(plan([index, ...others]).removals).toMatchObject([
      { digest: 'i', children: ['a'] },
      { digest: 'd', children: [] },
    ]);
    // Two indexes that both go: the children go once.
    const twice = facts('3_accelerated', 'k', { record: record('t'), children: ['a', 'e'] });
    expect(plan([index, twice]).removals.map(({ children }) => children)).toEqual([['a', 'b', 'c', 'd'], ['e']]);
  });
});

/** Few names and digests, so that they meet. */
const NAMES = ['1', '1_containerd', '2', 'mine'];
const SUFFIXES = ['', '_accelerated', '_containerd_accelerated', '_accelerated_accelerated'];
const digest = fc.constantFrom(...'abcdefghijklmnop');
const content = fc.record({
  children: fc.option(fc.uniqueArray(digest, { maxLength: 3 }), { nil: undefined, freq: 60 }),
  source: fc.option(digest),
  mode: fc.constantFrom<ConversionRecord['mode']>('full', 'containerd', 'index-only'),
  built: fc.option(fc.integer({ min: 0, max: 1_000_000 }), { nil: undefined }),
});
const repository = fc
  .record({
    tags: fc.uniqueArray(
      fc
        .tuple(fc.constantFrom(...NAMES), fc.constantFrom(...SUFFIXES), digest)
        .map(([name, suffix, of]) => ({ tag: name + suffix, digest: of })),
      { selector: ({ tag }) => tag, maxLength: 12 },
    ),
    contents: fc.dictionary(digest, content),
    elsewhere: fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom('pending' as const, 'unknown' as const), {
      maxKeys: 1,
    }),
    olderThan: fc.option(fc.integer({ min: 0, max: 1_000_000 }), { nil: undefined }),
    keepLast: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
  })
  .map(({ tags, contents, elsewhere, olderThan, keepLast }) => {
    const all = tags.map(({ tag, digest: of }): TagFacts => {
      const found = contents[of];
      if (found === undefined) return facts(tag, of);
      const { children, source, mode, built } = found;
      return facts(tag, of, {
        children,
        ...(source === null ? {} : { record: record(source, mode) }),
        ...(built === undefined ? {} : { built }),
      });
    });
    return { all, elsewhere, olderThan, keepLast };
  });

const isOurs = ({ tag, record: made }: TagFacts): boolean =>
  made !== undefined && (made.mode === 'containerd' ? /.+_containerd_accelerated$/ : /.+_accelerated$/).test(tag);
const namesOf = ({ tag, record: made }: TagFacts): string[] => [
  ...(made?.mode === 'containerd' ? [] : [tag.replace(/_accelerated$/, '')]),
  ...(/.+_containerd_accelerated$/.test(tag) ? [tag.replace(/_containerd_accelerated$/, '')] : []),
];

it('of any repository takes nothing that somebody needs, and leaves nothing for no reason', () => {
  let removals = 0;
  fc.assert(
    fc.property(repository, ({ all, elsewhere, olderThan, keepLast }) => {
      const stateOf = (name: string): BaseFacts => {
        const override = elsewhere[name];
        if (override !== undefined) return { state: override };
        const found = all.find(({ tag }) => tag === name);
        return found === undefined
          ? { state: 'gone' }
          : { state: 'present', digests: [found.digest, ...(found.children ?? [])] };
      };
      const result = plan(all, { base: stateOf, olderThan, keepLast });
      const leaving = new Set(result.removals.flatMap(({ tags }) => tags.map(({ tag }) => tag)));
      removals += leaving.size;

      // The registry: removing a digest removes all of its tags, whichever the plan names.
      const gone = new Set(result.removals.map((removal) => removal.digest));
      const rest = all.filter((one) => !gone.has(one.digest));
      const restNames = rest.map(({ tag }) => tag);
      expect(restNames).toEqual(all.map(({ tag }) => tag).filter((tag) => !leaving.has(tag)));
      expect(result.kept.map(({ tag }) => tag)).toEqual(restNames);
      // Nothing that stays has lost a child, and nothing with a tag is called one.
      for (const { children } of result.removals) for (const child of children) gone.add(child);
      expect(all.filter((one) => gone.has(one.digest) && !leaving.has(one.tag))).toEqual([]);
      for (const { children } of rest) for (const child of children ?? []) expect(gone.has(child)).toBe(false);

      const isTagged = (one: TagFacts): boolean =>
        all.some(({ tag, digest: of, children = [] }) =>
          tag === one.tag ? false : [of, ...children].includes(one.record!.sourceDigest),
        );
      const isBase = ({ tag }: TagFacts): boolean => all.some((one) => isOurs(one) && namesOf(one).includes(tag));
      const isStale = (one: TagFacts): boolean =>
        namesOf(one).every((name) => {
          const state = stateOf(name);
          if (state.state === 'present') return !state.digests.includes(one.record!.sourceDigest);
          return state.state === 'gone';
        }) &&
        (namesOf(one).some((name) => stateOf(name).state === 'present') || !isTagged(one));
      const mayGo = (one: TagFacts): boolean => isOurs(one) && !isBase(one) && isStale(one);
      expect(all.filter(({ tag }) => leaving.has(tag)).filter((one) => !mayGo(one))).toEqual([]);

      const isReadable = all.every(({ children }) => children !== undefined);
      if (!isReadable) expect(leaving.size).toBe(0);
      if (olderThan !== undefined) {
        for (const { tag, built } of all)
          if (leaving.has(tag)) expect(built).toBeLessThanOrEqual(1_000_000 - olderThan);
      }
      if (keepLast !== undefined && keepLast > 0)
        expect(all.filter(({ tag, built }) => leaving.has(tag) && built === undefined)).toEqual([]);
      if (keepLast !== undefined && leaving.size > 0) {
        const sources = new Set(all.filter(mayGo).map((one) => one.record!.sourceDigest));
        const left = new Set(all.filter(({ tag }) => leaving.has(tag)).map((one) => one.record!.sourceDigest));
        expect(left.size).toBeLessThanOrEqual(Math.max(0, sources.size - keepLast));
      }
      if (olderThan !== undefined || keepLast !== undefined || !isReadable) return;
      // Whatever may go and stays is needed by something that stays; together, needs lead to a tag that may not go.
      const needed = new Set(rest.filter((one) => !mayGo(one)).flatMap((one) => [one.digest, ...one.children!]));
      for (let size = -1; size !== needed.size; ) {
        size = needed.size;
        for (const one of rest) if (needed.has(one.digest)) for (const child of one.children!) needed.add(child);
      }
      expect(rest.filter((one) => mayGo(one) && !needed.has(one.digest))).toEqual([]);
    }),
    { numRuns: 2000 },
  );
  expect(removals).toBeGreaterThan(50);
});
