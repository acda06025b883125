/** Listing a large image without a cache costs little, however large the image is. */
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openLayout } from '../../oci/layout-target.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { openFiles } from '../../reader/files.ts';
import { convert } from '../support/accel.ts';
import { REAL_IMAGE_TIMEOUT, realImage, realImageMissing } from '../support/real-image.ts';
import { type TempDirectory, tempDirectory } from '../support/tools.ts';

const missing = realImageMissing();

describe.skipIf(missing !== undefined && !process.env.CI)(
  `the real image${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    let scratch: TempDirectory;
    let layout: string;
    beforeAll(async () => {
      if (missing !== undefined) throw new Error(missing);
      scratch = await tempDirectory();
      layout = join(scratch.path, 'layout');
      await cp(await realImage(), layout, { recursive: true });
      await convert(['-r', `oci:${layout}`, '-i', 'latest']);
    }, REAL_IMAGE_TIMEOUT);
    afterAll(() => scratch?.remove());

    test.each([
      // Six layers: the ends of each in as few requests as there can be (docs/decisions/0030-index-read-in-parts.md).
      ['latest_accelerated', 20, 400_000],
      ['latest_containerd_accelerated', 20, 1_050_000],
    ])('%s: ls / and cat /etc/os-release take at most %i requests and %i bytes', async (tag, requests, bytes) => {
      const image = await openImage(await openLayout(layout), tag);
      const files = await openFiles(image);
      const names = (await files.names('/')).map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(['bin', 'etc', 'usr', 'var']));
      const pieces: Uint8Array[] = [];
      for await (const piece of files.content('/etc/os-release')) pieces.push(piece);
      expect(Buffer.concat(pieces).toString()).toContain('ID=debian');
      expect(image.statistics().requests).toBeLessThanOrEqual(requests);
      expect(image.statistics().bytes).toBeLessThanOrEqual(bytes);
    });

    test.each(['latest_accelerated', 'latest_containerd_accelerated'])(
      '%s: a walk through the whole tree fetches metadata alone',
      async (tag) => {
        const image = await openImage(await openLayout(layout), tag, { cacheBytes: 4 << 20 });
        let paths = 0;
        for await (const _ of (await openFiles(image)).walk()) paths++;
        expect(paths).toBeGreaterThan(5000);
        expect(image.statistics().bytes).toBeLessThan(4_000_000);
        expect(image.statistics().requests).toBeLessThan(200);
      },
    );
  },
);
