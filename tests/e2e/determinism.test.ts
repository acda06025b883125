/** Same input, same options, same version: same bytes, whatever the number of workers and whichever the process. */
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeLayer } from '../../bench/make-layer.ts';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { convert } from '../support/accel.ts';
import { listBlobs, readTags } from '../support/oci-layout.ts';
import { withTempDirectory } from '../support/tools.ts';
import { IMAGES } from './images.ts';

/** Ways to run that must not show in the result. */
const WAYS = [
  ['--workers', '0', '--concurrency-limit', '1'],
  ['--workers', '1', '--concurrency-limit', '4'],
  ['--workers', '3', '--concurrency-limit', '16'],
] as const;

/** Converts a copy of the layout in each way; returns the content of each afterwards. */
async function results(directory: string, layout: string, flags: readonly string[]): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const [index, way] of WAYS.entries()) {
    const copy = join(directory, `copy-${index}`);
    await cp(layout, copy, { recursive: true });
    // Another zone, locale and time of day: nothing of the surroundings may get into an artifact.
    const env = { TZ: index === 0 ? 'Asia/Tokyo' : 'America/New_York', LC_ALL: index === 0 ? 'C' : 'tr_TR.UTF-8' };
    await convert(['-r', `oci:${copy}`, '-i', 'latest', ...flags, ...way], { env });
    const tags = [...(await readTags(copy))].map(([tag, { digest }]) => [tag, digest]);
    found.push({ tags, blobs: await listBlobs(copy) });
  }
  return found;
}

test.each([
  ['lz4', ['-o', 'obd']],
  ['zstd in 16 KiB blocks', ['-o', 'obd', '--algorithm', 'zstd', '--bs', '16']],
])('a layer of many batches gives one digest: %s', async (_name, flags) => {
  await withTempDirectory(async (directory) => {
    const layout = await makeLayer(directory, 0.01);
    const [first, ...others] = await results(directory, layout, flags);
    for (const other of others) expect(other).toEqual(first);
  });
});

test('the layers of the goldens give one digest each', async () => {
  await withTempDirectory(async (directory) => {
    const layout = join(directory, 'layout');
    const layers = await IMAGES[0]!.layers();
    await buildLayout(
      layout,
      'latest',
      layers.map((tar) => ({ tar })),
    );
    const [first, ...others] = await results(directory, layout, ['-o', 'obd']);
    for (const other of others) expect(other).toEqual(first);
  });
});
