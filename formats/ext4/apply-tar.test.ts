import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { expectedTree } from '../../tests/support/expected-tree.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { diffTrees, formatEntry } from '../../tests/support/tree.ts';
import { Ext4Reader } from './reader.ts';
import { type ImageBox, SMALL, withImage } from './testing/image-box.ts';
import { openDevice } from './testing/reader-tree.ts';

const MTIME = '1700000000';

/** Applies the layers, asks e2fsck after each, and returns `d /path` lines. */
async function pathsAfter(...layers: TarBuilder[]): Promise<string[]> {
  return withImage(SMALL, async (box) => {
    for (const layer of layers) {
      box.layer(layer);
      await box.check();
    }
    return box.paths();
  });
}

/** Applies the layers and holds what accel's reader and the kernel see against Python's model. */
async function likeTheModel(...layers: TarBuilder[]): Promise<string[]> {
  return withImage(SMALL, async (box) => {
    for (const layer of layers) {
      box.layer(layer, 4096);
      await box.check();
    }
    const expected = await expectedTree(layers.map((layer) => layer.build()));
    expect(diffTrees(expected, await box.foreignTree())).toEqual([]);
    expect(diffTrees(expected, await box.tree())).toEqual([]);
    return expected.map(formatEntry);
  });
}

/** The error of a stack whose last layer must be refused. */
async function errorOf(...layers: TarBuilder[]): Promise<AccelError> {
  return withImage(SMALL, async (box) => refusal(box, ...layers));
}

async function refusal(box: ImageBox, ...layers: TarBuilder[]): Promise<AccelError> {
  for (const layer of layers.slice(0, -1)) box.layer(layer);
  try {
    box.layer(layers.at(-1)!);
  } catch (error) {
    if (error instanceof AccelError) return error;
    throw error;
  }
  throw new Error('the layer was applied');
}

const tar = (): TarBuilder => new TarBuilder({ mtime: MTIME });

describeWith({ tools: ['e2fsck', 'debugfs', 'python3'] }, 'files and their attributes', () => {
  test.each([0, 1, 4095, 4096, 4097, 40_000])('size_%i', async (size) => {
    const content = Uint8Array.from({ length: size }, (_, i) => (i * 31) % 251);
    await likeTheModel(tar().file('before', 'x').file('f', content).file('after', 'y'));
  });

  test.each([1, 321, 4096, 1_000_000])('chunks of %i bytes give the same file system', async (chunk) => {
    const layer = tar()
      .dir('d/')
      .file('d/f', new Uint8Array(9000).fill(7))
      .symlink('d/s', 'f')
      .link('l', 'd/f')
      .build();
    await withImage(SMALL, async (box) => {
      const written = box.layer(layer, chunk);
      expect(written.runs).toEqual([{ device: written.runs[0]!.device, tar: 1024, length: 9000 }]);
      expect(diffTrees(await expectedTree([layer]), await box.tree())).toEqual([]);
      await box.check();
    });
  });

  test.each([1, 59, 60, 61, 4095])('symlink_%i', async (length) => {
    await likeTheModel(tar().symlink('s', 't'.repeat(length)).link('hard', 's'));
  });

  test('symlink texts are kept byte for byte', async () => {
    const texts = ['a//b', './x', 'd/../x', '/', '..', '../../../..', ' ', 'caf\xe9\n', '\\'];
    const layer = tar();
    for (const [i, text] of texts.entries()) layer.symlink(`s${i}`, Buffer.from(text, 'latin1'));
    await withImage(SMALL, async (box) => {
      box.layer(layer);
      await box.check();
      const targets = (await box.foreignTree()).filter((e) => e.type === 'symlink').map((e) => e.target);
      expect(targets).toEqual(texts);
    });
  });

  test('a symlink has mode 0777 whatever the archive says', async () => {
    expect(await likeTheModel(tar().symlink('s', 'x', { mode: 0o644 }))).toContainEqual(
      expect.stringContaining('l 00777'),
    );
  });

  test('symlink_0 and symlink_4096 are refused', async () => {
    expect(await errorOf(tar().symlink('empty', ''))).toMatchObject({ where: { path: 'empty' } });
    expect(await errorOf(tar().symlink('long', 't'.repeat(4096)))).toMatchObject({
      code: 'limit-exceeded',
      where: { path: 'long' },
      found: '4096 bytes',
    });
  });

  test('name_255 is accepted, name_256 is refused', async () => {
    await likeTheModel(
      tar()
        .file('n'.repeat(255), 'x')
        .dir(`${'d'.repeat(255)}/`),
    );
    for (const name of ['n'.repeat(256), `${'d'.repeat(256)}/below`]) {
      expect(await errorOf(tar().file(name, 'x'))).toMatchObject({ code: 'limit-exceeded', found: '256 bytes' });
    }
    const link = tar().file('f', 'x').link('l'.repeat(256), 'f');
    expect(await errorOf(link)).toMatchObject({ code: 'limit-exceeded', found: '256 bytes' });
  });

  test('names are bytes, not text', async () => {
    const raw = (text: string): Uint8Array => Buffer.from(text, 'latin1');
    const layer = tar()
      .file(raw('caf\xe9'), 'x')
      .dir(raw('\xff\xfe/'))
      .file(raw('\xff\xfe/\x01\x7f'), 'y')
      .file(raw(`${'\xe4'.repeat(120)}/${'\xf6'.repeat(200)}`), 'z')
      .file('new\nline', 'n')
      .file('ünïcode', 'u');
    await withImage(SMALL, async (box) => {
      box.layer(layer);
      await box.check();
      const seen = (await box.foreignTree()).map((entry) => entry.path);
      expect(seen).toEqual((await box.tree()).map((entry) => entry.path));
      expect(seen).toContain('/caf\xe9');
      expect(seen).toContain('/\xff\xfe/\x01\x7f');
      expect(seen).toContain('/new\nline');
    });
  });

  test('owners, modes and devices of every size', async () => {
    const layer = tar()
      .file('setuid', 'x', { mode: 0o4755, uid: 3_000_000, gid: 2 ** 32 - 2 })
      .dir('sticky/', { mode: 0o1777, uid: 65_535, gid: 65_536 })
      .dir('setgid/', { mode: 0o2770 })
      .file('none', 'x', { mode: 0 })
      .fifo('fifo', { mode: 0o600 })
      .device('null', 'character', 1, 3)
      .device('zero', 'character', 0, 0)
      .device('last_old', 'block', 255, 255)
      .device('minor_256', 'block', 1, 256)
      .device('major_256', 'character', 256, 0)
      .device('largest', 'block', 4095, 1_048_575);
    await likeTheModel(layer);
  });

  test('device numbers past the format are refused', async () => {
    for (const [major, minor] of [
      [4096, 0],
      [0, 1_048_576],
    ] as const) {
      expect(await errorOf(tar().device('dev', 'block', major, minor))).toMatchObject({
        code: 'limit-exceeded',
        found: `${major},${minor}`,
        where: { path: 'dev' },
      });
    }
  });

  test.each([
    '-2147483648',
    '-1',
    '-0.5',
    '0',
    '0.000000001',
    '2147483647.999999999',
    '2147483648',
    '4294967295.5',
    '4294967296',
    '15032385535.999999999',
  ])('time_%s', async (mtime) => {
    await likeTheModel(tar().file('f', 'x', { mtime }).dir('d/', { mtime }).symlink('s', 'f', { mtime }));
  });

  test.each([
    { mtime: '-2147483649', kept: -2_147_483_648_000_000_000n },
    { mtime: '15032385536', kept: 15_032_385_535_999_999_999n },
  ])('time_$mtime is kept as the nearest, with a warning', async ({ mtime, kept }) => {
    await withImage(SMALL, async (box) => {
      const { warnings } = box.layer(tar().file('f', 'x', { mtime }));
      expect(warnings).toEqual([expect.stringMatching(/^f: .*1901 to 2446/)]);
      expect((await box.foreignTree()).find((entry) => entry.path === '/f')?.mtimeNs).toBe(kept);
    });
  });

  test('access and change times are the modification time', async () => {
    await withImage(SMALL, async (box) => {
      box.layer(tar().dir('d/').file('d/f', 'x', { mtime: '1234567890.123456789' }).symlink('s', 'd'));
      for (const entry of [...(await box.foreignTree()), ...(await box.tree())]) {
        expect([entry.path, entry.atimeNs, entry.ctimeNs]).toEqual([entry.path, entry.mtimeNs, entry.mtimeNs]);
      }
    });
  });
});

describeWith({ tools: ['e2fsck', 'debugfs', 'python3'] }, 'entries in the way', () => {
  test.each([
    ['dir_by_file', tar().file('d', 'x')],
    ['dir_by_symlink', tar().symlink('d', 'elsewhere')],
    ['dir_by_fifo', tar().fifo('d')],
    ['dir_by_link', tar().file('f', 'x').link('d', 'f')],
    ['file_by_dir', tar().dir('d/a/').file('d/a/new', 'x')],
    ['symlink_by_dir', tar().dir('s/').file('s/x', 'x')],
    ['symlink_by_file', tar().file('s', 'x')],
    ['file_by_file', tar().file('d/a', 'longer than before')],
    ['file_by_device', tar().device('d/a', 'block', 7, 1)],
    ['hard_link_by_file', tar().file('hard', 'own')],
    ['dir_by_dir', tar().dir('d/', { mode: 0o700, uid: 5, mtime: '5', xattrs: { 'user.b': 'B' } })],
  ])('%s', async (_, upper) => {
    const lower = tar()
      .dir('d/', { xattrs: { 'user.a': 'A' } })
      .file('d/a', 'a')
      .dir('d/deep/deeper/')
      .file('d/deep/deeper/f', 'f')
      .symlink('s', 'd')
      .link('hard', 'd/a');
    await likeTheModel(lower, upper);
  });

  test.each([
    ['file', tar().file('d', 'x')],
    ['symlink', tar().symlink('d', 'e')],
    ['link', tar().link('d', 'e/outside')],
  ])('a directory with several names of one file in it gives way to a %s', async (_, upper) => {
    const lower = tar()
      .file('d/a', 'inside')
      .link('d/b', 'd/a')
      .link('d/deep/c', 'd/a')
      .file('e/outside', 'outside')
      .link('d/deep/e', 'e/outside')
      .link('d/f', 'e/outside');
    await likeTheModel(lower, upper);
  });

  test('of two entries for a path the later one counts', async () => {
    const layer = tar()
      .file('f', 'first')
      .link('l', 'f')
      .file('f', 'second, and longer')
      .dir('d/', { mode: 0o700 })
      .file('d/x', 'x')
      .dir('d/', { mode: 0o711 })
      .symlink('t', 'a')
      .file('t', 'no symlink')
      .file('u', '1')
      .dir('u/')
      .file('u/v', '2')
      .file('u', '3');
    await likeTheModel(layer);
  });

  test('the root takes the attributes of `./`', async () => {
    const lines = await likeTheModel(
      tar()
        .dir('./', { mode: 0o700, uid: 3, gid: 4, mtime: '1234567890', xattrs: { 'user.root': 'r' } })
        .file('./f', 'x'),
      tar().dir('/', { mode: 0o711 }),
    );
    expect(lines[0]).toMatch(/^d 00711 0 0 \* 1700000000000000000 2 \[user.root=72\] \//);
  });

  test('nothing but a directory replaces the root', async () => {
    expect(await errorOf(tar().file('./', 'x'))).toMatchObject({ code: 'tar-invalid' });
    expect(await errorOf(tar().symlink('/', 'x'))).toMatchObject({ code: 'tar-invalid', found: 'symlink' });
    expect(await errorOf(tar().file('f', '').link('.', 'f'))).toMatchObject({ code: 'tar-invalid' });
  });

  test('missing parents are made as 0755 root at time 0, and an entry of their own later counts', async () => {
    const lines = await likeTheModel(tar().file('a/b/c', 'x').dir('a/b/', { mode: 0o700 }));
    expect(lines[1]).toBe('d 00755 0 0 * 0 3 [] /a');
  });

  test('a directory that no entry names keeps its time when its children change', async () => {
    await likeTheModel(
      tar().dir('d/', { mtime: '1000' }).file('d/a', 'a').file('d/b', 'b'),
      tar().file('d/new', 'x').whiteout('d/a'),
    );
  });
});

describeWith({ tools: ['e2fsck', 'debugfs', 'python3'] }, 'hard links', () => {
  const lower = (): TarBuilder => tar().dir('d/').file('d/f', 'content').symlink('s', 'd/f').file('e/g', 'g');

  test.each([
    ['to_lower', tar().link('l', 'd/f')],
    ['to_lower_absolute', tar().link('/l', '/d/f')],
    ['to_lower_dot', tar().link('./l', './d/f')],
    ['to_symlink', tar().link('l', 's')],
    ['into_missing_directory', tar().link('new/deeper/l', 'd/f')],
    ['to_itself', tar().link('d/f', 'd/f')],
    ['over_a_file', tar().link('e/g', 'd/f')],
    ['over_a_directory', tar().link('e', 'd/f')],
    ['target_replaced_later', tar().link('l', 'd/f').file('d/f', 'new content')],
    ['chain', tar().link('l1', 'd/f').link('l2', 'l1').link('l3', 'l2').whiteout('nothing')],
    ['in_one_layer', tar().file('x', 'x').link('y', 'x').link('z', 'y')],
    ['to_fifo_and_device', tar().fifo('p').link('p2', 'p').device('c', 'character', 1, 3).link('c2', 'c')],
    ['target_through_symlink', tar().symlink('dd', 'd').link('l', 'dd/f')],
  ])('%s', async (_, upper) => {
    await likeTheModel(lower(), upper);
  });

  test('a file lives on when the layer above takes one of its names', async () => {
    await likeTheModel(
      tar().file('a', 'shared').link('b', 'a'),
      tar().whiteout('a'),
      tar().link('c', 'b'),
      tar().whiteout('b').whiteout('c'),
    );
  });

  test('a link does not change the attributes of its target', async () => {
    await likeTheModel(
      lower(),
      tar().link('l', 'd/f', { mode: 0o4711, uid: 9, mtime: '9', xattrs: { 'user.l': 'l' } }),
    );
  });

  test.each([
    ['to_missing', tar().link('l', 'nowhere'), /does not exist/],
    ['to_missing_directory', tar().link('l', 'nowhere/x'), /does not exist/],
    ['below_a_file', tar().link('l', 'd/f/x'), /does not exist/],
    ['to_directory', tar().link('l', 'd'), /is a directory/],
    ['to_root', tar().link('l', '/'), /is a directory/],
    ['to_later_entry', tar().link('l', 'later').file('later', ''), /does not exist/],
    ['escaping', tar().link('l', '../../etc/passwd'), /leaves the image/],
    ['escaping_absolute', tar().link('l', '/../etc/passwd'), /leaves the image/],
    ['replacing_the_directory_of_its_target', tar().link('d', 'd/f'), /holds its target/],
  ])('%s is refused', async (_, upper, message) => {
    const error = await errorOf(lower(), upper);
    expect(error.code).toBe('tar-invalid');
    expect(error.message).toMatch(message);
    expect(error.where).toHaveProperty('path');
  });

  test('links_65000 are accepted, links_65001 are refused', { timeout: 180_000 }, async () => {
    const layer = tar().file('f', 'x');
    for (let i = 1; i < 65_000; i++) layer.link(`l/${i}`, 'f');
    await withImage(SMALL, async (box) => {
      box.layer(layer);
      await box.check();
      const device = await openDevice(box.path);
      const reader = await Ext4Reader.open(device);
      expect((await reader.lookup(await reader.root(), 'f'))?.links).toBe(65_000);
      await device.close();
      expect(await refusal(box, tar().link('one-more', 'f'))).toMatchObject({ code: 'limit-exceeded', found: 65_001 });
    });
  });
});

describeWith({ tools: ['e2fsck', 'debugfs', 'python3'] }, 'paths through symlinks and out of the image', () => {
  test.each([
    ['relative', tar().dir('usr/lib/').symlink('lib', 'usr/lib'), tar().file('lib/x', 'x')],
    ['absolute', tar().dir('usr/lib/').symlink('lib', '/usr/lib'), tar().file('lib/x', 'x')],
    ['absolute_from_below', tar().dir('usr/lib/').symlink('a/b/lib', '/usr/lib'), tar().file('a/b/lib/x', 'x')],
    ['with_dots', tar().dir('a/b/').dir('c/').symlink('a/b/s', '../../c'), tar().file('a/b/s/x', 'x')],
    ['above_root', tar().dir('c/').symlink('s', '../../../c'), tar().file('s/x', 'x')],
    ['chain', tar().dir('d/').symlink('s1', 'd').symlink('s2', 's1').symlink('s3', '/s2'), tar().file('s3/x', 'x')],
    ['dangling', tar().symlink('s', 'made/here'), tar().file('s/x', 'x')],
    ['whiteout', tar().dir('d/').file('d/x', 'x').symlink('s', 'd'), tar().whiteout('s/x')],
    ['opaque', tar().dir('d/').file('d/x', 'x').symlink('s', 'd'), tar().opaque('s')],
    ['link', tar().dir('d/').file('f', 'x').symlink('s', 'd'), tar().link('s/l', 'f')],
    ['to_root', tar().symlink('s', '/'), tar().file('s/x', 'x')],
    ['replaced_through_itself', tar().symlink('s', '/'), tar().file('s/x', 'x').dir('s/s/').file('s/y', 'y')],
    [
      'linked_over_through_itself',
      tar().dir('d/').symlink('s', '/').symlink('t', 'd'),
      tar().link('s/s', 't').file('s/y', 'y'),
    ],
  ])('parent_is_symlink_%s', async (_, lower, upper) => {
    await likeTheModel(lower, upper);
  });

  test('40 symlinks are followed, 41 and circles are refused', async () => {
    const chain = (length: number): TarBuilder => {
      const layer = tar().dir('s0/');
      for (let i = 1; i <= length; i++) layer.symlink(`s${i}`, `s${i - 1}`);
      return layer.file(`s${length}/x`, 'x');
    };
    await likeTheModel(chain(40));
    expect(await errorOf(chain(41))).toMatchObject({ code: 'tar-invalid', message: expect.stringMatching(/circles/) });
    const circle = tar().symlink('a', 'b').symlink('b', 'a');
    expect((await errorOf(circle, tar().file('a/x', ''))).message).toMatch(/circles/);
    expect((await errorOf(circle, tar().whiteout('a/x'))).message).toMatch(/circles/);
  });

  test.each(['../../etc/passwd', '/../etc/passwd', 'a/../../x', '..'])('%s is refused', async (path) => {
    const error = await errorOf(tar().file(path, 'x'));
    expect(error).toMatchObject({ code: 'tar-invalid', found: path, where: { path } });
    expect(error.hint).toBeDefined();
  });

  test('dots and slashes that stay inside are cleaned', async () => {
    expect(await pathsAfter(tar().file('//a//./b/../c', 'x'))).toEqual(['d /', 'd /a', '- /a/c']);
  });

  test('a file as a parent is refused', async () => {
    expect(await errorOf(tar().file('f', 'x').file('f/x', 'y'))).toMatchObject({
      code: 'tar-invalid',
      found: 'f is a file',
      where: { path: 'f/x' },
    });
  });

  test('path_4096 is accepted, path_4097 is refused', async () => {
    const path = (length: number): string => `${'d/'.repeat(length / 2)}`.padEnd(length, 'f');
    const paths = await pathsAfter(tar().file(path(4095), 'x'));
    expect(paths.at(-1)).toHaveLength('- /'.length + 4095);
    expect(await errorOf(tar().file(path(4097), 'x'))).toMatchObject({ code: 'limit-exceeded', found: '4097 bytes' });
  });

  test('a tree of 3000 levels through three layers is made, read and taken away without recursion', async () => {
    const levels = 'd/'.repeat(1000);
    await withImage({ virtualSize: 2 ** 28 }, async (box) => {
      box.layer(tar().file(`${levels}f`, '1').symlink('first', `/${levels}`));
      box.layer(tar().file(`first/${levels}f`, '2').symlink('second', `first/${levels}`));
      box.layer(tar().file(`second/${levels}f`, '3'));
      await box.check();
      const deepest = (await box.tree()).reduce((a, b) => (a.path.length > b.path.length ? a : b));
      expect(deepest.path).toBe(`/${'d/'.repeat(3000)}f`);
      box.layer(tar().whiteout('d'));
      await box.check();
      expect(await box.paths()).toEqual(['d /', 'l /first', 'l /second']);
    });
  });
});

describe('limits', () => {
  test('maxFiles counts files, directories and what replaces nothing', async () => {
    const layer = (count: number): TarBuilder => {
      const built = tar().dir('d/');
      for (let i = 1; i < count; i++) built.file(`d/${i}`, '');
      return built;
    };
    await withImage({ ...SMALL, maxFiles: 100 }, async (box) => {
      box.layer(layer(100));
      expect(box.image.files).toBe(100);
      box.layer(layer(100).link('hard', 'd/1'));
      const error = await refusal(box, tar().file('one-more', ''));
      expect(error).toMatchObject({ code: 'limit-exceeded', where: { path: 'one-more' } });
      expect(error.expected).toMatch(/100/);
      expect(error.hint).toMatch(/maxFiles/);
    });
  });

  test('an image that does not fit its device says how large it would have to be', async () => {
    await withImage({ virtualSize: 2 ** 27 }, async (box) => {
      const error = await refusal(box, tar().file('big', new Uint8Array(2 ** 27)));
      expect(error).toMatchObject({ code: 'filesystem-full', where: { path: 'big' } });
      expect(error.hint).toMatch(/virtualSize/);
    });
  });

  test('running out of inodes and running out of blocks are different errors', async () => {
    await withImage({ virtualSize: 2 ** 27 }, async (box) => {
      const layer = tar();
      for (let i = 0; i < 8192 - 11 + 1; i++) layer.file(`f${i}`, '');
      const error = await refusal(box, layer);
      expect(error).toMatchObject({ code: 'filesystem-full', message: expect.stringMatching(/inodes/) });
    });
  });
});
