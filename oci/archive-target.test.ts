import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { ownIdentity, processMark } from '../disk/process-mark.ts';
import { describeWith, run } from '../tests/support/tools.ts';
import { fetchBytes } from './content.ts';
import { blob, noise, pieces, pushImage, referrerOf, rejects, storageContract } from './contract.ts';
import { Digester } from './digest.ts';
import { openLayout } from './layout-target.ts';
import { parseManifest } from './manifest.ts';
import { openTarget } from './open.ts';
import { openArchive } from './open-archive.ts';
import { parseReference } from './reference.ts';

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

/** Writes an archive with one image under `tag`. */
async function make(label: string, tag: string) {
  const target = await openArchive(file, 'oci', { create: true });
  const image = await pushImage(target, label);
  await target.tag(image.descriptor, tag);
  await target.close();
  return image;
}

describe('committing an oci-archive', () => {
  test('nothing stands before close, all of it afterwards, and no temporary file', async () => {
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

  test('pushes without a tag leave nothing, and what stood stays', async () => {
    const target = await openArchive(file, 'oci', { create: true });
    await pushImage(target, 'x');
    await target.close();
    expect(await readdir(directory)).toEqual([]);
    await make('old', 'old');
    const before = await readFile(file);
    const second = await openArchive(file, 'oci');
    await pushImage(second, 'untagged');
    await second.close();
    expect((await readFile(file)).equals(before)).toBe(true);
    expect(await readdir(directory)).toEqual(['images.tar']);
  });

  test('reading alone touches nothing', async () => {
    const { descriptor } = await make('x', 'v1');
    const before = await stat(file);
    const target = await openArchive(file, 'oci', { create: true });
    await target.tag(descriptor, 'v1');
    expect(await target.tags()).toEqual(['v1']);
    await target.close();
    expect((await stat(file)).ino).toBe(before.ino);
  });

  test('an archive that is written again keeps its images; the same image, the same bytes', async () => {
    await make('one', 'one');
    const first = await readFile(file);
    await rm(file);
    await make('one', 'one');
    expect((await readFile(file)).equals(first)).toBe(true);
    await make('two', 'two');
    const target = await openArchive(file, 'oci');
    expect(await target.tags()).toEqual(['one', 'two']);
    for (const tag of ['one', 'two']) await fetchBytes(target, await target.resolve(tag), 1e6);
    await target.close();
  });

  test('commit lets tags stand while the target stays open; more may follow', async () => {
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

  test('an abort ends the copying of what stood; the old archive stays', async () => {
    await make('old', 'old');
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
    const began = performance.now();
    const third = await openArchive(file, 'oci');
    expect(performance.now() - began).toBeLessThan(500);
    expect(await third.tags()).toEqual(['v1', 'v2']);
    for await (const _ of await third.fetch(descriptor)) watch();
    await third.close();
    expect(peak).toBeLessThan(64 << 20);
  });

  test('two writers: both keep their tags and blobs, and a tag that both gave is the second one’s', async () => {
    await make('base', 'base');
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
    await make('base', 'base');
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
    await make('base', 'base');
    const target = await openArchive(file, 'oci');
    await target.tag((await pushImage(target, 'one')).descriptor, 'one');
    await rm(file);
    expect((await rejects(target.close(), 'io-error')).message).toContain('removed');
    expect(await readdir(directory)).toEqual([]);
  });

  test('an archive behind a link: the file is replaced, the link stays', async () => {
    await make('base', 'base');
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
    await make('one', 'one');
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

describe('what is no archive', () => {
  test.each([
    ['a missing file', undefined, 'not-found'],
    ['an empty file', Buffer.alloc(0), 'layout-invalid'],
    ['text', Buffer.from('hello'.repeat(500)), 'layout-invalid'],
    ['a gzip', gzipSync('x'), 'layout-invalid'],
    ['zeros', Buffer.alloc(10_240), 'layout-invalid'],
  ] as const)('%s', async (_, content, code) => {
    if (content !== undefined) await writeFile(file, content);
    for (const format of ['oci', 'docker'] as const) await rejects(openArchive(file, format), code);
  });

  test('a compressed archive: the hint says how to unpack it', async () => {
    await writeFile(file, gzipSync('x'));
    expect((await rejects(openArchive(file, 'docker'), 'layout-invalid')).hint).toContain('gzip -dc');
  });

  test('one that is cut off at any block is refused or reads as far as it goes, and never hangs', async () => {
    await make('cut', 'v1');
    const whole = await readFile(file);
    for (let size = 512; size < whole.length - 1024; size += 512) {
      await writeFile(file, whole.subarray(0, size));
      await rejects(openArchive(file, 'oci'), 'layout-invalid');
    }
  });

  test('a directory, and docker-archive as a target', async () => {
    await rejects(openArchive(directory, 'oci'), 'layout-invalid');
    await rejects(openArchive(file, 'docker', { create: true }), 'not-found');
  });
});

/** Builds a tar of `files` with the system's tar. */
async function systemTar(
  files: Record<string, string | Uint8Array>,
  links: Record<string, string> = {},
  options: string[] = [],
) {
  const root = path.join(directory, 'content');
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await writeFile(path.join(root, name), content);
  }
  for (const [name, to] of Object.entries(links)) {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await symlink(to, path.join(root, name));
  }
  await run('tar', [...options, '-cf', file, '-C', root, '.']);
}

describeWith({ tools: ['tar'] }, 'archives of docker save', () => {
  const layerOne = noise(4096, 1);
  const layerTwo = noise(9000, 2);
  const config = (diffIds: string[]) =>
    JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: diffIds } });
  const plain = [blob(layerOne).digest, blob(layerTwo).digest, blob(layerOne).digest];

  test.each([
    ['gnu', ['--format=gnu']],
    ['pax', ['--format=posix']],
  ])('the old form, as a %s tar: links to equal layers, plain tars under their diff_id', async (_, options) => {
    const long = `${'a'.repeat(64)}/${'b'.repeat(64)}/layer.tar`;
    await systemTar(
      {
        'manifest.json': JSON.stringify([
          {
            Config: 'c.json',
            RepoTags: ['reg.example:5000/app:v1', 'app:v2'],
            Layers: ['one/layer.tar', long, 'three/layer.tar'],
          },
        ]),
        'c.json': config(plain),
        'one/layer.tar': layerOne,
        [long]: layerTwo,
      },
      { 'three/layer.tar': '../one/layer.tar' },
      options,
    );
    const target = await openTarget(parseReference(`docker-archive:${file}:v1`));
    const descriptor = await target.resolve('v1');
    expect(await target.resolve('v2')).toMatchObject({ digest: descriptor.digest });
    const manifest = parseManifest(await fetchBytes(target, descriptor, 1e6), descriptor);
    expect(manifest.layers.map(({ digest }) => digest)).toEqual(plain);
    expect(manifest.layers.map(({ mediaType }) => mediaType)).toEqual(
      Array(3).fill('application/vnd.oci.image.layer.v1.tar'),
    );
    expect(Buffer.from(await fetchBytes(target, manifest.layers[1]!, 1e5)).equals(layerTwo)).toBe(true);
    expect(Buffer.from(await target.fetchRange(manifest.layers[2]!, 100, 50)).equals(layerOne.subarray(100, 150))).toBe(
      true,
    );
    expect(JSON.parse(new TextDecoder().decode(await fetchBytes(target, manifest.config, 1e5))).os).toBe('linux');
    expect(await target.resolve(descriptor.digest)).toMatchObject({ digest: descriptor.digest });
    expect((await rejects(target.resolve('v9'), 'not-found')).found).toBe('app:v2, reg.example:5000/app:v1');
    await rejects(target.push(blob(noise(5, 5)), bytesSource(noise(5, 5))), 'usage');
    await rejects(target.tag(descriptor, 'v3'), 'usage');
    await target.close?.();
  });

  test('compressed layers inside get digests of their own (Bazel, Jib)', async () => {
    const packed = gzipSync(layerOne);
    await systemTar({
      'manifest.json': JSON.stringify([{ Config: 'c.json', RepoTags: null, Layers: ['l.tar.gz'] }]),
      'c.json': config([blob(layerOne).digest]),
      'l.tar.gz': packed,
    });
    const target = await openArchive(file, 'docker');
    const descriptor = await target.resolve('latest');
    const { layers } = parseManifest(await fetchBytes(target, descriptor, 1e6), descriptor);
    expect(layers).toEqual([{ ...blob(packed), mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' }]);
    await fetchBytes(target, layers[0]!, 1e6);
    await target.close();
  });

  test('a layer that is not what its diff_id says is found while it is read', async () => {
    await systemTar({
      'manifest.json': JSON.stringify([{ Config: 'c.json', RepoTags: ['a:1'], Layers: ['l.tar'] }]),
      'c.json': config([blob(layerTwo).digest]),
      'l.tar': layerOne,
    });
    const target = await openArchive(file, 'docker');
    const descriptor = await target.resolve('1');
    const { layers } = parseManifest(await fetchBytes(target, descriptor, 1e6), descriptor);
    await rejects(fetchBytes(target, layers[0]!, 1e6), 'digest-mismatch');
    await target.close();
  });

  test('two images that share a tag are found by their whole names and by digest', async () => {
    const image = (name: string, layer: Uint8Array) => ({
      Config: `${name}.json`,
      RepoTags: [`${name}:latest`],
      Layers: [`${name}.tar`],
      layer,
    });
    const images = [image('a', layerOne), image('b', layerTwo)];
    await systemTar({
      'manifest.json': JSON.stringify(images.map(({ layer: _, ...rest }) => rest)),
      ...Object.fromEntries(
        images.flatMap((each) => [
          [each.Config, config([blob(each.layer).digest])],
          [each.Layers[0]!, each.layer],
        ]),
      ),
    });
    const target = await openArchive(file, 'docker');
    const error = await rejects(target.resolve('latest'), 'layout-invalid');
    const digests = await Promise.all(['a', 'b'].map(async (name) => (await target.resolve(`${name}:latest`)).digest));
    expect(error.found).toBe(`a:latest (${digests[0]}), b:latest (${digests[1]})`);
    expect(await target.tags()).toEqual(['a:latest', 'b:latest']);
    expect((await target.resolve('docker.io/library/b:latest')).digest).toBe(digests[1]);
    expect((await target.resolve(digests[0]!)).digest).toBe(digests[0]);
    await target.close();
  });

  test.each([
    ['no manifest.json', {}],
    ['not JSON', { 'manifest.json': '[' }],
    ['not a list', { 'manifest.json': '{}' }],
    ['a config that is missing', { 'manifest.json': '[{"Config":"no.json","RepoTags":[],"Layers":[]}]' }],
    [
      'a layer that is missing',
      { 'manifest.json': '[{"Config":"c.json","Layers":["no.tar"]}]', 'c.json': config([plain[0]!]) },
    ],
    [
      'fewer diff_ids than layers',
      { 'manifest.json': '[{"Config":"c.json","Layers":["c.json"]}]', 'c.json': config([]) },
    ],
    ['a path out of the archive', { 'manifest.json': '[{"Config":"../../../../etc/hostname","Layers":[]}]' }],
  ])('%s is refused', async (_, files) => {
    await systemTar({ ...files, filler: 'x' });
    const error: unknown = await openArchive(file, 'docker').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'AccelError', code: expect.stringMatching(/layout-invalid|manifest-invalid/) });
  });

  test.each([
    [
      'to nothing',
      { 'e37c/layer.tar': '.x.tar' },
      'e37c/layer.tar',
      'a link at e37c/layer.tar that leads nowhere: to e37c/.x.tar',
    ],
    [
      'to a link to nothing',
      { 'a.tar': 'b.tar', 'b.tar': '../c.tar' },
      'a.tar',
      'a link at b.tar that leads nowhere: to c.tar',
    ],
    ['to a directory', { 'a.tar': 'folder' }, 'a.tar', 'a directory at folder'],
  ])('a layer that is a link %s: where it leads to is said', async (_, links, layer, found) => {
    const manifest = JSON.stringify([{ Config: 'c.json', RepoTags: ['a:t'], Layers: [layer] }]);
    await mkdir(path.join(directory, 'content', 'folder'), { recursive: true });
    await systemTar({ 'manifest.json': manifest, 'c.json': config([plain[0]!]) }, links);
    const error = await rejects(openArchive(file, 'docker'), 'layout-invalid');
    expect(error).toMatchObject({ where: { member: layer }, found });
  });

  test('an empty path of a layer', async () => {
    const manifest = JSON.stringify([{ Config: 'c.json', RepoTags: ['a:t'], Layers: [''] }]);
    await systemTar({ 'manifest.json': manifest, 'c.json': config([plain[0]!]) });
    expect((await rejects(openArchive(file, 'docker'), 'layout-invalid')).found).toBe('an empty path for layer 1');
  });

  test('the form of Docker before 1.10 is named', async () => {
    await systemTar({ repositories: '{"app":{"latest":"e37c"}}', 'e37c/layer.tar': 'x', 'e37c/json': '{}' });
    expect((await rejects(openArchive(file, 'docker'), 'image-unsupported')).message).toContain('before 1.10');
  });

  test('docker save opened as an OCI layout: the hint names the other form', async () => {
    await systemTar({ 'manifest.json': '[]' });
    expect((await rejects(openArchive(file, 'oci'), 'layout-invalid')).hint).toContain('docker-archive:FILE');
  });

  test('links that lead in a circle', async () => {
    await systemTar({ filler: 'x' }, { 'manifest.json': 'other.json', 'other.json': 'manifest.json' });
    expect((await rejects(openArchive(file, 'docker'), 'layout-invalid')).found).toContain('circle');
  });
});

describeWith({ tools: ['skopeo', 'tar'] }, 'skopeo as the judge', () => {
  const policy = ['--insecure-policy', 'copy', '-q'];

  test('reads the oci-archive that we wrote, checking every digest', async () => {
    const { descriptor } = await make('judged', 'v1');
    await run('skopeo', [...policy, '--preserve-digests', `oci-archive:${file}:v1`, `oci:${directory}/out:v1`]);
    const out = await openLayout(path.join(directory, 'out'));
    expect((await out.resolve('v1')).digest).toBe(descriptor.digest);
    expect((await run('tar', ['-tf', file])).stdout.toString('utf8').split('\n').slice(-2)).toEqual(['index.json', '']);
  });

  test('we read the oci-archive and the docker-archive that it wrote', async () => {
    const layout = await openLayout(path.join(directory, 'in'), { create: true });
    const tar = path.join(directory, 'layer.tar');
    await writeFile(path.join(directory, 'hello'), 'hello');
    await run('tar', ['-cf', tar, '-C', directory, 'hello']);
    const layer = await readFile(tar);
    const { descriptor } = await pushImage(layout, 'skopeo', layer);
    await layout.tag(descriptor, 'v1');
    for (const format of ['oci', 'docker'] as const) {
      await rm(file, { force: true });
      const named = format === 'oci' ? ':v1' : ':example/app:v1';
      await run('skopeo', [...policy, `oci:${directory}/in:v1`, `${format}-archive:${file}${named}`]);
      const target = await openArchive(file, format);
      const found = await target.resolve('v1');
      const { layers } = parseManifest(await fetchBytes(target, found, 1e6), found);
      const copied = await fetchBytes(target, layers[0]!, 1e6);
      // skopeo compresses layers on their way into an oci-archive, and docker save's form has them plain.
      const content = format === 'oci' ? gunzipSync(copied) : copied;
      expect(layer.equals(content)).toBe(true);
      await target.close();
    }
  });
});
