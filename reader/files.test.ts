/** Paths as a process inside of the image would see them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import type { TestLayout } from '../tests/support/converter.ts';
import { openImage } from './accelerated-image.ts';
import { type ImageFiles, openFiles } from './files.ts';
import { convertedLayout, FULL } from './testing/test-images.ts';

let layout: TestLayout;
let files: ImageFiles;

beforeAll(async () => {
  const tar = new TarBuilder()
    .dir('etc/')
    .file('etc/name', 'outer', { xattrs: { 'user.a': 'b' } })
    .dir('a/')
    .dir('a/etc/')
    .file('a/etc/name', 'inner')
    .symlink('a/absolute', '/etc/name')
    .symlink('a/relative', 'etc/name')
    .symlink('a/up', '../etc')
    .symlink('a/far', '../../../../../etc/name')
    .symlink('a/dangling', 'nowhere')
    .symlink('a/slow', `${'./'.repeat(100)}etc/name`)
    .symlink('link0', 'etc/name');
  for (let i = 1; i <= 41; i++) tar.symlink(`link${i}`, `link${i - 1}`);
  layout = await convertedLayout([{ tar: tar.build() }]);
  files = await openFiles(await openImage(layout.target, FULL));
});
afterAll(() => layout.remove());

describe('a path', () => {
  it.each([
    ['/', '/'],
    ['', '/'],
    ['/..', '/'],
    ['/../../etc/./name', '/etc/name'],
    ['etc//name', '/etc/name'],
    ['/etc/', '/etc'],
    ['/a/absolute', '/etc/name'],
    ['/a/relative', '/a/etc/name'],
    ['/a/slow', '/a/etc/name'],
    ['/a/up', '/etc'],
    ['/a/up/name', '/etc/name'],
    ['/a/up/..', '/'],
    ['/a/up/../a/etc', '/a/etc'],
    ['/a/far', '/etc/name'],
    ['/link39', '/etc/name'],
  ])('%s leads to %s', async (path, found) => {
    expect((await files.lookup(path)).path).toBe(found);
  });

  it.each([
    ['/a/absolute', '/a/absolute'],
    ['/a/up', '/a/up'],
    ['/a/up/', '/etc'],
    ['/a/dangling', '/a/dangling'],
    ['/link41', '/link41'],
  ])('%s leads to %s when its end is not followed', async (path, found) => {
    expect((await files.lookup(path, { followLast: false })).path).toBe(found);
  });

  it.each([
    ['/absent', 'no absent in /'],
    ['/etc/name/', 'a file'],
    ['/etc/name/x', '/etc/name is a file'],
    ['/a/dangling', 'no nowhere in /a'],
    ['/link40', 'more of them'],
  ])('%s leads nowhere', async (path, found) => {
    await expect(files.lookup(path)).rejects.toMatchObject({ code: 'not-found', where: { path }, found });
  });

  it('of more than 4096 bytes is refused', async () => {
    await expect(files.lookup('/x'.repeat(2049))).rejects.toMatchObject({ code: 'usage' });
  });
});

it('what is asked of the wrong kind of file names it', async () => {
  await expect(files.names('/etc/name')).rejects.toMatchObject({ code: 'not-found', where: { path: '/etc/name' } });
  await expect(files.readlink('/etc')).rejects.toMatchObject({ code: 'not-found' });
  await expect(files.content('/etc').next()).rejects.toMatchObject({ code: 'not-found', found: 'a directory' });
});

it('attributes, links and parts of content', async () => {
  expect([...(await files.xattrs('/etc/name'))]).toEqual([['user.a', new Uint8Array(Buffer.from('b'))]]);
  expect(await files.readlink('/a/up')).toBe('../etc');
  const pieces: Uint8Array[] = [];
  for await (const piece of files.content('/etc/name', 1, 3)) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe('ut');
});

it('a walk starts anywhere and follows no symlink', async () => {
  const paths: string[] = [];
  for await (const { path } of files.walk('/a')) paths.push(path);
  const below = ['absolute', 'dangling', 'etc', 'etc/name', 'far', 'relative', 'slow', 'up'];
  expect(paths).toEqual(['/a', ...below.map((name) => `/a/${name}`)]);
});
