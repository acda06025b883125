import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { RawImage } from '../../tests/support/raw-image.ts';
import { withTempDirectory } from '../../tests/support/tools.ts';
import { TarParser } from '../tar/parser.ts';
import { TarApplier } from './apply-tar.ts';
import type { Ext4Image } from './ext4-image.ts';
import { loadImage } from './load-image.ts';
import type { BlockDevice } from './reader.ts';

const NOWHERE = { beginRun() {}, write() {} };

/** Applies a tar without keeping its data; the metadata blocks of the commit, as text to compare. */
function commitOf(image: Ext4Image, tar: Uint8Array): string[] {
  image.beginLayer();
  const parser = new TarParser(new TarApplier(image, NOWHERE, () => undefined));
  parser.push(tar);
  parser.end();
  return [...image.commit()].map(({ block, bytes }) => `${block} ${Buffer.from(bytes).toString('base64')}`);
}

async function withDevice<T>(path: string, body: (device: BlockDevice) => Promise<T>): Promise<T> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    return await body({
      size,
      async read(offset, length) {
        const bytes = new Uint8Array(length);
        await file.read(bytes, 0, length, offset);
        return bytes;
      },
    });
  } finally {
    await file.close();
  }
}

/** Applies `layers`, and from the device after each of them loads the state again and goes on from there. */
async function expectSameFromEveryLayer(layers: readonly Uint8Array[], virtualSize = 2 ** 30): Promise<void> {
  await withTempDirectory(async (directory) => {
    for (let known = 1; known < layers.length; known++) {
      const path = join(directory, `${known}`);
      const raw = new RawImage(path, { virtualSize });
      for (const layer of layers.slice(0, known)) raw.apply([layer]);
      const loaded = await withDevice(path, loadImage);
      for (const layer of layers.slice(known)) {
        const continued = commitOf(raw.image, layer);
        const restarted = commitOf(loaded, layer);
        expect(restarted).toEqual(continued);
      }
      raw.close();
    }
  });
}

function names(from: number, to: number): TarBuilder {
  const tar = new TarBuilder().dir('many/');
  for (let i = from; i < to; i++) tar.file(`many/a rather long file name, number ${i}`, `${i}`);
  return tar;
}

describe('loadImage goes on as if it had never stopped', () => {
  it('on the golden input', async () => {
    const golden = (n: number): Uint8Array =>
      gunzipSync(readFileSync(join(import.meta.dirname, `../../fixtures/goldens/input/layer${n}.tar.gz`)));
    await expectSameFromEveryLayer([golden(1), golden(2), names(0, 10).build()], 64 * 2 ** 30);
  });

  it('with directories that grow from one block to an index, and an index of two levels', async () => {
    await expectSameFromEveryLayer([
      names(0, 30).build(),
      names(30, 600).build(),
      names(600, 650).whiteout('many/a rather long file name, number 7').build(),
    ]);
    await expectSameFromEveryLayer([
      names(0, 30_000).build(),
      names(30_000, 30_100).build(),
      names(30_100, 31_000).build(),
    ]);
  });

  it('with everything that an inode can hold, deep extent trees and freed numbers', async () => {
    const acl = Buffer.from(
      '0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff',
      'hex',
    );
    const first = new TarBuilder()
      .dir('./', { mode: 0o711, mtime: '5.000000001' })
      .dir('d/', { xattrs: { 'user.small': 'x', 'user.big': 'v'.repeat(900) } })
      .file('d/acl', 'x', { xattrs: { 'system.posix_acl_access': acl } })
      .file('d/old', 'y'.repeat(5000), { mtime: '-1.5' })
      .link('d/other', 'd/old')
      .symlink('fast', 'd')
      .symlink('slow', 'x'.repeat(300))
      .device('tty', 'character', 300, 70_000)
      .fifo('fifo')
      .file('far', '', { mtime: '9000000000.123456789', uid: 4_000_000_000, gid: 3_000_000_000 });
    const runs = Array.from({ length: 900 }, (_, i) => [i * 16_384, 512] as const);
    const sparse = {
      'GNU.sparse.major': '0',
      'GNU.sparse.minor': '1',
      'GNU.sparse.name': 'holes',
      'GNU.sparse.size': String(900 * 16_384),
      'GNU.sparse.numblocks': '900',
      'GNU.sparse.map': runs.flat().join(','),
    };
    first.file('holes', 'z'.repeat(900 * 512), { pax: sparse });
    const second = new TarBuilder()
      .whiteout('d/acl')
      .file('d/old', 'new')
      .file('twice', 'a')
      .file('twice', 'b')
      .dir('d/', { xattrs: { 'user.more': 'm' } });
    const third = new TarBuilder()
      .link('late', 'd/other')
      .whiteout('holes')
      .opaque('d')
      .file('d/again', 'z'.repeat(9000));
    await expectSameFromEveryLayer([first.build(), second.build(), third.build(), names(0, 40).build()]);
  });

  it('when a layer has deleted the last that was allocated', async () => {
    const gone = new TarBuilder().whiteout('last');
    await expectSameFromEveryLayer([
      new TarBuilder().file('last', 'x'.repeat(100_000)).build(),
      gone.build(),
      names(0, 5).build(),
    ]);
  });
});

describe('loadImage refuses', () => {
  it('a file system that is not accel’s', async () => {
    await withTempDirectory(async (directory) => {
      const path = join(directory, 'image');
      const raw = new RawImage(path, { virtualSize: 2 ** 30 });
      raw.apply([new TarBuilder().build()]);
      raw.close();
      const file = await open(path, 'r+');
      await file.write(new Uint8Array(16), 0, 16, 1024 + 0x68);
      await file.close();
      await expect(withDevice(path, loadImage)).rejects.toMatchObject({
        code: 'ext4-invalid',
        message: 'the file system was not made by accel',
      });
    });
  });

  it('attributes of a namespace that no one writes', async () => {
    await withTempDirectory(async (directory) => {
      const path = join(directory, 'image');
      const raw = new RawImage(path, { virtualSize: 2 ** 30 });
      const { metadata } = raw.apply([new TarBuilder().file('f', 'x', { xattrs: { 'user.a': 'value' } }).build()]);
      raw.close();
      const file = await open(path, 'r+');
      for (const block of metadata) {
        const bytes = Buffer.alloc(4096);
        await file.read(bytes, 0, 4096, block * 4096);
        // Magic of the attributes behind an inode, length of the name, its namespace.
        const at = bytes.indexOf(Buffer.from('000002ea0101', 'hex'));
        if (at >= 0) await file.write(Uint8Array.of(15), 0, 1, block * 4096 + at + 5);
      }
      await file.close();
      await expect(withDevice(path, loadImage)).rejects.toMatchObject({
        code: 'ext4-invalid',
        where: { inode: expect.any(Number) },
      });
    });
  });

  it('a group whose bitmap would lie behind the device', async () => {
    await withTempDirectory(async (directory) => {
      const path = join(directory, 'image');
      const raw = new RawImage(path, { virtualSize: 2 ** 30 });
      raw.apply([new TarBuilder().build()]);
      raw.close();
      const file = await open(path, 'r+');
      // bg_block_bitmap_lo, the first field of the first descriptor.
      await file.write(Uint8Array.of(0xff, 0xff, 0xff, 0xf0), 0, 4, 4096);
      await file.close();
      await expect(withDevice(path, loadImage)).rejects.toMatchObject({ code: 'ext4-invalid' });
    });
  });

  it('more files than allowed', async () => {
    await withTempDirectory(async (directory) => {
      const path = join(directory, 'image');
      const raw = new RawImage(path, { virtualSize: 2 ** 30 });
      raw.apply([names(0, 50).build()]);
      raw.close();
      await expect(withDevice(path, (device) => loadImage(device, { maxFiles: 20 }))).rejects.toMatchObject({
        code: 'limit-exceeded',
      });
    });
  });
});
