import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeWith, run, withTempDirectory } from '../../tests/support/tools.ts';
import { hashName } from './dirhash.ts';
import { HASH_SEED, HASH_SEED_BYTES } from './superblock.ts';
import { SMALL, withImage } from './testing/image-box.ts';

/** libext2fs's number of the hash; debugfs has a name for the signed variant alone. */
const HALF_MD4_UNSIGNED = 4;

/** Lengths around the hash's 32 bytes and 4-byte words, and characters with the top bit. */
const NAMES = [
  'a',
  'ab',
  'abc',
  'abcd',
  'abcde',
  'lost+found',
  ...[28, 31, 32, 33, 35, 36, 63, 64, 65, 96, 128, 254, 255].map((length) => 'xyz0'.repeat(64).slice(0, length)),
  'caf\xe9',
  '\xff'.repeat(33),
  '\x80\x81\x82\x83\x84',
  ...Array.from({ length: 50 }, (_, i) => `libfoo.so.${i * 7}`),
];

const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;

describeWith({ tools: ['debugfs'] }, 'the directory hash', () => {
  test('without a seed is what debugfs says without one', async () => {
    const names = NAMES.filter((name) => /^[\0-\x7f]*$/.test(name));
    const commands = names.map((name) => `dx_hash -h ${HALF_MD4_UNSIGNED} ${name}\n`).join('');
    await withTempDirectory(async (directory) => {
      const script = join(directory, 'commands');
      await run('sh', ['-c', 'cat >"$1"', 'sh', script], { input: commands });
      const { stdout } = await run('debugfs', ['-f', script]);
      const found = [...stdout.toString('latin1').matchAll(/is (0x[0-9a-f]+) \(minor/g)];
      expect(found.map(([, major]) => hex(Number(major)))).toEqual(
        names.map((name) => hex(hashName(name, new Uint32Array(4)).major)),
      );
    });
  });

  test('is what debugfs says for the unsigned half-MD4', async () => {
    const seed = Buffer.from(HASH_SEED_BYTES).toString('hex');
    const uuid = [seed.slice(0, 8), seed.slice(8, 12), seed.slice(12, 16), seed.slice(16, 20), seed.slice(20)].join(
      '-',
    );
    await withTempDirectory(async (directory) => {
      const script = join(directory, 'commands');
      const commands = NAMES.map((name) => `dx_hash -h ${HALF_MD4_UNSIGNED} -s ${uuid} ${name}`);
      await run('sh', ['-c', 'cat >"$1"', 'sh', script], { input: Buffer.from(`${commands.join('\n')}\n`, 'latin1') });
      const { stdout } = await run('debugfs', ['-f', script]);
      const found = [...stdout.toString('latin1').matchAll(/is (0x[0-9a-f]+) \(minor (0x[0-9a-f]+)\)/g)];
      expect(found.map(([, major, minor]) => [major, minor].map((text) => hex(Number(text))))).toEqual(
        NAMES.map((name) => hashName(name, HASH_SEED)).map(({ major, minor }) => [hex(major), hex(minor)]),
      );
    });
  });

  test('is the one that the superblock announces', async () => {
    await withImage(SMALL, async (box) => {
      box.layer(new Uint8Array(1024));
      const { stdout } = await run('dumpe2fs', ['-h', box.path]);
      expect(stdout.toString()).toMatch(/Default directory hash:\s+half_md4/);
      expect(stdout.toString()).toMatch(/flags:.*\bunsigned_directory_hash/);
      const seed = /Directory Hash Seed:\s+(\S+)/.exec(stdout.toString())![1]!;
      expect(seed.replaceAll('-', '')).toBe(Buffer.from(HASH_SEED_BYTES).toString('hex'));
    });
  });
});

describe('the directory hash', () => {
  test("has an even major, never the mark of a directory's end", () => {
    for (let i = 0; i < 20_000; i++) {
      const { major } = hashName(`name-${i}`, HASH_SEED);
      expect(major % 2).toBe(0);
      expect(major).toBeLessThan(0xffff_fffe);
    }
  });
});
