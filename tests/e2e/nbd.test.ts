/** `accel export` of converted images, read by clients that nobody here wrote: libnbd's, QEMU's, and the kernel's ext4. */
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { accel, convert } from '../support/accel.ts';
import { assembleDevice } from '../support/assemble.ts';
import { expectedTree, type LayerInput } from '../support/expected-tree.ts';
import { e2fsck, MountRefused, readTree, walkTree } from '../support/ext4-judge.ts';
import {
  allocated,
  nbdInfo,
  sameFiles,
  startExport,
  withExport,
  withKernelMount,
  withNbdFuse,
} from '../support/nbd-export.ts';
import { blobPath, readImage } from '../support/oci-layout.ts';
import { realImage, realImageMissing } from '../support/real-image.ts';
import { describeWith, isRoot, run, type TempDirectory, tempDirectory } from '../support/tools.ts';
import { diffTrees, parseTree, type TreeEntry, withoutLostAndFound } from '../support/tree.ts';
import { IMAGES } from './images.ts';

const TOOLS = ['nbdinfo', 'nbdcopy', 'nbdfuse', 'qemu-img', 'e2fsck', 'debugfs', 'python3', 'mount'];
const MODES = [
  ['full', 'latest_accelerated'],
  ['index-only', 'latest_containerd_accelerated'],
] as const;
const GIB = 2 ** 30;
const TIMEOUT = 300_000;

/** A layout with an image and both accelerated images of it. */
interface Converted {
  readonly scratch: TempDirectory;
  readonly layout: string;
  readonly sources: readonly LayerInput[];
}

async function converted(flags: readonly string[], fill: (layout: string) => Promise<void>): Promise<Converted> {
  const scratch = await tempDirectory();
  const layout = join(scratch.path, 'layout');
  await fill(layout);
  const { manifest } = await readImage(layout, 'latest');
  await convert(['-r', `oci:${layout}`, '-i', 'latest', ...flags]);
  return { scratch, layout, sources: manifest.layers.map(({ digest }) => blobPath(layout, digest)) };
}

/**
 * The export's tree: as the kernel shows it through nbdfuse and a loop mount, or where this machine allows neither, as
 * debugfs reads a copy that nbdcopy made.
 */
async function treeOf(uri: string, scratch: string): Promise<{ reader: string; entries: TreeEntry[] }> {
  try {
    if (!isRoot()) throw new MountRefused('only root may mount');
    const lines = await withKernelMount(uri, walkTree);
    return { reader: 'nbdfuse and the kernel', entries: parseTree(lines) };
  } catch (error) {
    if (!(error instanceof MountRefused)) throw error;
    const copy = join(scratch, 'for-debugfs');
    await run('nbdcopy', [uri, copy]);
    const { entries } = await readTree(copy, { reader: 'debugfs', keepLostAndFound: true });
    return { reader: 'nbdcopy and debugfs', entries };
  }
}

async function expectTree(uri: string, { scratch, sources }: Converted): Promise<void> {
  const expected = await expectedTree(sources);
  const { reader, entries } = await treeOf(uri, scratch.path);
  console.info(`the tree was read by ${reader}`);
  expect(expected.length).toBeGreaterThan(1);
  expect(diffTrees(expected, withoutLostAndFound(entries))).toEqual([]);
}

describeWith({ tools: TOOLS }, 'a small image, served', () => {
  let image: Converted;
  beforeAll(async () => {
    image = await converted(['--vsize', '1'], async (layout) => {
      const tars = await IMAGES.find(({ name }) => name === 'goldens input')!.layers();
      await buildLayout(
        layout,
        'latest',
        tars.map((tar) => ({ tar })),
      );
    });
  });
  afterAll(() => image?.scratch.remove());

  const reference = (tag: string): string => `oci:${image.layout}:${tag}`;
  const path = (name: string): string => join(image.scratch.path, name);

  test.each(MODES)('%s: every client reads the bytes that the layers say', async (mode, tag) => {
    const raw = path(`${mode}.raw`);
    const exported = await accel(['export', 'raw', reference(tag), raw]);
    expect(exported).toMatchObject({ exitCode: 0, stdout: '' });
    expect(exported.stderr).toMatch(/^wrote .*\nfetched .* requests/);
    await e2fsck(raw);
    const oracle = path(`${mode}.oracle`);
    await assembleDevice(image.layout, (await readImage(image.layout, tag)).manifest, oracle);
    expect(await sameFiles(oracle, raw)).toBe(true);
    await withExport(['--socket', path(`${mode}.sock`), reference(tag)], async ({ uri }) => {
      await run('nbdcopy', [uri, path(`${mode}.nbdcopy`)]);
      expect(await sameFiles(oracle, path(`${mode}.nbdcopy`))).toBe(true);
      await run('nbdcopy', ['--connections=8', '--requests=16', '--no-extents', uri, path(`${mode}.plain`)]);
      expect(await sameFiles(oracle, path(`${mode}.plain`))).toBe(true);
      await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, path(`${mode}.qemu`)]);
      expect(await sameFiles(oracle, path(`${mode}.qemu`))).toBe(true);
      expect(await allocated(path(`${mode}.nbdcopy`))).toBeLessThan(50e6);
    });
  });

  test.each(MODES)('%s: the kernel mounts it, and shows the tree that the layers say', async (_mode, tag) => {
    await withExport(['--listen', '127.0.0.1:0', reference(tag)], ({ uri }) => expectTree(uri, image));
  });

  test('nbdinfo sees a read-only export for several connections, that reports its holes', async () => {
    await withExport(['--listen', '127.0.0.1:0', reference('latest_accelerated')], async ({ uri }) => {
      const { exports } = await nbdInfo(uri);
      expect(exports).toMatchObject([
        {
          'export-name': '',
          'export-size': GIB,
          description: reference('latest_accelerated'),
          is_read_only: true,
          can_multi_conn: true,
          contexts: ['base:allocation'],
        },
      ]);
      const { stdout } = await run('nbdinfo', ['--map', '--totals', '--json', uri]);
      const totals = JSON.parse(stdout.toString('utf8')) as { size: number; type: number }[];
      expect(totals.reduce((sum, { size }) => sum + size, 0)).toBe(GIB);
      expect(totals.find(({ type }) => type === 3)?.size).toBeGreaterThan(GIB / 2);
    });
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('%s ends it in good order', async (signal) => {
    const socket = path('ending.sock');
    const server = await startExport(['--socket', socket, reference('latest_accelerated')]);
    expect(await server.stop(signal)).toBe(0);
    expect(server.log()).toMatch(/fetched .* requests/);
    const next = await startExport(['--socket', socket, reference('latest_accelerated')]);
    expect(await next.stop()).toBe(0);
  });

  test('what is missing behind the image is an input/output error for the client, and a line in the log', async () => {
    const layout = path('broken');
    await cp(image.layout, layout, { recursive: true });
    const { manifest } = await readImage(layout, 'latest_accelerated');
    await withExport(['--listen', '127.0.0.1:0', `oci:${layout}:latest_accelerated`], async ({ uri, log }) => {
      for (const layer of manifest.layers) await run('rm', [blobPath(layout, layer.digest)]);
      const { exitCode, stderr } = await run('nbdcopy', [uri, path('never')], { accept: 'any' });
      expect(exitCode).not.toBe(0);
      expect(stderr).toMatch(/Input\/output error/);
      expect(log()).toMatch(/client \d+: reading \d+ bytes at \d+ failed: \[[a-z-]+\] .*sha256:/);
      expect((await nbdInfo(uri)).exports).toHaveLength(1);
    });
  });

  test('an address in use is reported, and so is an invalid one', async () => {
    await withExport(['--listen', '127.0.0.1:0', reference('latest_accelerated')], async ({ uri }) => {
      const taken = await accel(['export', 'nbd', '--listen', new URL(uri).host, reference('latest_accelerated')]);
      expect(taken.exitCode).toBe(1);
      expect(taken.stderr).toContain('EADDRINUSE');
    });
    const wrong = await accel(['export', 'nbd', '--listen', 'nowhere', reference('latest_accelerated')]);
    expect(wrong.exitCode).toBe(2);
    const both = await accel(['export', 'nbd', '--listen', '[::1]:1', '--socket', 'x', reference('latest')]);
    expect(both.exitCode).toBe(2);
  });
});

describeWith({ tools: TOOLS }, 'a device of 64 GiB, nearly empty', () => {
  let image: Converted;
  beforeAll(async () => {
    image = await converted(['--vsize', '64'], (layout) =>
      cp(join(import.meta.dirname, '../../fixtures/images/demo'), layout, { recursive: true }),
    );
  });
  afterAll(() => image?.scratch.remove());

  test.each(MODES)('%s: is copied in seconds, holes and all', async (mode, tag) => {
    const reference = `oci:${image.layout}:${tag}`;
    const [raw, copy] = [join(image.scratch.path, `${mode}.raw`), join(image.scratch.path, `${mode}.copy`)];
    await accel(['export', 'raw', reference, raw]);
    await e2fsck(raw);
    await withExport(['--listen', '127.0.0.1:0', reference], async ({ uri }) => {
      const started = Date.now();
      await run('nbdcopy', [uri, copy]);
      expect(Date.now() - started).toBeLessThan(20_000);
      expect(await allocated(copy)).toBeLessThan(50e6);
      expect(await sameFiles(raw, copy)).toBe(true);
      expect(await sameFiles(raw, uri)).toBe(true);
    });
  });

  test('looking into one directory through nbdfuse fetches little', async () => {
    const server = await startExport(['--listen', '127.0.0.1:0', `oci:${image.layout}:latest_accelerated`]);
    try {
      await withNbdFuse(server.uri, async (file) => {
        const { stdout } = await run('debugfs', ['-R', 'ls -p /', file]);
        expect(stdout.toString('latin1')).toContain('/etc/');
      });
    } catch (error) {
      if (!(error instanceof MountRefused)) throw error;
      console.info(`not run: ${error.message}`);
    } finally {
      await server.stop();
    }
    const share = /fetched .* requests, ([\d.]+) % of the image/.exec(server.log())?.[1];
    expect(Number(share)).toBeLessThan(25);
  });
});

const missing = realImageMissing();

describe.skipIf(missing !== undefined && !process.env.CI)(
  `the real image, served${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    let image: Converted;
    beforeAll(async () => {
      if (missing !== undefined) throw new Error(missing);
      const source = await realImage();
      image = await converted([], (layout) => cp(source, layout, { recursive: true }));
    }, TIMEOUT * 2);
    afterAll(() => image?.scratch.remove());

    test.each(MODES)(
      '%s: the kernel mounts it, and shows the tree that the layers say',
      async (_mode, tag) => {
        await withExport(['--listen', '127.0.0.1:0', `oci:${image.layout}:${tag}`], ({ uri }) =>
          expectTree(uri, image),
        );
      },
      TIMEOUT,
    );

    test(
      'nbdcopy, qemu-img and export raw agree on all of it',
      async () => {
        const path = (name: string): string => join(image.scratch.path, name);
        const reference = `oci:${image.layout}:latest_accelerated`;
        await accel(['export', 'raw', reference, path('raw')]);
        await e2fsck(path('raw'));
        await withExport(['--listen', '127.0.0.1:0', reference], async ({ uri }) => {
          await run('nbdcopy', [uri, path('copy')]);
          expect(await sameFiles(path('raw'), path('copy'))).toBe(true);
          await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, path('qemu')]);
          expect(await sameFiles(path('raw'), path('qemu'))).toBe(true);
        });
      },
      TIMEOUT,
    );
  },
);
