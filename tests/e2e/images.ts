/** The small images that every end-to-end judgement is run on, named by what they hold. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { TarBuilder } from '../../fixtures/tar-builder.ts';

/** An image as its plain tars, lowest first. */
export interface SmallImage {
  readonly name: string;
  layers(): Promise<Uint8Array[]>;
}

const GOLDENS = join(import.meta.dirname, '../../fixtures/goldens');

const golden = (path: string): Promise<Uint8Array> => readFile(join(GOLDENS, path)).then((bytes) => gunzipSync(bytes));

const edge = (name: string, layers: number): SmallImage => ({
  name: `goldens edge ${name}`,
  layers: () => Promise.all(Array.from({ length: layers }, (_, i) => golden(`edge/${name}/layer${i + 1}.tar.gz`))),
});

const built = (name: string, ...tars: TarBuilder[]): SmallImage => ({
  name,
  layers: async () => tars.map((tar) => tar.build()),
});

/** A name of `length` bytes. */
const long = (length: number): string => 'n'.repeat(length);

/** A file capability as the kernel takes it: revision 2, cap_net_raw permitted and effective. */
const CAPABILITY = new Uint8Array([1, 0, 0, 2, 0, 0x20, ...new Array<number>(14).fill(0)]);

/** A directory of `count` files. */
function crowded(count: number): TarBuilder {
  const tar = new TarBuilder().dir('crowd/');
  for (let i = 0; i < count; i++) tar.file(`crowd/a-file-with-a-name-${i}`, i % 100 === 0 ? `${i}` : '');
  return tar;
}

/** Every small image. */
export const IMAGES: readonly SmallImage[] = [
  { name: 'goldens input', layers: () => Promise.all([golden('input/layer1.tar.gz'), golden('input/layer2.tar.gz')]) },
  edge('dot', 1),
  edge('opqlate', 2),
  edge('rootopq', 2),
  edge('whdot', 2),
  built(
    'sizes: file_0 file_1_block symlink_59 symlink_60 name_255',
    new TarBuilder()
      .file('file_0', '')
      .file('file_1', 'x')
      .file('file_4095', 'x'.repeat(4095))
      .file('file_4096', 'x'.repeat(4096))
      .file('file_4097', 'x'.repeat(4097))
      .file('zeros', new Uint8Array(1 << 20))
      .symlink('symlink_59', long(59))
      .symlink('symlink_60', long(60))
      .symlink('symlink_4095', long(4095))
      .file(long(255), 'long name')
      .file(new Uint8Array([0x63, 0x61, 0x66, 0xe9]), 'not UTF-8'),
  ),
  built(
    'attributes: setuid, xattrs in the inode and in a block, far and early times, large ids, devices',
    new TarBuilder()
      .file('bin/su', 'su', { mode: 0o6755 })
      .dir('tmp/', { mode: 0o1777 })
      .file('xattr_small', 'x', { xattrs: { 'user.a': '1', 'security.capability': CAPABILITY } })
      .file('xattr_block', 'x', { xattrs: { 'user.large': 'v'.repeat(3000), 'user.empty': '' } })
      .file('far', 'x', { mtime: '9999999999.999999999' })
      .file('early', 'x', { mtime: '-1000000000.25' })
      .file('owner', 'x', { uid: 4_000_000_000, gid: 2_097_152 })
      .device('dev/char', 'character', 300, 70_000)
      .device('dev/block', 'block', 8, 1)
      .fifo('pipe'),
  ),
  built(
    'hard links: to a lower layer, to a symlink, into a missing directory',
    new TarBuilder().file('a', 'content').symlink('s', 'a').file('gone', 'x'),
    new TarBuilder().link('missing/dir/a', 'a').link('s2', 's').link('kept', 'gone'),
    new TarBuilder().file('missing/dir/a', 'another inode').link('/absolute', '/kept').whiteout('gone').whiteout('s'),
  ),
  built(
    'replaced: directory by file, file by directory, symlink by directory',
    new TarBuilder().dir('d/').file('d/x', 'x').file('f', 'f').symlink('l', 'd').dir('e/').file('e/y', 'y'),
    new TarBuilder().file('d', 'a file now').dir('f/').file('f/inside', 'x').dir('l/').file('l/z', 'z'),
    // umoci writes a whiteout for each former child below what is a file now.
    new TarBuilder().file('e', 'a file now').whiteout('e/y'),
  ),
  built(
    'whiteouts: before and after what the layer itself puts, of nothing, opaque twice',
    new TarBuilder()
      .dir('a/')
      .file('a/low', 'x')
      .dir('b/')
      .file('b/low', 'x')
      .dir('c/')
      .dir('c/c/')
      .file('c/c/low', 'x'),
    new TarBuilder()
      .file('a/new', 'x')
      .whiteout('a')
      .whiteout('absent')
      .opaque('b')
      .file('b/new', 'x')
      .opaque('b')
      .file('c/c/new', 'x')
      .opaque('c'),
  ),
  built(
    'an entry below a symlink stays inside the root',
    new TarBuilder().dir('real/').symlink('up', '../../../real').symlink('abs', '/real'),
    new TarBuilder().file('up/one', '1').file('abs/two', '2'),
  ),
  built('a directory of 5,000 entries, half of them deleted', crowded(5000), halfDeleted(5000)),
  built('no entries at all, then one', new TarBuilder(), new TarBuilder().file('one', '1'), new TarBuilder()),
  built('its own lost+found', new TarBuilder().dir('lost+found/', { mode: 0o755 }).file('lost+found/mine', 'x')),
];

function halfDeleted(count: number): TarBuilder {
  const tar = new TarBuilder();
  for (let i = 0; i < count; i += 2) tar.whiteout(`crowd/a-file-with-a-name-${i}`);
  return tar;
}
