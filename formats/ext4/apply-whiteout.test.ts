import { describe, expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { expectedTrees } from '../../tests/support/expected-tree.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { diffTrees } from '../../tests/support/tree.ts';
import { parseWhiteout } from '../layer/whiteout.ts';
import { SMALL, withImage } from './testing/image-box.ts';

const tar = (): TarBuilder => new TarBuilder({ mtime: '1700000000' });

describe('parseWhiteout', () => {
  test.each([
    ['file', { kind: 'none' }],
    ['.wh', { kind: 'none' }],
    ['.whx', { kind: 'none' }],
    ['x.wh.y', { kind: 'none' }],
    ['.wh.x', { kind: 'remove', name: 'x' }],
    ['.wh.....', { kind: 'remove', name: '....' }],
    ['.wh..wh', { kind: 'remove', name: '.wh' }],
    ['.wh.\xe9', { kind: 'remove', name: '\xe9' }],
    ['.wh..wh..opq', { kind: 'opaque' }],
    ['.wh..wh..opqx', { kind: 'ignored' }],
    ['.wh..wh.plnk', { kind: 'ignored' }],
    ['.wh..wh.aufs', { kind: 'ignored' }],
  ] as const)('%s', (name, expected) => {
    expect(parseWhiteout(name)).toEqual(expected);
  });

  test.each(['.wh.', '.wh..', '.wh...'])('%s names no file', (name) => {
    expect(() => parseWhiteout(name)).toThrow(/names no file/);
  });
});

/** The lower layer of most tests. */
const lower = (): TarBuilder =>
  tar()
    .dir('d/', { mode: 0o700, uid: 7, xattrs: { 'user.lower': 'l' } })
    .file('d/f', 'f')
    .dir('d/sub/', { mode: 0o711, mtime: '1000' })
    .file('d/sub/g', 'g')
    .dir('d/empty/')
    .symlink('d/s', 'f')
    .link('hard', 'd/f')
    .file('top', 't');

const CASES: readonly (readonly [string, TarBuilder])[] = [
  [
    'what_aufs_kept_for_itself',
    new TarBuilder().dir('.wh..wh.plnk/').file('.wh..wh.plnk/162.1', 'x').file('.wh..wh.aufs', ''),
  ],
  ['file', tar().whiteout('top')],
  ['directory', tar().whiteout('d')],
  ['symlink', tar().whiteout('d/s')],
  ['one_name_of_two', tar().whiteout('d/f')],
  ['absent', tar().whiteout('nothing').whiteout('d/nothing').whiteout('no/such/dir')],
  ['twice', tar().whiteout('d').whiteout('d')],
  ['below_a_file', tar().whiteout('top/x')],
  ['below_what_is_a_file_now', tar().file('d', 'x').whiteout('d/f')],
  ['parent_first', tar().whiteout('d').whiteout('d/f')],
  ['child_first', tar().whiteout('d/f').whiteout('d')],
  ['then_new_file', tar().whiteout('top').file('top', 'new')],
  ['after_new_file', tar().file('top', 'new').whiteout('top')],
  ['then_directory', tar().whiteout('d').dir('d/', { mode: 0o750 }).file('d/new', 'n')],
  ['after_directory', tar().dir('d/', { mode: 0o750 }).file('d/new', 'n').whiteout('d')],
  [
    'after_directory_named_twice',
    tar()
      .dir('d/', { xattrs: { 'user.a': 'a' } })
      .dir('d/', { xattrs: { 'user.b': 'b' } })
      .whiteout('d'),
  ],
  ['after_child_only', tar().file('d/sub/new', 'n').whiteout('d')],
  ['after_deep_child_only', tar().file('d/sub/a/b/c', 'n').whiteout('d')],
  ['inner_after_child', tar().file('d/sub/new', 'n').whiteout('d/sub')],
  ['directory_to_file', tar().whiteout('d').file('d', 'now a file')],
  ['file_to_directory', tar().whiteout('top').dir('top/').file('top/x', 'x')],
  ['of_a_link_made_here', tar().link('top', 'd/f').whiteout('top')],
  ['of_a_name_that_stands', tar().link('hard', 'd/f').whiteout('hard')],
  ['opaque', tar().dir('d/').opaque('d')],
  ['opaque_without_entry', tar().opaque('d')],
  ['opaque_with_new', tar().dir('d/').opaque('d').file('d/new', 'n')],
  ['opaque_after_siblings', tar().dir('d/').file('d/new', 'n').file('d/sub/new', 'n').opaque('d')],
  ['opaque_after_replaced', tar().file('d/f', 'replaced').opaque('d')],
  ['opaque_named_inside', tar().dir('d/sub/', { mode: 0o777 }).opaque('d')],
  ['opaque_inner', tar().opaque('d/sub')],
  ['opaque_twice', tar().opaque('d').file('d/new', 'n').opaque('d')],
  ['opaque_absent', tar().opaque('nothing').opaque('no/such')],
  ['opaque_of_a_file', tar().opaque('top')],
  ['opaque_root', tar().opaque('')],
  ['opaque_root_dot', tar().dir('./', { mode: 0o711 }).opaque('.').file('./n', 'n')],
  ['opaque_root_last', tar().file('n', 'n').file('d/kept', 'k').opaque('')],
  ['as_directory', tar().dir('.wh.d/')],
];

describeWith({ tools: ['e2fsck', 'python3'] }, 'whiteouts', () => {
  test.each(CASES)('%s', async (_, upper) => {
    await withImage(SMALL, async (box) => {
      const layers = [lower(), upper];
      const expected = await expectedTrees(layers.map((layer) => layer.build()));
      for (const [i, layer] of layers.entries()) {
        box.layer(layer);
        await box.check();
        expect(diffTrees(expected[i]!, await box.tree())).toEqual([]);
      }
    });
  });

  test('every order of a layer with whiteouts gives one tree', async () => {
    const parts: ((layer: TarBuilder) => void)[] = [
      (layer) => layer.whiteout('d'),
      (layer) => layer.dir('d/', { mode: 0o750, xattrs: { 'user.new': 'n' } }),
      (layer) => layer.file('d/sub/new', 'n'),
      (layer) => layer.opaque('d/sub'),
    ];
    for (const order of permutations(parts)) {
      const layer = tar();
      for (const part of order) part(layer);
      await withImage(SMALL, async (box) => {
        box.layer(lower());
        box.layer(layer);
        const [, expected] = await expectedTrees([lower().build(), layer.build()]);
        expect(diffTrees(expected!, await box.tree())).toEqual([]);
      });
    }
  });

  test('what AUFS kept for itself means nothing', async () => {
    await withImage(SMALL, async (box) => {
      box.layer(tar().file('.wh..wh.aufs', '').file('d/.wh..wh.orph', '').file('n', 'n'));
      expect(await box.paths()).toEqual(['d /', '- /n']);
    });
  });
});

describeWith({ tools: ['e2fsck'] }, '/lost+found', () => {
  const found = (layers: readonly TarBuilder[]): Promise<string[]> =>
    withImage(SMALL, async (box) => {
      for (const layer of layers) {
        box.layer(layer);
        await box.check();
      }
      return (await box.tree(true)).map((entry) => `${entry.path} ${entry.mode.toString(8)} ${entry.uid}`);
    });

  test('is there in an image of no files', async () => {
    expect(await found([tar()])).toEqual(['/ 755 0', '/lost+found 700 0']);
  });

  test('exists again after a whiteout or an opaque root removed it', async () => {
    for (const take of [tar().whiteout('lost+found'), tar().opaque('')]) {
      expect(await found([tar(), take, tar().file('f', '')])).toEqual(['/ 755 0', '/f 644 0', '/lost+found 700 0']);
    }
  });

  test('may be a file or a symlink of the image', async () => {
    expect(await found([tar().file('lost+found', 'x')])).toEqual(['/ 755 0', '/lost+found 644 0']);
    expect(await found([tar().symlink('lost+found', 'x')])).toEqual(['/ 755 0', '/lost+found 777 0']);
  });

  test("of the image's own counts", async () => {
    const own = tar().dir('lost+found/', { mode: 0o755, uid: 9 }).file('lost+found/f', 'x');
    expect(await found([own])).toEqual(['/ 755 0', '/lost+found 755 9', '/lost+found/f 644 0']);
    expect(await found([own, tar().whiteout('lost+found')])).toEqual(['/ 755 0', '/lost+found 700 0']);
  });
});

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, i) => permutations(items.filter((_, j) => j !== i)).map((rest) => [item, ...rest]));
}
