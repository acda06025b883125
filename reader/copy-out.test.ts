/** Files come out as they are in the image, and nothing of them gets anywhere else. */
import { randomBytes } from 'node:crypto';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import type { RawInode } from '../formats/ext4/inode.ts';
import type { TestLayout } from '../tests/support/converter.ts';
import { isRoot } from '../tests/support/tools.ts';
import { openImage } from './accelerated-image.ts';
import { destinationFor } from './copy-destination.ts';
import { copyOut } from './copy-out.ts';
import { type FileStat, ImageFiles, openFiles } from './files.ts';
import { convertedLayout, FULL } from './testing/test-images.ts';

/**
 * Bytes of a file with four bytes at its end and nothing before: what useradd with a large number makes of
 * /var/log/lastlog.
 */
const HUGE = 2 ** 40;

let layout: TestLayout;
let files: ImageFiles;
let directory: string;

beforeAll(async () => {
  const tar = new TarBuilder({ mtime: '1700000000.5' })
    .dir('etc/', { mode: 0o755 })
    .file('etc/plain', 'plain\n', { mode: 0o640 })
    .link('etc/again', 'etc/plain', { mode: 0o640 })
    .symlink('etc/out', '/outside')
    .symlink('etc/in', 'plain')
    .dir('etc/locked/', { mode: 0o500 })
    .file('etc/locked/inside', 'inside')
    .file('su', 'su', { mode: 0o6755, uid: 1234, gid: 567 })
    .dir('dev/')
    .device('dev/null', 'character', 1, 3)
    .fifo('dev/pipe')
    .file(Buffer.from('dev/caf\xe9', 'latin1'), 'not UTF-8')
    .file('sparse', new Uint8Array(5 << 20))
    .file('GNUSparseFile.0/x', 'tail', {
      pax: {
        'GNU.sparse.major': '0',
        'GNU.sparse.minor': '1',
        'GNU.sparse.name': 'lastlog',
        'GNU.sparse.size': String(HUGE),
        'GNU.sparse.numblocks': '1',
        'GNU.sparse.map': `${HUGE - 4},4`,
      },
    });
  layout = await convertedLayout([{ tar: tar.build() }]);
  files = await openFiles(await openImage(layout.target, FULL));
});
afterAll(() => layout.remove());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'accel-cp-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const out = (...parts: string[]): string => join(directory, ...parts);

describe('a copy', () => {
  it('of a tree has its content, links, permissions and times', async () => {
    const report = await copyOut(files, '/etc', out('etc'));
    expect(report).toMatchObject({
      files: 2,
      links: 1,
      symlinks: 2,
      directories: 2,
      bytes: 12,
      skipped: [],
      stripped: [],
    });
    expect(await readFile(out('etc/plain'), 'utf8')).toBe('plain\n');
    expect(await readlink(out('etc/out'))).toBe('/outside');
    const [plain, again, locked] = await Promise.all(
      ['plain', 'again', 'locked'].map((name) => stat(out('etc', name))),
    );
    expect(plain!.ino).toBe(again!.ino);
    expect(plain!.mode & 0o7777).toBe(0o640);
    expect(locked!.mode & 0o7777).toBe(0o500);
    expect(plain!.mtimeMs).toBe(1_700_000_000_500);
    expect((await lstat(out('etc/in'))).mtimeMs).toBe(1_700_000_000_500);
    expect(locked!.mtimeMs).toBe(1_700_000_000_500);
    await chmod(out('etc/locked'), 0o700);
  });

  it('of a file keeps holes as holes, and names that are not UTF-8', async () => {
    await copyOut(files, '/sparse', out('sparse'));
    const { size, blocks } = await stat(out('sparse'));
    expect([size, blocks]).toEqual([5 << 20, 0]);
    await copyOut(files, '/dev', out('dev'));
    const names = await readdir(Buffer.from(out('dev')), { encoding: 'buffer' });
    expect(names.map((name) => name.toString('latin1'))).toEqual(['caf\xe9']);
  });

  it('of a terabyte of nothing visits what is there', async () => {
    await copyOut(files, '/lastlog', out('lastlog'));
    const { size, blocks } = await stat(out('lastlog'));
    expect(size).toBe(HUGE);
    expect(blocks).toBeLessThan(64);
    const handle = await open(out('lastlog'));
    const { buffer } = await handle.read(Buffer.alloc(5), 0, 5, HUGE - 5).finally(() => handle.close());
    expect(buffer.toString()).toBe('\0tail');
  });

  it('reading a terabyte of nothing lets the event loop turn', async () => {
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    let pieces = 0;
    for await (const _ of files.content('/lastlog')) if (turned || ++pieces > 1000) break;
    expect(turned).toBe(true);
  });

  it('leaves out devices and strips setuid, and says so', async () => {
    const report = await copyOut(files, '/', out('all'));
    expect(report.skipped.toSorted()).toEqual(['/dev/null', '/dev/pipe']);
    expect(report.stripped).toEqual(['/su']);
    expect((await stat(out('all/su'))).mode & 0o7777).toBe(0o755);
    await chmod(out('all/etc/locked'), 0o700);
  });

  it.skipIf(!isRoot())('makes devices and keeps setuid when asked', async () => {
    const report = await copyOut(files, '/', out('all'), { devices: true, keepSetuid: true });
    expect(report).toMatchObject({ nodes: 2, skipped: [], stripped: [] });
    const device = await lstat(out('all/dev/null'));
    expect([device.isCharacterDevice(), device.rdev]).toEqual([true, (1 << 8) | 3]);
    expect((await lstat(out('all/dev/pipe'))).isFIFO()).toBe(true);
    const su = await stat(out('all/su'));
    expect([su.mode & 0o7777, su.uid, su.gid]).toEqual([0o6755, 1234, 567]);
  });

  it('of a device alone is refused', async () => {
    await expect(copyOut(files, '/dev/null', out('null'))).rejects.toMatchObject({
      code: 'usage',
      where: { path: '/dev/null' },
    });
    expect(await readdir(directory)).toEqual([]);
  });

  it('leaves no temporary file behind when it is interrupted', async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(copyOut(files, '/etc', out('etc'), { signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('existing files at the destination', () => {
  it('a symlink in the place of a file is replaced, not written through', async () => {
    await writeFile(out('victim'), 'untouched');
    await symlink(out('victim'), out('copy'));
    await copyOut(files, '/etc/plain', out('copy'));
    expect(await readFile(out('victim'), 'utf8')).toBe('untouched');
    expect((await lstat(out('copy'))).isFile()).toBe(true);
  });

  it('a symlink in the place of a directory below the destination is refused', async () => {
    await mkdir(out('elsewhere'));
    await mkdir(out('etc'));
    await symlink(out('elsewhere'), out('etc/locked'));
    await expect(copyOut(files, '/etc', out('etc'))).rejects.toMatchObject({ code: 'io-error', found: 'a symlink' });
    expect(await readdir(out('elsewhere'))).toEqual([]);
  });

  it('a directory is added to', async () => {
    await mkdir(out('etc'));
    await writeFile(out('etc/mine'), 'mine');
    await copyOut(files, '/etc', out('etc'));
    expect((await readdir(out('etc'))).toSorted()).toEqual(['again', 'in', 'locked', 'mine', 'out', 'plain']);
    await chmod(out('etc/locked'), 0o700);
  });
});

describe('an image that wants out', () => {
  /** A reader of directories that say whatever the test wants. */
  function hostile(
    names: readonly (readonly [name: string, type: 'file' | 'directory' | 'symlink', target?: string])[],
  ): ImageFiles {
    const root = 2;
    const inodeOf = (number: number): RawInode => {
      const [, type] = number === root ? ['', 'directory' as const] : names[number - 100]!;
      const time = { seconds: 0, nanoseconds: 0 };
      const ids = { uid: 0, gid: 0, links: 1, flags: 0, sectors: 0, xattrBlock: 0, deviceMajor: 0, deviceMinor: 0 };
      const bytes = { iBlock: new Uint8Array(60), tail: new Uint8Array(0) };
      return { number, type, mode: 0o755, size: 0, mtime: time, ctime: time, atime: time, ...ids, ...bytes };
    };
    const fake = {
      root: async () => inodeOf(root),
      inode: async (number: number) => inodeOf(number),
      target: async ({ number }: RawInode) => names[number - 100]?.[2] ?? '',
      async *entries({ number }: RawInode) {
        if (number === root) for (const [i, [name]] of names.entries()) yield { name, inode: 100 + i, type: 0 };
      },
      async *data() {
        yield* [];
      },
    };
    return new ImageFiles(fake as unknown as ConstructorParameters<typeof ImageFiles>[0]);
  }

  it.each(['../escaped', 'a/b', '/etc/passwd', 'nul\0'])('by the name %j', async (name) => {
    await expect(copyOut(hostile([[name, 'file']]), '/', out('copy'))).rejects.toMatchObject({ code: 'ext4-invalid' });
    expect(await readdir(directory)).toEqual(['copy']);
    expect(await readdir(out('copy'))).toEqual([]);
  });

  it('by a symlink and a directory of one name', async () => {
    const twice = hostile([
      ['x', 'symlink', directory],
      ['x', 'directory'],
    ]);
    await expect(copyOut(twice, '/', out('copy'))).rejects.toMatchObject({ code: 'ext4-invalid' });
  });

  it('by a symlink that was copied before: nothing goes through it', async () => {
    await mkdir(out('outside'));
    await copyOut(hostile([['x', 'symlink', out('outside')]]), '/', out('copy'));
    await expect(copyOut(hostile([['x', 'directory']]), '/', out('copy'))).rejects.toMatchObject({ code: 'io-error' });
    await copyOut(hostile([['x', 'file']]), '/', out('copy'));
    expect(await readdir(out('outside'))).toEqual([]);
    expect((await lstat(out('copy/x'))).isFile()).toBe(true);
  });
});

describe('where a copy goes', () => {
  const at = (path: string): FileStat =>
    ({ path, type: path === '/etc' || path === '/' ? 'directory' : 'file' }) as FileStat;

  it('into an existing directory, under the requested name', async () => {
    expect(await destinationFor('/etc/link', at('/etc/plain'), directory)).toBe(out('link'));
    expect(await destinationFor('/etc/', at('/etc'), `${directory}/`)).toBe(out('etc'));
    expect(await destinationFor('/etc/..', at('/etc'), directory)).toBe(out('etc'));
  });

  it('to the given name if nothing exists there', async () => {
    const name = out(randomBytes(4).toString('hex'));
    expect(await destinationFor('/etc/plain', at('/etc/plain'), name)).toBe(name);
    expect(await destinationFor('/etc', at('/etc'), `${name}/`)).toBe(name);
    await expect(destinationFor('/etc/plain', at('/etc/plain'), `${name}/`)).rejects.toMatchObject({
      code: 'io-error',
    });
  });

  it('the content of the root into the directory itself', async () => {
    expect(await destinationFor('/', at('/'), directory)).toBe(directory);
  });
});
