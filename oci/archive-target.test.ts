import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { ownIdentity, processMark } from '../disk/process-mark.ts';
import { fetchBytes } from './content.ts';
import { blob, noise, pieces, pushImage, referrerOf, rejects, storageContract } from './contract.ts';
import { Digester } from './digest.ts';
import { openLayout } from './layout-target.ts';
import { parseManifest } from './manifest.ts';
import { openArchive } from './open-archive.ts';
import { makeArchive } from './testing/make-archive.ts';

storageContract('oci-archive', async () => {
  const parent = await mkdtemp(path.join(tmpdir(), 'accel-archive-'));
  const target = await openArchive(path.join(parent, 'images.tar'), 'oci', { create: true });
  return { target, dispose: () => rm(parent, { recursive: true, force: true }) };
});

storageContract('oci-archive, opened again', async () => {
  const parent = await mkdtemp(path.join(tmpdir(), 'accel-archive-'));
  const file = path.join(parent, 'images.tar');
  const first = await openArchive(file, 'oci', { create: true });
  await first.tag((await pushImage(first, 'earlier')).descriptor, 'earlier');
  await first.close();
  return { target: await openArchive(file, 'oci'), dispose: () => rm(parent, { recursive: true, force: true }) };
});

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'accel-archive-'));
  file = path.join(directory, 'images.tar');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Bytes that this process has read, from files and otherwise, since it began. */
async function bytesRead(): Promise<number> {
  return Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
}

describe('committing an oci-archive', () => {
  test('nothing exists before close, all of it afterwards, and no temporary file', async () => {
    const target = await openArchive(file, 'oci', { create: true });
    const { descriptor, bytes } = await pushImage(target, 'x');
    await target.tag(descriptor, 'v1');
    expect((await readdir(directory)).filter((name) => !name.startsWith('.accel-'))).toEqual([]);
    await target.close();
    await target.close();
    expect(await readdir(directory)).toEqual(['images.tar']);
    const again = await openArchive(file, 'oci');
    expect(await again.resolve('v1')).toMatchObject(descriptor);
    expect(Buffer.from(await fetchBytes(again, descriptor, 1e6)).equals(bytes)).toBe(true);
    const { layers } = parseManifest(bytes, descriptor);
    expect(new TextDecoder().decode(await fetchBytes(again, layers[0]!, 100))).toBe('layer of x');
    await again.close();
  });

  test('pushes without a tag leave nothing, and existing content stays', async () => {
    const target = await openArchive(file, 'oci', { create: true });
    await pushImage(target, 'x');
    await target.close();
    expect(await readdir(directory)).toEqual([]);
    await makeArchive(file, 'old', 'old');
    const before = await readFile(file);
    const second = await openArchive(file, 'oci');
    await pushImage(second, 'untagged');
    await second.close();
    expect((await readFile(file)).equals(before)).toBe(true);
    expect(await readdir(directory)).toEqual(['images.tar']);
  });

  test('reading alone touches nothing', async () => {
    const { descriptor } = await makeArchive(file, 'x', 'v1');
    const before = await stat(file);
    const target = await openArchive(file, 'oci', { create: true });
    await target.tag(descriptor, 'v1');
    expect(await target.tags()).toEqual(['v1']);
    await target.close();
    expect((await stat(file)).ino).toBe(before.ino);
  });

  test('an archive that is written again keeps its images; the same image, the same bytes', async () => {
    await makeArchive(file, 'one', 'one');
    const first = await readFile(file);
    await rm(file);
    await makeArchive(file, 'one', 'one');
    expect((await readFile(file)).equals(first)).toBe(true);
    await makeArchive(file, 'two', 'two');
    const target = await openArchive(file, 'oci');
    expect(await target.tags()).toEqual(['one', 'two']);
    for (const tag of ['one', 'two']) await fetchBytes(target, await target.resolve(tag), 1e6);
    await target.close();
  });

  test('commit publishes tags while the target stays open; more may follow', async () => {
    const target = await openArchive(file, 'oci', { create: true });
    const one = await pushImage(target, 'one');
    await target.tag(one.descriptor, 'one');
    await target.commit();
    const between = await readFile(file);
    expect(await readdir(directory)).toEqual(['images.tar']);
    await target.commit();
    const two = await pushImage(target, 'two');
    expect(Buffer.from(await fetchBytes(target, one.descriptor, 1e6)).equals(one.bytes)).toBe(true);
    expect((await readFile(file)).equals(between)).toBe(true);
    await target.tag(two.descriptor, 'two');
    await target.close();
    expect(await readdir(directory)).toEqual(['images.tar']);
    const again = await openArchive(file, 'oci');
    expect(await again.tags()).toEqual(['one', 'two']);
    for (const { descriptor, bytes } of [one, two]) {
      expect(Buffer.from(await fetchBytes(again, descriptor, 1e6)).equals(bytes)).toBe(true);
      for (const layer of parseManifest(bytes, descriptor).layers) await fetchBytes(again, layer, 100);
    }
    await again.close();
  });

  test('what could not be committed is not tried again by close', async () => {
    const target = await openArchive(file, 'oci', { create: true });
    await target.tag((await pushImage(target, 'x')).descriptor, 'v1');
    await mkdir(file);
    expect((await rejects(target.commit(), 'io-error')).where).toMatchObject({ path: file });
    await rm(file, { recursive: true });
    await target.close();
    expect(await readdir(directory)).toEqual([]);
  });

  test('an abort ends the copying of existing content; the old archive stays', async () => {
    await makeArchive(file, 'old', 'old');
    const before = await readFile(file);
    const target = await openArchive(file, 'oci');
    await target.tag((await pushImage(target, 'new')).descriptor, 'new');
    const reason = new Error('enough');
    await expect(target.commit({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await target.close();
    expect((await readFile(file)).equals(before)).toBe(true);
    expect(await readdir(directory)).toEqual(['images.tar']);
  });

  test('an archive of which closing says that it was not kept is not put in place', async () => {
    const target = await openArchive(file, 'oci', { create: true });
    await target.tag((await pushImage(target, 'x')).descriptor, 'v1');
    const { close } = DiskFile.prototype;
    DiskFile.prototype.close = async function () {
      DiskFile.prototype.close = close;
      await this.close();
      throw new AccelError('io-error', 'EIO: i/o error, close');
    };
    try {
      await rejects(target.commit(), 'io-error');
    } finally {
      DiskFile.prototype.close = close;
    }
    await target.close();
    expect(await readdir(directory)).toEqual([]);
  });

  test('a failed push leaves no trace in what is committed', async () => {
    const target = await openArchive(file, 'oci', { create: true });
    const bytes = noise(200_000, 1);
    await rejects(target.push(blob(bytes), pieces(noise(200_000, 2), 1000)), 'digest-mismatch');
    await rejects(target.push(blob(bytes), pieces(bytes.subarray(5), 1000)), 'size-mismatch');
    const { descriptor } = await pushImage(target, 'x');
    await target.tag(descriptor, 'v1');
    await target.close();
    expect((await readFile(file)).length).toBeLessThan(20_000);
    const again = await openArchive(file, 'oci');
    expect(await again.exists(blob(bytes))).toBe(false);
    await again.close();
  });

  test('memory does not grow with a blob of 128 MiB, written, committed twice and read; opening reads headers alone', async () => {
    const piece = noise(1 << 20, 9);
    const digester = new Digester();
    for (let i = 0; i < 128; i += 1) digester.update(piece);
    const descriptor = { ...blob(piece), digest: digester.digest(), size: 128 << 20 };
    const start = process.memoryUsage().arrayBuffers;
    let peak = 0;
    const watch = () => {
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - start);
    };
    const target = await openArchive(file, 'oci', { create: true });
    await target.push(descriptor, {
      async *open() {
        for (let i = 0; i < 128; i += 1) {
          watch();
          yield piece.slice();
        }
      },
    });
    await target.tag((await pushImage(target, 'large')).descriptor, 'v1');
    await target.close();
    const second = await openArchive(file, 'oci');
    await second.tag(await second.resolve('v1'), 'v2');
    await second.close();
    watch();
    const before = await bytesRead();
    const third = await openArchive(file, 'oci');
    expect((await bytesRead()) - before).toBeLessThan(1 << 20);
    expect(await third.tags()).toEqual(['v1', 'v2']);
    for await (const _ of await third.fetch(descriptor)) watch();
    await third.close();
    expect(peak).toBeLessThan(64 << 20);
  });

  test('two writers: both keep their tags and blobs, and a tag that both gave is the second one’s', async () => {
    await makeArchive(file, 'base', 'base');
    const one = await openArchive(file, 'oci');
    const two = await openArchive(file, 'oci');
    for (const [target, tag] of [
      [one, 'one'],
      [two, 'two'],
    ] as const) {
      const { descriptor } = await pushImage(target, tag);
      await target.tag(descriptor, tag);
      await target.tag(descriptor, 'both');
    }
    await one.close();
    await two.close();
    const again = await openArchive(file, 'oci');
    expect(await again.tags()).toEqual(['base', 'both', 'one', 'two']);
    for (const tag of ['base', 'one', 'two']) {
      const descriptor = await again.resolve(tag);
      const { layers } = parseManifest(await fetchBytes(again, descriptor, 1e6), descriptor);
      expect(Buffer.from(await fetchBytes(again, layers[0]!, 1e6)).toString()).toBe(`layer of ${tag}`);
    }
    expect((await again.resolve('both')).digest).toBe((await again.resolve('two')).digest);
    await again.close();
    expect(await readdir(directory)).toEqual(['images.tar']);
  });

  test('two writers that add referrers to one image: the list has both', async () => {
    await makeArchive(file, 'base', 'base');
    const targets = [await openArchive(file, 'oci'), await openArchive(file, 'oci')];
    const { digest } = await targets[0]!.resolve('base');
    const entries: string[] = [];
    for (const [i, target] of targets.entries()) {
      const subject = await target.resolve('base');
      const { descriptor, bytes } = await referrerOf(target, subject, `application/x.${i}`, { label: String(i) });
      await target.pushReferrer(descriptor, bytesSource(bytes));
      entries.push(descriptor.digest);
    }
    for (const target of targets) await target.close();
    const again = await openArchive(file, 'oci');
    expect((await again.referrers({ digest })).map((entry) => entry.digest)).toEqual(entries);
    await again.close();
  });

  test('an archive that is removed meanwhile is not made again', async () => {
    await makeArchive(file, 'base', 'base');
    const target = await openArchive(file, 'oci');
    await target.tag((await pushImage(target, 'one')).descriptor, 'one');
    await rm(file);
    expect((await rejects(target.close(), 'io-error')).message).toContain('removed');
    expect(await readdir(directory)).toEqual([]);
  });

  test('an archive behind a link: the file is replaced, the link stays', async () => {
    await makeArchive(file, 'base', 'base');
    const link = path.join(directory, 'link.tar');
    await symlink('images.tar', link);
    const target = await openArchive(link, 'oci');
    await target.tag((await pushImage(target, 'one')).descriptor, 'one');
    await target.close();
    expect(await readlink(link)).toBe('images.tar');
    const again = await openArchive(file, 'oci');
    expect(await again.tags()).toEqual(['base', 'one']);
    await again.close();
  });

  test('what a killed process left is swept, what is in use is not', async () => {
    const gone = `.accel-${processMark({ ...ownIdentity(), pid: 999_999_999 })}-1.tmp`;
    const alive = `.accel-${processMark()}-999.tmp`;
    for (const name of [gone, alive, 'mine']) await writeFile(path.join(directory, name), 'x');
    await makeArchive(file, 'one', 'one');
    expect((await readdir(directory)).sort()).toEqual([alive, 'images.tar', 'mine']);
  });

  test('a layout is swept as well, its blobs included, by the first who writes to it', async () => {
    const layout = path.join(directory, 'layout');
    await openLayout(layout, { create: true });
    const gone = `.accel-${processMark({ ...ownIdentity(), pid: 999_999_999 })}-7.tmp`;
    const stale = path.join(layout, 'blobs', 'sha256', gone);
    await mkdir(path.dirname(stale), { recursive: true });
    await writeFile(stale, 'x');
    const target = await openLayout(layout);
    expect((await stat(stale)).isFile()).toBe(true);
    await pushImage(target, 'one');
    await expect(stat(stale)).rejects.toThrow('ENOENT');
  });
});
