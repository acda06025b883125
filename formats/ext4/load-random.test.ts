import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { FUZZ_TIMEOUT, fuzzRuns, isHunt } from '../../tests/support/fuzz-runs.ts';
import { TarParser } from '../tar/parser.ts';
import { TarApplier } from './apply-tar.ts';
import type { Ext4Image } from './ext4-image.ts';
import { BLOCK_SIZE, SUPERBLOCK_OFFSET } from './layout.ts';
import { loadImage } from './load-image.ts';
import type { BlockDevice } from './reader.ts';
import { withImage } from './testing/image-box.ts';
import { randomStack, tarOf, withoutRefused } from './testing/random-layers.ts';
import { openDevice } from './testing/reader-tree.ts';

/** The same cases in every run, unless a longer search is asked for: a change is to blame for a failure, not chance. */
const SEED = isHunt ? {} : { seed: 20_261_125 };
const SMALLEST = { virtualSize: 2 ** 27 };

/** The blocks of the next layer's commit. */
function commitOf(image: Ext4Image, tar: Uint8Array): string[] {
  image.beginLayer();
  const parser = new TarParser(
    new TarApplier(image, { beginRun: () => undefined, write: () => undefined }, () => undefined),
  );
  parser.push(tar);
  parser.end();
  return [...image.commit()].map(({ block, bytes }) => `${block} ${Buffer.from(bytes).toString('base64')}`);
}

describe('loadImage', () => {
  test('goes on from any stack with the bytes that one run would have written', { timeout: FUZZ_TIMEOUT }, async () => {
    await fc.assert(
      fc.asyncProperty(randomStack({ symlinks: true }).map(withoutRefused), async (stack) => {
        const tars = stack.map(tarOf);
        await withImage(SMALLEST, async (box) => {
          for (const tar of tars.slice(0, -1)) box.layer(tar);
          const device = await openDevice(box.path);
          const loaded = await loadImage(device).finally(() => device.close());
          expect(loaded.files).toBe(box.image.files);
          expect(commitOf(loaded, tars.at(-1)!)).toEqual(commitOf(box.image, tars.at(-1)!));
        });
      }),
      { ...SEED, ...fuzzRuns(400) },
    );
  });

  test('ends in an AccelError or in a state when metadata is damaged, and soon', {
    timeout: FUZZ_TIMEOUT,
  }, async () => {
    const layer = new TarBuilder()
      .dir('x/', { xattrs: { 'user.a': new Uint8Array(500) } })
      .symlink('s', 'l'.repeat(99));
    for (let i = 0; i < 300; i++) layer.file(`d/${'n'.repeat(20)}${i}`, '');
    await withImage(SMALLEST, async (box) => {
      const { metadata } = box.layer(layer);
      const bytes = new Uint8Array(readFileSync(box.path));
      const device: BlockDevice = {
        size: bytes.length,
        read: async (offset, length) => bytes.slice(offset, offset + length),
      };
      const place = fc.oneof(
        fc.nat(255).map((at) => SUPERBLOCK_OFFSET + at),
        fc.tuple(fc.constantFrom(...metadata), fc.nat(BLOCK_SIZE - 1)).map(([block, at]) => block * BLOCK_SIZE + at),
      );
      const damage = fc.array(fc.tuple(place, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 5 });
      await fc.assert(
        fc.asyncProperty(damage, async (flips) => {
          for (const [at, xor] of flips) bytes[at] = bytes[at]! ^ xor;
          try {
            await loadImage(device);
          } catch (error) {
            if (!(error instanceof AccelError)) throw error;
            expect(['ext4-invalid', 'limit-exceeded', 'layer-unsupported']).toContain(error.code);
          } finally {
            for (const [at, xor] of flips) bytes[at] = bytes[at]! ^ xor;
          }
        }),
        { ...SEED, ...fuzzRuns(1000) },
      );
      expect((await loadImage(device)).files).toBe(303);
    });
  });
});
