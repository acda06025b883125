/** Images that cannot be converted: each with its message and exit code, nothing tagged, no temporary file left. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { fill, Random } from '../../bench/content.ts';
import { compressLayer } from '../../fixtures/compress.ts';
import { buildIndexLayout, buildLayout, type LayerSpec } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { accel } from '../support/accel.ts';
import { blobPath, listBlobs } from '../support/oci-layout.ts';
import { withTempDirectory } from '../support/tools.ts';
import { manyFiles } from './many-files.ts';

/** An image that fails, and how. */
interface Failure {
  readonly name: string;
  /** Its second layer; the first one is sound. */
  readonly layer: () => LayerSpec | Promise<LayerSpec>;
  readonly code: string;
  readonly exit: number;
  /** Text on standard error beside the code: the place, the found and the expected value. */
  readonly says: readonly string[];
}

const SOUND = new TarBuilder()
  .dir('etc/')
  .file('etc/passwd', 'root:x:0:0::/root:/bin/sh\n')
  .symlink('a-link', 'etc/passwd');

/** A layer of one built tar. */
const tar = (build: (builder: TarBuilder) => TarBuilder) => (): LayerSpec => ({ tar: build(new TarBuilder()).build() });

/** A layer whose blob is just these bytes, with a digest that fits. */
const blob = (bytes: () => Uint8Array | Promise<Uint8Array>) => async (): Promise<LayerSpec> => ({
  tar: await bytes(),
  compression: 'none',
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
});

/** Enough content that a cut or a flipped bit falls into file data. */
const CONTENT = new TarBuilder().file('data', noise(300_000)).build();

/** Bytes that no compressor shrinks. */
function noise(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  fill(bytes, 'noise', new Random(1));
  return bytes;
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const damaged = bytes.slice();
  damaged[at]! ^= 0x10;
  return damaged;
}

const FAILURES: readonly Failure[] = [
  {
    name: 'truncated_gzip',
    layer: blob(() => gzipSync(CONTENT).subarray(0, 100_000)),
    code: 'gzip-invalid',
    exit: 1,
    says: ['layer'],
  },
  {
    name: 'flipped_bit_under_a_digest_that_fits',
    layer: blob(() => flipped(gzipSync(CONTENT), 150_000)),
    code: 'gzip-invalid',
    exit: 1,
    says: ['layer'],
  },
  {
    // The tar fails in the first megabyte, the checksum of the stream long after: what is wrong is the stream.
    name: 'damaged_tar_in_a_gzip_with_another_checksum',
    layer: blob(() => {
      const gzip = gzipSync(flipped(new TarBuilder().file('data', noise(6_000_000)).build(), 20));
      return flipped(gzip, gzip.length - 8);
    }),
    code: 'gzip-invalid',
    exit: 1,
    says: ['CRC-32', 'layer', 'seen'],
  },
  {
    name: 'flipped_bit',
    // In the gzip's header, where no decompressor would see it.
    layer: async () => ({ tar: CONTENT, corruptBlob: flipped(await compressLayer(CONTENT, 'gzip'), 4) }),
    code: 'digest-mismatch',
    exit: 1,
    says: ['sha256:'],
  },
  {
    name: 'blob_cut_short',
    layer: () => ({ tar: CONTENT, compression: 'none', corruptBlob: CONTENT.subarray(0, 200_000) }),
    code: 'size-mismatch',
    exit: 1,
    says: [String(CONTENT.length), '200000'],
  },
  {
    name: 'wrong_diff_id',
    layer: () => ({ tar: CONTENT, diffId: `sha256:${'5'.repeat(64)}` }),
    code: 'diff-id-mismatch',
    exit: 1,
    says: [`sha256:${'5'.repeat(64)}`, sha256(CONTENT)],
  },
  {
    name: 'bad_tar_checksum',
    layer: () => ({ tar: flipped(CONTENT, 20) }),
    code: 'tar-invalid',
    exit: 1,
    says: ['checksum'],
  },
  {
    name: 'tar_cut_short',
    layer: () => ({ tar: CONTENT.subarray(0, 200_000) }),
    code: 'tar-invalid',
    exit: 1,
    says: ['data'],
  },
  {
    name: 'path_dot_dot_etc_passwd',
    layer: tar((builder) => builder.file('../../etc/passwd', 'x')),
    code: 'tar-invalid',
    exit: 1,
    says: ['../../etc/passwd'],
  },
  {
    name: 'hard_link_to_dot_dot',
    layer: tar((builder) => builder.link('stolen', '../../etc/shadow')),
    code: 'tar-invalid',
    exit: 1,
    says: ['stolen', '../../etc/shadow'],
  },
  {
    name: 'hard_link_to_an_absolute_path_that_the_image_has_not',
    layer: tar((builder) => builder.link('stolen', '/etc/shadow')),
    code: 'tar-invalid',
    exit: 1,
    says: ['stolen', '/etc/shadow'],
  },
  {
    name: 'entry_below_a_symlink_to_a_file',
    layer: tar((builder) => builder.file('a-link/below', 'x')),
    code: 'tar-invalid',
    exit: 1,
    says: ['a-link/below'],
  },
  {
    name: 'entry_below_symlinks_in_a_circle',
    layer: tar((builder) => builder.symlink('one', 'two').symlink('two', 'one').file('one/below', 'x')),
    code: 'tar-invalid',
    exit: 1,
    says: ['one/below'],
  },
  {
    name: 'name_of_256_bytes',
    layer: tar((builder) => builder.file(`dir/${'n'.repeat(256)}`, 'x')),
    code: 'limit-exceeded',
    exit: 3,
    says: ['255', '256'],
  },
  {
    name: 'tree_of_1_000_001_entries',
    layer: blob(() => manyFiles(1_000_001)),
    code: 'limit-exceeded',
    exit: 3,
    says: ['1000000', '--max-files'],
  },
  {
    name: 'layer_in_xz',
    layer: blob(() => Uint8Array.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4])),
    code: 'layer-unsupported',
    exit: 3,
    says: ['xz'],
  },
];

describe('an image that cannot be converted', () => {
  test.each(FAILURES)('$name', async ({ layer, code, exit, says }) => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', [{ tar: SOUND.build() }, await layer()]);
      const index = await readFile(join(directory, 'index.json'), 'utf8');
      const sources = await listBlobs(directory);
      const result = await accel(['convert', '-r', `oci:${directory}`, '-i', 'latest']);
      expect(result.stderr).toContain(`[${code}]`);
      for (const text of says) expect(result.stderr).toContain(text);
      expect(result.exitCode).toBe(exit);
      expect(result.stdout).toBe('');
      // Nothing is tagged, nothing is left; a layer that was finished and pushed before may stay.
      expect(await readFile(join(directory, 'index.json'), 'utf8')).toBe(index);
      expect(result.leftovers).toEqual([]);
      expect((await readdir(directory)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
      for (const name of (await listBlobs(directory)).filter((one) => !sources.includes(one))) {
        expect(sha256(await readFile(blobPath(directory, `sha256:${name}`)))).toBe(`sha256:${name}`);
      }
    });
  });
});

describe('a request that cannot be met', () => {
  test.each([
    ['a missing tag', ['-i', 'absent', '-o', 'x'], 1, ['[not-found]', 'absent', 'latest']],
    ['no tag at all', ['-o', 'x'], 2, ['[usage]', '-i']],
    ['a digest without -o', ['-g', `sha256:${'1'.repeat(64)}`], 2, ['[usage]', '-o']],
    ['a tag that is too long', ['-i', 'latest', '-o', 't'.repeat(129)], 2, ['[tag-too-long]', '128']],
    ['another file system', ['-i', 'latest', '-o', 'x', '--fstype', 'xfs'], 2, ['xfs']],
    ['a block size that is no power of two', ['-i', 'latest', '-o', 'x', '--bs', '5'], 2, ['--bs']],
  ] as const)('%s', async (_name, args, exit, says) => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', [{ tar: SOUND.build() }]);
      const before = [await listBlobs(directory), await readFile(join(directory, 'index.json'), 'utf8')];
      const result = await accel(['convert', '-r', `oci:${directory}`, ...args]);
      for (const text of says) expect(result.stderr).toContain(text);
      expect(result.exitCode).toBe(exit);
      expect(result.leftovers).toEqual([]);
      expect([await listBlobs(directory), await readFile(join(directory, 'index.json'), 'utf8')]).toEqual(before);
    });
  });

  test('a platform that the index has not', async () => {
    await withTempDirectory(async (directory) => {
      await buildIndexLayout(directory, 'latest', [{ layers: [{ tar: SOUND.build() }] }]);
      const args = ['-r', `oci:${directory}`, '-i', 'latest', '-o', 'x', '--platform', 'linux/riscv64'];
      const result = await accel(['convert', ...args]);
      expect(result.stderr).toContain('[not-found]');
      expect(result.stderr).toContain('linux/riscv64');
      expect(result.stderr).toContain('linux/amd64');
      expect(result.exitCode).toBe(1);
    });
  });

  test('a layout that is not there', async () => {
    await withTempDirectory(async (directory) => {
      const result = await accel(['convert', '-r', `oci:${join(directory, 'absent')}`, '-i', 'latest', '-o', 'x']);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain(join(directory, 'absent'));
      expect(await readdir(directory)).toEqual([]);
    });
  });

  test('an error is one JSON document where JSON was asked for', async () => {
    await withTempDirectory(async (directory) => {
      await buildLayout(directory, 'latest', [{ tar: SOUND.build() }]);
      const result = await accel(['convert', '-r', `oci:${directory}`, '-i', 'absent', '-o', 'x', '--json']);
      expect(JSON.parse(result.stdout)).toMatchObject({ exitCode: 1, error: { code: 'not-found' } });
    });
  });
});

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
