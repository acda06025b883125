import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { collectTar, contentOf } from '../../fixtures/collect-tar.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';

/** Fields of an old GNU sparse header: elements of the map at byte 386, `isextended` at 482, `realsize` at 483. */
function gnuPatch(map: readonly [number, number][], realSize: number, extended = false): Record<number, string> {
  return { 386: elements(map), 482: extended ? '\x01' : '\0', 483: octal(realSize) };
}
const octal = (value: number) => `${value.toString(8).padStart(11, '0')}\0`;
const elements = (map: readonly [number, number][]) => map.map(([o, n]) => octal(o) + octal(n)).join('');
const gnu = (map: readonly [number, number][], realSize: number, data: string) =>
  new TarBuilder().headerWithBody(
    { name: 's', typeflag: 'S', magic: 'ustar  \0', patch: gnuPatch(map, realSize) },
    data,
  );
const pax = (records: Record<string, string>, data: string) =>
  new TarBuilder().file('stand-in', data, { pax: records });
const v1 = (map: string, size: number, data: string) => {
  const padded = Buffer.alloc(Math.ceil(map.length / 512) * 512);
  padded.write(map);
  return pax(
    {
      'GNU.sparse.major': '1',
      'GNU.sparse.minor': '0',
      'GNU.sparse.name': 'true',
      'GNU.sparse.realsize': String(size),
    },
    `${padded.toString('latin1')}${data}`,
  );
};

describe('maps that are right', () => {
  test('gnu_4_in_the_header', () => {
    const [entry] = collectTar(
      gnu(
        [
          [0, 2],
          [10, 3],
          [20, 1],
          [40, 0],
        ],
        40,
        'aabbbc',
      ).build(),
    );
    expect(entry).toMatchObject({ size: 40, packedSize: 6, dataOffset: 512 });
    expect(entry!.sparse).toEqual([
      { offset: 0, length: 2 },
      { offset: 10, length: 3 },
      { offset: 20, length: 1 },
    ]);
    expect(contentOf(entry!).toString('latin1').replaceAll('\0', '.')).toBe(
      `aa${'.'.repeat(8)}bbb${'.'.repeat(7)}c${'.'.repeat(19)}`,
    );
  });
  for (const runs of [4, 5, 24, 25, 26, 46, 1000]) {
    test(`gnu_${runs}_runs`, () => {
      const map = Array.from({ length: runs }, (_, i): [number, number] => [i * 10, 1]);
      const tar = new TarBuilder().header({
        name: 's',
        typeflag: 'S',
        magic: 'ustar  \0',
        size: runs,
        patch: gnuPatch(map.slice(0, 4), runs * 10, runs > 4),
      });
      for (let at = 4; at < runs; at += 21) {
        const block = Buffer.alloc(512);
        block.write(elements(map.slice(at, at + 21)), 'latin1');
        block[504] = at + 21 < runs ? 1 : 0;
        tar.raw(block);
      }
      tar.raw(Buffer.alloc(Math.ceil(runs / 512) * 512, 'x').fill(0, runs)).file('next', 'n');
      for (const chunk of [1, 321, 4096]) {
        const [entry, next] = collectTar(tar.build(), chunk);
        expect(entry!.sparse).toEqual(map.map(([offset, length]) => ({ offset, length })));
        expect(entry!.dataOffset).toBe(512 + 512 * Math.ceil(Math.max(0, runs - 4) / 21));
        expect(next!.name).toBe('next');
      }
    });
  }
  test('gnu_all_hole', () => {
    expect(collectTar(gnu([[1 << 20, 0]], 1 << 20, '').build())[0]).toMatchObject({
      size: 1 << 20,
      packedSize: 0,
      sparse: [],
    });
  });
  test('pax_0_1', () => {
    const records = {
      'GNU.sparse.numblocks': '2',
      'GNU.sparse.map': '0,1,9,1',
      'GNU.sparse.size': '10',
      'GNU.sparse.name': 'n',
    };
    const [entry] = collectTar(pax(records, 'ab').build());
    expect(entry).toMatchObject({
      name: 'n',
      size: 10,
      sparse: [
        { offset: 0, length: 1 },
        { offset: 9, length: 1 },
      ],
    });
  });
  test('pax_1_0', () => {
    const [entry] = collectTar(v1('2\n0\n1\n9\n1\n', 10, 'ab').build());
    expect(entry).toMatchObject({ name: 'true', size: 10, packedSize: 2 });
    expect(contentOf(entry!).toString('latin1').replaceAll('\0', '.')).toBe('a........b');
  });
  test('pax_1_0_number_across_blocks', () => {
    const map = `300\n${Array.from({ length: 300 }, (_, i) => `${i * 1000}\n1\n`).join('')}`;
    const tar = v1(map, 300_000, 'x'.repeat(300)).file('next', 'n').build();
    for (const chunk of [1, 321, 4096]) {
      const [entry, next] = collectTar(tar, chunk);
      expect(entry!.sparse).toHaveLength(300);
      expect(entry!.dataOffset % 512).toBe(0);
      expect(tar.subarray(entry!.dataOffset, entry!.dataOffset + 300)).toEqual(new Uint8Array(Buffer.alloc(300, 'x')));
      expect(next!.name).toBe('next');
    }
  });
});

describe('maps that are wrong', () => {
  const cases: Record<string, () => TarBuilder> = {
    overlapping: () =>
      gnu(
        [
          [0, 2],
          [1, 2],
        ],
        40,
        'aabb',
      ),
    descending: () =>
      gnu(
        [
          [10, 2],
          [0, 2],
        ],
        40,
        'aabb',
      ),
    past_the_end: () => gnu([[39, 2]], 40, 'aa'),
    more_data_than_runs: () => gnu([[0, 2]], 40, 'aaa'),
    less_data_than_runs: () => gnu([[0, 4]], 40, 'aaa'),
    sparse_type_in_ustar: () => new TarBuilder().header({ name: 's', typeflag: 'S', patch: gnuPatch([], 0) }),
    sparse_records_on_a_directory: () => new TarBuilder().dir('d/', { pax: { 'GNU.sparse.map': '0,1' } }),
    unknown_version: () => pax({ 'GNU.sparse.major': '2', 'GNU.sparse.minor': '0' }, ''),
    version_without_minor: () => pax({ 'GNU.sparse.major': '1' }, ''),
    odd_map: () => pax({ 'GNU.sparse.map': '0,1,2', 'GNU.sparse.size': '9' }, 'a'),
    map_of_other_length: () =>
      pax({ 'GNU.sparse.map': '0,1', 'GNU.sparse.numblocks': '2', 'GNU.sparse.size': '9' }, 'a'),
    map_of_words: () => pax({ 'GNU.sparse.map': 'a,b', 'GNU.sparse.size': '9' }, 'a'),
    negative_offset: () => pax({ 'GNU.sparse.map': '-1,1', 'GNU.sparse.size': '9' }, 'a'),
    v1_words: () => v1('x\n', 10, ''),
    v1_empty_line: () => v1('\n', 10, ''),
    v1_spaces: () => v1('1\n0\n 1\n', 10, 'a'),
    v1_number_too_long: () => v1(`1\n0\n${'1'.padStart(17, '0')}\n`, 10, 'a'),
    v1_not_closed: () => v1('2\n0\n1\n', 10, 'a'),
    v1_no_data: () => pax({ 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '10' }, ''),
    v1_map_longer_than_stored: () =>
      pax({ 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '10' }, '1\n0\n1\n'),
  };
  for (const [name, build] of Object.entries(cases)) {
    test(name, () => {
      let thrown: unknown;
      try {
        collectTar(build().build());
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(AccelError);
      expect((thrown as AccelError).where).toHaveProperty('tarOffset');
    });
  }
  test('more runs than the limit', () => {
    const limits = { sparseRuns: 2 };
    const four: [number, number][] = [
      [0, 1],
      [2, 1],
      [4, 1],
    ];
    expect(() => collectTar(gnu(four, 9, 'aaa').build(), 4096, limits)).toThrow(/too many data runs/);
    expect(() => collectTar(v1('1000000000\n', 9, 'aaa').build())).toThrow(/too many data runs/);
    expect(
      collectTar(
        gnu(
          [
            [0, 1],
            [2, 1],
            [9, 0],
          ],
          9,
          'aa',
        ).build(),
        4096,
        limits,
      ),
    ).toHaveLength(1);
  });
});
