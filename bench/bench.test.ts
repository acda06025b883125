import { createHash } from 'node:crypto';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { withTempDirectory } from '../tests/support/tools.ts';
import { bytesAdded, readImage, withCopy } from './layout.ts';
import { makeLayer } from './make-layer.ts';
import { formatTable, median } from './report.ts';
import { withSection } from './section.ts';

const SCALE = 0.002;

test('the generated image is a layout whose digests hold, and the same tar each time', async () => {
  await withTempDirectory(async (directory) => {
    const image = await readImage(await makeLayer(directory, SCALE));
    const bytes = await readFile(image.layers[0]!);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(image.layers[0]!.split('/').at(-1));
    expect(bytes.length).toBe(image.compressed);
    // The tar's digest is pinned, the blob's is not: zlib may compress otherwise on another version of Node.
    const tar = createHash('sha256').update(gunzipSync(bytes)).digest('hex');
    expect(tar).toBe('c5281e5741e8c5131730d65f187a2bcde0a8a052c83c17c36ecd61c1b8db9a7b');
  });
});

test('a round converts in a copy that is gone afterwards, and what it pushed is counted', async () => {
  await withTempDirectory(async (directory) => {
    const { layout } = await readImage(await makeLayer(directory, SCALE));
    const place = await withCopy(layout, async (copy) => {
      expect(await bytesAdded(layout, copy)).toBe(0);
      expect((await readImage(copy)).layers[0]).toContain(copy);
      return copy;
    });
    await expect(access(place)).rejects.toThrow('ENOENT');
    await access(join(layout, 'index.json'));
  });
});

test.each([
  ['one', [3], 3],
  ['odd', [9, 1, 2], 2],
  ['even', [4, 1, 2, 9], 3],
])('median %s', (_name, values, middle) => {
  expect(median(values)).toBe(middle);
});

test('a row is the medians of its rounds beside the baseline of its image', () => {
  const usage = (wall: number) => ({ wall, cpu: wall * 2, peakRss: wall * 2 ** 20, written: wall * 1e6 });
  const table = formatTable(
    [
      { image: 'i', what: 'gunzip', rounds: [usage(10), usage(11), usage(30)], source: 1000 },
      { image: 'i', what: 'full', rounds: [usage(22), usage(21), usage(90)], pushed: 1300, source: 1000 },
    ],
    'gunzip',
  );
  expect(table.split('\n')[3]).toBe('| i | full | 22.00 (21.0–90.0) | 2.00 | 44.00 | 2.00 | 90 | 22 | 0.0 | 130.0 |');
});

test('a section is added at the end, and replaced where it stands', () => {
  const one = withSection('', 'one', 'first');
  const two = withSection(one, 'two', 'second\n');
  expect(two).toContain('first');
  expect(two.indexOf('second')).toBeGreaterThan(two.indexOf('<!-- end one -->'));
  const again = withSection(two, 'one', 'changed');
  expect(again).toBe(two.replace('first', 'changed'));
  expect(withSection(again, 'two', 'second')).toBe(again);
});
