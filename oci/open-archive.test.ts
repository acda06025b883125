import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { describeWith, run } from '../tests/support/tools.ts';
import { fetchBytes } from './content.ts';
import { blob, noise, pushImage, rejects } from './contract.ts';
import { openLayout } from './layout-target.ts';
import { parseManifest } from './manifest.ts';
import { openTarget } from './open.ts';
import { openArchive } from './open-archive.ts';
import { parseReference } from './reference.ts';
import { makeArchive } from './testing/make-archive.ts';

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'accel-archive-'));
  file = path.join(directory, 'images.tar');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('a file that is not an archive', () => {
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
    await makeArchive(file, 'cut', 'v1');
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
    const { descriptor } = await makeArchive(file, 'judged', 'v1');
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
