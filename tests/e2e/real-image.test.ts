/** Debian in six layers, made by debootstrap, apt and umoci, through the whole conversion. */
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { convert } from '../support/accel.ts';
import { expectedTree, systemTarTree, withoutAcls } from '../support/expected-tree.ts';
import { judgeImage } from '../support/judge-image.ts';
import { blobPath, readImage } from '../support/oci-layout.ts';
import { REAL_IMAGE_TIMEOUT, realImage, realImageMissing } from '../support/real-image.ts';
import { isRoot, run, type TempDirectory, tempDirectory } from '../support/tools.ts';
import { diffTrees } from '../support/tree.ts';

const missing = realImageMissing();
const TIMEOUT = REAL_IMAGE_TIMEOUT;

describe.skipIf(missing !== undefined && !process.env.CI)(
  `the real image${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    let scratch: TempDirectory;
    let layout: string;
    let sources: string[];
    beforeAll(async () => {
      if (missing !== undefined) throw new Error(missing);
      scratch = await tempDirectory();
      layout = join(scratch.path, 'layout');
      await cp(await realImage(), layout, { recursive: true });
      const { manifest } = await readImage(layout, 'latest');
      sources = manifest.layers.map((layer) => blobPath(layout, layer.digest));
    }, REAL_IMAGE_TIMEOUT);
    afterAll(() => scratch?.remove());

    test(
      'has at least five layers and 500 MB',
      async () => {
        expect(sources.length).toBeGreaterThanOrEqual(5);
        const { stdout } = await run('sh', ['-ec', 'cat "$@" | gzip -dc | wc -c', 'sh', ...sources]);
        expect(Number(stdout)).toBeGreaterThan(500_000_000);
      },
      TIMEOUT,
    );

    test.runIf(isRoot())(
      'GNU tar extracts it to the tree that it is compared with',
      async () => {
        const [expected, found] = [await expectedTree(sources), await systemTarTree(sources)];
        expect(diffTrees(withoutAcls(expected), withoutAcls(found))).toEqual([]);
      },
      TIMEOUT,
    );

    test(
      'every prefix of the result is sound and holds what the layers say',
      async () => {
        await convert(['-r', `oci:${layout}`, '-i', 'latest', '-o', 'obd']);
        const { manifest } = await readImage(layout, 'obd');
        const { prefixes, paths } = await judgeImage(layout, manifest, sources);
        expect(prefixes).toBe(sources.length);
        expect(paths).toBeGreaterThan(5000);
        expect((await readdir(layout)).sort()).toEqual(['.complete', 'blobs', 'index.json', 'oci-layout']);
      },
      TIMEOUT,
    );
  },
);
