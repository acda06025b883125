/** Corner cases by hand that a random stack of small layers does not reach: many layers, foreign sparse files, huge files. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { EntryAttributes, StackEntry, StackLayer } from '../../fixtures/stack-entry.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { headerBlock } from '../../fixtures/tar-header.ts';
import { type FileDataSink, TarApplier } from '../../formats/ext4/apply-tar.ts';
import { Ext4Image } from '../../formats/ext4/ext4-image.ts';
import { TarParser } from '../../formats/tar/parser.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { openFiles } from '../../reader/files.ts';
import { BOTH } from '../support/converter.ts';
import { writeDevice } from '../support/device-blocks.ts';
import { e2fsck } from '../support/ext4-judge.ts';
import { describeWith, run, withTempDirectory } from '../support/tools.ts';
import { checkStack, noCounts } from './check-stack.ts';
import { convertStack, DEVICE_SIZE, putSource } from './convert-stack.ts';

const ATTRIBUTES: EntryAttributes = { mode: 0o644, uid: 0, gid: 0, seconds: 1, nanoseconds: 0, xattrs: {} };

/** Layer `number` of a tall stack: a file of its own, one that every layer replaces, a link to and a whiteout of older ones. */
function storey(number: number): StackLayer {
  const file = (path: string): StackEntry => ({
    kind: 'file',
    path,
    spelling: '',
    content: { size: 10 + number, seed: number, pattern: 'text' },
    attributes: ATTRIBUTES,
  });
  const entries: StackEntry[] = [file(`own/${number}`), file('every')];
  if (number >= 1)
    entries.push({
      kind: 'link',
      path: `link/${number}`,
      spelling: '',
      target: `own/${number - 1}`,
      attributes: ATTRIBUTES,
    });
  if (number >= 2) entries.unshift({ kind: 'whiteout', path: `own/${number - 2}`, spelling: '' });
  return entries;
}

describeWith({ tools: ['e2fsck'] }, 'a tall stack', () => {
  // 255 is the most that a node's runtime opens; converter/shapes.test.ts has 256 refused before anything is read.
  test.each([70, 255])('of %i layers', { timeout: 300_000 }, async (count) => {
    const layers = Array.from({ length: count }, (_, i) => storey(i));
    const one = {
      stack: { layers, options: { anyOrder: false } },
      compressions: layers.map(() => 'gzip' as const),
      takeOver: count === 70 ? 69 : undefined,
      threads: false,
      prefixes: [1, 2, count - 1, count],
    };
    await withTempDirectory(async (directory) => {
      await checkStack(
        one,
        async (_, blocks) => {
          writeDevice(join(directory, 'device'), blocks, DEVICE_SIZE);
          await e2fsck(join(directory, 'device'));
        },
        noCounts(),
      );
    });
  });
});

/** A file of 5 MiB: data at odd places, a hole at the end; then the tar of it in each of GNU tar's forms. */
const MAKE_SPARSE = `
cd "$1"
printf start >holes
printf middle | dd of=holes bs=1 seek=1234567 conv=notrunc status=none
printf last | dd of=holes bs=1 seek=3145728 conv=notrunc status=none
truncate -s 5M holes
printf behind >behind
tar --format=gnu --sparse -cf gnu.tar holes behind
for version in 0.0 0.1 1.0; do tar --format=posix --sparse --sparse-version=$version -cf $version.tar holes behind; done
`;

describeWith({ tools: ['tar'] }, 'a sparse file of GNU tar', () => {
  test.each(['gnu', '0.0', '0.1', '1.0'])('in the form %s, in both modes', async (form) => {
    await withTempDirectory(async (directory) => {
      await run('sh', ['-ec', MAKE_SPARSE, 'sh', directory]);
      const expected = createHash('sha256')
        .update(await readFile(join(directory, 'holes')))
        .digest('hex');
      const target = new MemoryTarget();
      const tar = new Uint8Array(await readFile(join(directory, `${form}.tar`)));
      // The tar itself holds no holes: without that the case would not be one.
      expect(tar.length).toBeLessThan(100_000);
      await putSource(target, 'base', [tar], ['gzip']);
      await convertStack(target, 'base');
      for (const { tag } of BOTH) {
        const files = await openFiles(await openImage(target, tag));
        const hash = createHash('sha256');
        for await (const piece of files.content('/holes')) hash.update(piece);
        expect(hash.digest('hex')).toBe(expected);
        expect((await files.stat('/behind')).size).toBe(6);
      }
    });
  });
});

describe('a file of more than 8 GiB', () => {
  const SIZE = 8 * 2 ** 30 + 4097;
  // Eleven octal digits end one byte below 8 GiB.
  test.each([
    ['base-256', headerBlock({ name: 'huge', size: SIZE })],
    [
      'PAX',
      new TarBuilder()
        .pax({ size: String(SIZE) })
        .header({ name: 'huge', size: 0 })
        .build({ end: false }),
    ],
  ])('with its size by %s is streamed into its blocks', (_, head) => {
    const image = new Ext4Image({ virtualSize: 16 * 2 ** 30 });
    image.beginLayer();
    let written = 0;
    const sink: FileDataSink = {
      beginRun: () => undefined,
      write(bytes) {
        written += bytes.length;
      },
    };
    const parser = new TarParser(new TarApplier(image, sink, () => undefined));
    parser.push(head);
    const piece = new Uint8Array(16 << 20);
    const padded = Math.ceil(SIZE / 512) * 512;
    for (let at = 0; at < padded; at += piece.length)
      parser.push(piece.subarray(0, Math.min(piece.length, padded - at)));
    parser.push(new TarBuilder().file('behind', 'x').build());
    parser.end();
    const inode = image.lookup(image.root, 'huge');
    expect(written).toBe(SIZE + 1);
    expect(image.sizeOf(inode)).toBe(SIZE);
    expect(image.extentsOf(inode).reduce((sum, extent) => sum + extent.count, 0)).toBe(Math.ceil(SIZE / 4096));
    expect(image.sizeOf(image.lookup(image.root, 'behind'))).toBe(1);
  });
});
