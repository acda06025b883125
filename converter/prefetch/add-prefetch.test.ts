import { afterEach, describe, expect, it } from 'vitest';
import { buildIndexLayout } from '../../fixtures/image-builder.ts';
import { openLayout } from '../../oci/layout-target.ts';
import { readCarriedPrefetch } from '../../prefetch/carried.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { openFiles } from '../../reader/files.ts';
import { replay } from '../../reader/testing/replay.ts';
import { goldenTarget } from '../../reader/testing/test-images.ts';
import { CountingTarget, convertWithin, request, type TestLayout, testLayout } from '../../tests/support/converter.ts';
import { prefetchLayers } from '../../tests/support/prefetch-image.ts';
import { addPrefetch } from './add-prefetch.ts';

let layout: TestLayout | undefined;
afterEach(async () => {
  await layout?.remove();
  layout = undefined;
});

describe('a list that is added', () => {
  it('replaces the older one, its diff_id and its step of the history; the tag moves last', async () => {
    layout = await testLayout(prefetchLayers());
    const target = new CountingTarget(layout.target);
    await convertWithin(target, request({ prefetch: { lines: ['/srv/data'] } }));
    const before = await openImage(target, 'base_accelerated');
    target.pushed.length = 0;
    const added = await addPrefetch({ target, tagOrDigest: 'base_accelerated', prefetch: { lines: ['/srv/zeros'] } });
    const after = await openImage(target, 'base_accelerated');
    expect(after.descriptor.digest).toBe(added.digest);
    expect(after.layers.map(({ kind }) => kind)).toEqual(['full', 'full', 'acceleration']);
    expect(after.config.rootfs.diff_ids).toHaveLength(3);
    expect(after.config.history?.length).toBe(before.config.history?.length);
    expect(after.manifest.annotations?.['accel-image/options']).not.toBe(
      before.manifest.annotations?.['accel-image/options'],
    );
    // Layer, config, manifest: nothing of the other layers.
    expect(target.pushed).toEqual([
      after.manifest.layers.at(-1)!.digest,
      after.manifest.config.digest,
      after.descriptor.digest,
    ]);
    expect(target.tagged.at(-1)).toBe('base_accelerated');
  });

  it('goes to another tag with outputTag, and needs one for a digest', async () => {
    layout = await testLayout(prefetchLayers());
    const { target } = layout;
    const { tags } = await convertWithin(target, request());
    const digest = tags[0]!.digest;
    const prefetch = { lines: ['/srv/data'] };
    await expect(addPrefetch({ target, tagOrDigest: digest, prefetch })).rejects.toMatchObject({ code: 'usage' });
    const added = await addPrefetch({ target, tagOrDigest: digest, prefetch, outputTag: 'other' });
    expect((await target.resolve('other')).digest).toBe(added.digest);
    expect((await target.resolve('base_accelerated')).digest).toBe(digest);
  });

  it('that names what is not there leaves everything as it was with strict', async () => {
    layout = await testLayout(prefetchLayers());
    const target = new CountingTarget(layout.target);
    await convertWithin(target, request());
    const before = target.pushed.length;
    const prefetch = { lines: ['/srv/data', '/absent'], strict: true };
    await expect(addPrefetch({ target, tagOrDigest: 'base_accelerated', prefetch })).rejects.toMatchObject({
      code: 'not-found',
      where: { platform: 'linux/amd64' },
    });
    expect(target.pushed).toHaveLength(before);
  });

  it('goes onto every platform of an index, and gives the index that a conversion with it gives', async () => {
    layout = await testLayout(prefetchLayers());
    const platform = (architecture: string) => ({ options: { platform: { os: 'linux', architecture } } });
    await buildIndexLayout(layout.directory, 'base', [
      { layers: prefetchLayers(), ...platform('amd64') },
      { layers: prefetchLayers(), ...platform('arm64') },
      { attestation: true },
    ]);
    const target = await openLayout(layout.directory, { create: false });
    const prefetch = { lines: ['/srv/data', '/crowd/'] };
    const converted = await convertWithin(target, request({ prefetch }));
    await convertWithin(target, request({ force: true }));
    for (const { tag, digest } of converted.tags) {
      const added = await addPrefetch({ target, tagOrDigest: tag, prefetch });
      expect(added.images.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64']);
      expect(added.digest).toBe(digest);
    }
  });

  it('goes onto an image that the reference made, and records nothing there', async () => {
    const target = await goldenTarget();
    const files = await openFiles(await openImage(target, 'full'));
    const paths: string[] = [];
    for await (const { type, path } of files.walk()) if (type === 'file') paths.push(path);
    const lines = paths.map((path) => Buffer.from(path, 'latin1'));
    await addPrefetch({ target, tagOrDigest: 'full', prefetch: { lines } });
    const image = await openImage(target, 'full', { cacheBytes: 1 << 28 });
    expect(image.manifest.annotations).toBeUndefined();
    await replay(image, (await readCarriedPrefetch(target, image.manifest.layers))!.trace);
    const before = image.statistics().requests;
    const again = await openFiles(image);
    for (const path of paths) for await (const _ of again.content(path));
    expect(image.statistics().requests - before).toBe(0);
  });
});
