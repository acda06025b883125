/** `accel convert` on an OCI layout in place, its results judged by e2fsck, the kernel and an independent flattening. */
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildIndexLayout, buildLayout, type LayerSpec } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { accel, convert } from '../support/accel.ts';
import { JUDGE_TOOLS, judgeImage } from '../support/judge-image.ts';
import { blobPath, listBlobs, readImage, readImages, readTags } from '../support/oci-layout.ts';
import { describeWith, withTempDirectory } from '../support/tools.ts';
import { IMAGES } from './images.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');

/** A small two-layer image. */
function smallLayers(compression: NonNullable<LayerSpec['compression']>): LayerSpec[] {
  const lower = new TarBuilder().dir('etc/').file('etc/hosts', 'localhost\n').file('etc/old', 'x'.repeat(9000));
  const upper = new TarBuilder().whiteout('etc/old').file('etc/new', 'new\n').link('etc/hosts2', 'etc/hosts');
  return [lower, upper].map((tar) => ({ tar: tar.build(), compression }));
}

describeWith({ tools: JUDGE_TOOLS }, 'accel convert of a layout', () => {
  test.each(IMAGES)(
    '$name: every prefix of both results is sound and holds what the layers say',
    async ({ layers }) => {
      await withTempDirectory(async (directory) => {
        const tars = await layers();
        await buildLayout(
          directory,
          'latest',
          tars.map((tar) => ({ tar })),
        );
        const result = await convert(['-r', `oci:${directory}`, '-i', 'latest']);
        expect(result.tags.map(({ tag, kind }) => [tag, kind])).toEqual([
          ['latest_accelerated', 'full'],
          ['latest_containerd_accelerated', 'containerd'],
        ]);
        for (const { tag } of result.tags) {
          const { manifest } = await readImage(directory, tag);
          const { prefixes, paths } = await judgeImage(directory, manifest, tars);
          expect(prefixes).toBe(tars.length);
          expect(paths).toBeGreaterThan(0);
        }
        const targets = (await readImage(directory, 'latest_containerd_accelerated')).manifest.layers.map(
          (layer) => layer.annotations?.['containerd.io/snapshot/overlaybd/turbo-oci/target-digest'],
        );
        const sources = (await readImage(directory, 'latest')).manifest.layers.map((layer) => layer.digest);
        expect(targets).toEqual(sources);
      });
    },
  );

  test.each(['none', 'gzip', 'gzip-members', 'zstd'] as const)(
    'a source compressed with %s gives the same layers',
    async (compression) => {
      await withTempDirectory(async (directory) => {
        await buildLayout(directory, 'plain', smallLayers('none'));
        await buildLayout(directory, 'latest', smallLayers(compression));
        const args = ['-r', `oci:${directory}`];
        await convert([...args, '-i', 'plain', '-o', 'plain_obd']);
        await convert([...args, '-i', 'latest', '-o', 'latest_obd']);
        const [expected, found] = [await readImage(directory, 'plain_obd'), await readImage(directory, 'latest_obd')];
        expect(found.manifest.layers).toEqual(expected.manifest.layers);
        expect(found.config.rootfs.diff_ids).toEqual(found.manifest.layers.map((layer) => layer.digest));
      });
    },
  );

  test('the demo image becomes an image with its own media types, history and annotations', async () => {
    await withTempDirectory(async (directory) => {
      await cp(join(FIXTURES, 'images/demo'), directory, { recursive: true });
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd']);
      const [source, result] = [await readImage(directory, 'latest'), await readImage(directory, 'obd')];
      expect(result.manifest.mediaType).toBe(source.manifest.mediaType);
      expect(result.manifest.config.mediaType).toBe(source.manifest.config.mediaType);
      expect(result.config.history).toEqual(source.config.history);
      for (const layer of result.manifest.layers) {
        expect(layer.mediaType).toBe('application/vnd.oci.image.layer.v1.tar');
        expect(layer.annotations).toMatchObject({
          'containerd.io/snapshot/overlaybd/blob-digest': layer.digest,
          'containerd.io/snapshot/overlaybd/blob-size': String(layer.size),
          'containerd.io/snapshot/overlaybd/version': '0.1.0',
        });
      }
    });
  });

  test('Docker media types stay, and become OCI ones when asked for', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', smallLayers('gzip'), { docker: true });
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd']);
      const docker = await readImage(directory, 'obd');
      expect(docker.manifest.mediaType).toBe('application/vnd.docker.distribution.manifest.v2+json');
      expect(docker.manifest.layers[0]?.mediaType).toBe('application/vnd.docker.image.rootfs.diff.tar');
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd_oci', '--oci']);
      const oci = await readImage(directory, 'obd_oci');
      expect(oci.manifest.mediaType).toBe('application/vnd.oci.image.manifest.v1+json');
      expect(oci.manifest.layers.map((layer) => layer.digest)).toEqual(
        docker.manifest.layers.map((layer) => layer.digest),
      );
    });
  });

  test('every Linux platform of an index is converted, attestations are left out', async () => {
    await withTempDirectory(async (directory) => {
      const member = (architecture: string) => ({
        layers: smallLayers('gzip'),
        options: { platform: { os: 'linux', architecture } },
      });
      await buildIndexLayout(directory, 'latest', [member('amd64'), { attestation: true }, member('arm64')]);
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd']);
      const images = await readImages(directory, 'obd');
      expect(images.map(({ descriptor }) => descriptor.platform?.architecture)).toEqual(['amd64', 'arm64']);
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'arm', '--platform', 'linux/arm64']);
      expect((await readImages(directory, 'arm')).map(({ config }) => config.architecture)).toEqual(['arm64']);
    });
  });

  test('zstd blocks of 64 KiB hold the same tree', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', smallLayers('gzip'));
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd', '--algorithm', 'zstd', '--bs', '64']);
      const sources = (await readImage(directory, 'latest')).manifest.layers.map(({ digest }) =>
        blobPath(directory, digest),
      );
      await judgeImage(directory, (await readImage(directory, 'obd')).manifest, sources);
    });
  });

  test('--vsize sets the size of the device of every layer', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', smallLayers('gzip'));
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd', '--vsize', '3']);
      const { assembleDevice } = await import('../support/assemble.ts');
      await withTempDirectory(async (other) => {
        const { manifest } = await readImage(directory, 'obd');
        expect(await assembleDevice(directory, manifest, join(other, 'device'))).toBe(3 * 2 ** 30);
      });
    });
  });

  test('a second run finds the tag up to date, --no-upload leaves the layout as it was', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', smallLayers('gzip'));
      const before = [await listBlobs(directory), [...(await readTags(directory)).keys()]];
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd', '--no-upload']);
      expect([await listBlobs(directory), [...(await readTags(directory)).keys()]]).toEqual(before);
      const args = ['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd'];
      const first = await convert(args);
      const again = await convert(args);
      expect(first.tags[0]?.upToDate).toBe(false);
      expect(again.tags[0]).toMatchObject({ upToDate: true, digest: first.tags[0]?.digest });
      expect((await readdir(directory)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
    });
  });

  test('an accelerated image is not converted again', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', smallLayers('gzip'));
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd']);
      const again = await accel(['convert', '-r', `oci:${directory}`, '-i', 'obd', '-o', 'twice']);
      expect(again.exitCode).toBe(3);
      expect(again.stderr).toContain('[already-accelerated]');
      expect((await readTags(directory)).has('twice')).toBe(false);
    });
  });
});

describeWith({ tools: [] }, 'the price of an image', () => {
  test('the empty file system takes at most 64 KiB, a small file in a new layer at most 32 KiB', async () => {
    await withTempDirectory(async (directory) => {
      const layers = [new TarBuilder().build(), new TarBuilder().file('etc/one', 'one\n').build()];
      await buildLayout(
        directory,
        'latest',
        layers.map((tar) => ({ tar })),
      );
      await convert(['-r', `oci:${directory}`, '-i', 'latest', '-o', 'obd']);
      const sizes = (await readImage(directory, 'obd')).manifest.layers.map((layer) => layer.size);
      expect(sizes[0]).toBeLessThanOrEqual(64 * 1024);
      expect(sizes[1]).toBeLessThanOrEqual(32 * 1024);
    });
  });
});
