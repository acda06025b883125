/** `accel verify` and `accel inspect` as a user runs them: a layout, a real registry, and the image that nobody here wrote. */
import { cp } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { accel, convert } from '../support/accel.ts';
import { REAL_IMAGE_TIMEOUT, realImage, realImageMissing } from '../support/real-image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory, withTempDirectory } from '../support/tools.ts';

const TAGS = ['latest_accelerated', 'latest_containerd_accelerated'] as const;

const layer = (text: string): { tar: Uint8Array } => ({
  tar: new TarBuilder().dir('etc/').file('etc/motd', text).build(),
});

describe('accel verify', () => {
  test('exits with 0 and a summary, or with 5 and a list', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', [layer('hello\n'), { tar: new TarBuilder().file('caf\xe9').build() }]);
      await convert(['-r', `oci:${directory}`, '-i', 'latest']);
      await buildLayout(directory, 'other', [layer('hullo\n'), { tar: new TarBuilder().file('tea').build() }]);
      for (const tag of TAGS) {
        const good = await accel(['verify', `oci:${directory}:${tag}`]);
        expect(good).toMatchObject({ exitCode: 0, stderr: '', leftovers: [] });
        expect(good.stdout).toMatch(/^\S+ linux\/amd64 [0-9a-f]{12}: identical to [0-9a-f]{12}\n/);
        const bad = await accel(['verify', `oci:${directory}:${tag}`, '--source', `oci:${directory}:other`]);
        expect(bad.exitCode).toBe(5);
        expect(bad.stdout).toContain('  /etc/motd content\n');
        expect(bad.stderr).toMatch(/^error \[verification-failed\]/);
      }
    });
  });

  test('--json is one document, whatever comes out', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', [layer('hello\n')]);
      await convert(['-r', `oci:${directory}`, '-i', 'latest']);
      await buildLayout(directory, 'other', [layer('hullo\n')]);
      const ref = `oci:${directory}:latest_accelerated`;
      const good = await accel(['verify', ref, '--json', '--quick']);
      expect(JSON.parse(good.stdout)).toMatchObject({ identical: true, images: [{ quick: true, differences: [] }] });
      const bad = await accel(['verify', ref, '--json', '--source', `oci:${directory}:other`]);
      expect(bad.exitCode).toBe(5);
      expect(JSON.parse(bad.stdout).images[0].differences).toContainEqual(
        expect.objectContaining({ scope: 'tree', path: '/etc/motd', field: 'content' }),
      );
      const none = await accel(['verify', `oci:${directory}:nowhere`, '--json']);
      expect([none.exitCode, JSON.parse(none.stdout).error.code]).toEqual([1, 'not-found']);
      const ordinary = await accel(['verify', `oci:${directory}:latest`, '--source', `oci:${directory}:latest`]);
      expect([ordinary.exitCode, ordinary.stdout]).toEqual([3, '']);
    });
  });
});

test('accel inspect describes both kinds of image', async () => {
  await withTempDirectory(async (directory) => {
    await buildLayout(directory, 'latest', [layer('hello\n')]);
    await convert(['-r', `oci:${directory}`, '-i', 'latest']);
    const ordinary = await accel(['inspect', `oci:${directory}:latest`]);
    expect([ordinary.exitCode, ordinary.stdout]).toEqual([0, expect.stringContaining('linux/amd64 an ordinary image')]);
    const accelerated = await accel(['inspect', `oci:${directory}:latest_accelerated`, '--json']);
    expect(JSON.parse(accelerated.stdout)).toMatchObject({ accelerated: true, images: [{ mode: 'full' }] });
  });
});

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'in a registry', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry?.stop());

  test('verify and inspect read what convert pushed', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', [
        layer('hello\n'),
        { tar: new TarBuilder().file('big', 'x'.repeat(3e6)).build() },
      ]);
      const image = `${registry.host}/team/verify`;
      const target = `docker://${image}:latest`;
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${directory}:latest`, target]);
      await convert(['-r', image, '-i', 'latest', '--plain']);
      for (const tag of TAGS) {
        const result = await accel(['verify', `${image}:${tag}`, '--plain']);
        expect([result.exitCode, result.stderr]).toEqual([0, '']);
        const report = await accel(['inspect', `${image}:${tag}`, '--plain', '--json']);
        expect(JSON.parse(report.stdout)).toMatchObject({ baseTag: { tag: 'latest', matches: true } });
      }
    });
  });
});

const missing = realImageMissing();

describe.skipIf(missing !== undefined && !process.env.CI)(
  `the real image${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    let scratch: TempDirectory;
    beforeAll(async () => {
      if (missing !== undefined) throw new Error(missing);
      scratch = await tempDirectory();
      await cp(await realImage(), scratch.path, { recursive: true });
      await convert(['-r', `oci:${scratch.path}`, '-i', 'latest']);
    }, REAL_IMAGE_TIMEOUT);
    afterAll(() => scratch?.remove());

    test.each(TAGS)(
      '%s is identical to its source',
      async (tag) => {
        const result = await accel(['verify', `oci:${scratch.path}:${tag}`, '--json']);
        expect(result.exitCode, result.stdout).toBe(0);
        const { images } = JSON.parse(result.stdout);
        expect(images[0]).toMatchObject({ differenceCount: 0, warnings: [] });
        expect(images[0].compared.paths).toBeGreaterThan(5000);
      },
      300_000,
    );

    test('the artifact of index-only mode is at most 1.5 % of the base', async () => {
      const result = await accel(['inspect', `oci:${scratch.path}:${TAGS[1]}`, '--json']);
      expect(JSON.parse(result.stdout).images[0]).toMatchObject({ mode: 'index-only', base: { present: true } });
      expect(JSON.parse(result.stdout).images[0].ratio).toBeLessThan(0.015);
    });
  },
);
