/** Registry to registry with parts that others wrote: Debian's docker-registry, skopeo pushing in and copying out. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { convert as convertByLibrary } from '../../converter/convert.ts';
import { buildIndexLayout, buildLayout } from '../../fixtures/image-builder.ts';
import { accel, convert } from '../support/accel.ts';
import { JUDGE_TOOLS, judgeImage } from '../support/judge-image.ts';
import { freePort } from '../support/loopback.ts';
import { blobPath, readImage, readImages } from '../support/oci-layout.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { readStored } from '../support/registry-store.ts';
import { describeWith, run, withTempDirectory } from '../support/tools.ts';
import { IMAGES } from './images.ts';

const GOLDEN_IMAGE = IMAGES[0]!;

async function goldenSpecs() {
  return (await GOLDEN_IMAGE.layers()).map((tar) => ({ tar }));
}

describeWith({ tools: ['docker-registry', 'skopeo', ...JUDGE_TOOLS] }, 'registry to registry', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry?.stop());

  const push = (layout: string, name: string) =>
    run('skopeo', [
      'copy',
      '--all',
      '--dest-tls-verify=false',
      `oci:${layout}:latest`,
      `docker://${registry.host}/${name}`,
    ]);
  const pull = (name: string, layout: string, tag: string) =>
    run('skopeo', [
      'copy',
      '--all',
      '--preserve-digests',
      '--src-tls-verify=false',
      `docker://${registry.host}/${name}`,
      `oci:${layout}:${tag}`,
    ]);

  test('an image that skopeo pushed is converted, and skopeo copies the result with every digest checked', async () => {
    await withTempDirectory(async (directory) => {
      const source = join(directory, 'source');
      await buildLayout(source, 'latest', await goldenSpecs());
      await push(source, 'team/app:1.2');
      const result = await convert(['-r', `${registry.host}/team/app`, '-i', '1.2', '-o', '1.2_obd', '--plain']);
      const target = join(directory, 'target');
      await pull('team/app:1.2_obd', target, 'obd');
      const image = await readImage(target, 'obd');
      expect(image.descriptor.digest).toBe(result.tags[0]?.digest);
      const layers = (await readImage(source, 'latest')).manifest.layers;
      await judgeImage(
        target,
        image.manifest,
        layers.map((layer) => blobPath(source, layer.digest)),
      );
    });
  });

  test('an index of two platforms stays an index', async () => {
    await withTempDirectory(async (directory) => {
      const source = join(directory, 'source');
      const member = async (architecture: string) => ({
        layers: await goldenSpecs(),
        options: { platform: { os: 'linux', architecture } },
      });
      await buildIndexLayout(source, 'latest', [await member('amd64'), await member('arm64')]);
      await push(source, 'team/multi:1');
      await convert(['-r', `${registry.host}/team/multi`, '-i', '1', '-o', '1_obd', '--plain']);
      const target = join(directory, 'target');
      await pull('team/multi:1_obd', target, 'obd');
      const images = await readImages(target, 'obd');
      expect(images.map(({ config }) => config.architecture)).toEqual(['amd64', 'arm64']);
    });
  });

  test('a source named by digest, and a registry that gives the same digest as a layout', async () => {
    await withTempDirectory(async (directory) => {
      const source = join(directory, 'source');
      const built = await buildLayout(source, 'latest', await goldenSpecs());
      await push(source, 'team/digest:1');
      const byDigest = ['-r', `${registry.host}/team/digest`, '-g', built.manifest.digest, '-o', 'obd', '--plain'];
      const remote = await convert(byDigest);
      const local = await convert(['-r', `oci:${source}`, '-i', 'latest', '-o', 'obd']);
      expect(remote.tags[0]?.digest).toBe(local.tags[0]?.digest);
    });
  });

  test('a missing tag is named, and the exit code is 1', async () => {
    const result = await accel(['convert', '-r', `${registry.host}/team/app`, '-i', 'nowhere', '-o', 'x', '--plain']);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('[not-found]');
    expect(result.stderr).toContain('nowhere');
    expect(result.leftovers).toEqual([]);
  });

  test('a missing repository is named, and the exit code is 1', async () => {
    const result = await accel(['convert', '-r', `${registry.host}/team/absent`, '-i', '1', '-o', 'x', '--plain']);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('[not-found]');
    expect(result.stderr).toContain('team/absent');
  });

  test('an output tag that a killed registry cannot read any more: the error names the way out, which works', async () => {
    await withTempDirectory(async (directory) => {
      const source = join(directory, 'source');
      await buildLayout(source, 'latest', await goldenSpecs());
      const repository = 'team/killed';
      const settings = {
        repository: `oci:${source}`,
        source: { tag: 'latest' },
        targetRepository: `${registry.host}/${repository}`,
        outputs: [{ tag: 'obd', kind: 'full' }],
        workDirectory: directory,
      } as const;
      // Retries without the waits between them.
      const surroundings = { targetRegistry: { plain: true, env: {}, runtime: { sleep: async () => undefined } } };
      const made = await convertByLibrary(settings, surroundings);
      const tags = join(registry.root, 'docker/registry/v2/repositories', repository, '_manifests/tags');
      await writeFile(join(tags, 'obd/current/link'), '');
      await expect(convertByLibrary(settings, surroundings)).rejects.toMatchObject({
        code: 'registry-error',
        hint: 'If obd stays unreadable, overwrite it with force.',
        found: expect.stringContaining('HTTP 500'),
      });
      const again = await convertByLibrary({ ...settings, force: true }, surroundings);
      expect(again.tags).toEqual(made.tags);
      expect((await readStored(registry, repository, 'obd')).digest).toBe(made.tags[0]!.digest);
    });
  });
});

test('a missing registry is named, and the exit code is 1', async () => {
  const port = await freePort();
  const result = await accel(['convert', '-r', `127.0.0.1:${port}/team/app`, '-i', '1', '-o', 'x', '--plain']);
  expect(result.exitCode).toBe(1);
  expect(result.stderr).toContain('[registry-unreachable]');
  expect(result.stderr).toContain(`127.0.0.1:${port}`);
  expect(result.leftovers).toEqual([]);
});
