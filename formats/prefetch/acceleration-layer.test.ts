import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { describeWith, run, withTempDirectory } from '../../tests/support/tools.ts';
import { packAccelerationLayer, unpackAccelerationLayer } from './acceleration-layer.ts';

const TRACE = Buffer.from('/usr/bin/app\n');

describe('an acceleration layer', () => {
  it('gives back what was packed, with the hash of its tar', async () => {
    const { blob, diffId } = await packAccelerationLayer(TRACE);
    const unpacked = await unpackAccelerationLayer(blob);
    expect(Buffer.from(unpacked.trace)).toEqual(TRACE);
    expect(unpacked.diffId).toBe(diffId);
    expect(diffId).toBe(`sha256:${createHash('sha256').update(gunzipSync(blob)).digest('hex')}`);
    expect(Buffer.from((await packAccelerationLayer(TRACE)).blob)).toEqual(Buffer.from(blob));
  });

  it('is read without compression too, as the reference writes it', async () => {
    const { blob, diffId } = await packAccelerationLayer(TRACE);
    expect(await unpackAccelerationLayer(gunzipSync(blob))).toMatchObject({ diffId });
  });

  it.each([
    ['no tar', Buffer.from('not a tar')],
    ['a damaged gzip', gzipSync(Buffer.alloc(2048)).subarray(0, 12)],
    ['an empty tar', Buffer.alloc(1024)],
  ])('%s is prefetch-invalid', async (_name, blob) => {
    await expect(unpackAccelerationLayer(blob)).rejects.toMatchObject({ code: 'prefetch-invalid' });
  });

  it('one that unpacks to gigabytes is limit-exceeded', async () => {
    await expect(unpackAccelerationLayer(gzipSync(Buffer.alloc(30_000_000)))).rejects.toMatchObject({
      code: 'limit-exceeded',
    });
  });
});

describeWith({ tools: ['tar'] }, 'GNU tar', () => {
  it('unpacks it to the one file, and what GNU tar packs is read', async () => {
    await withTempDirectory(async (directory) => {
      const { blob } = await packAccelerationLayer(TRACE);
      await writeFile(join(directory, 'layer.tgz'), blob);
      await mkdir(join(directory, 'root'));
      await run('tar', ['-xzf', join(directory, 'layer.tgz'), '-C', join(directory, 'root')]);
      const trace = join(directory, 'root', 'trace');
      expect(await readFile(trace)).toEqual(TRACE);
      expect((await stat(trace)).mode & 0o777).toBe(0o444);
      await run('tar', ['-czf', join(directory, 'other.tgz'), '-C', join(directory, 'root'), 'trace']);
      const other = await unpackAccelerationLayer(await readFile(join(directory, 'other.tgz')));
      expect(Buffer.from(other.trace)).toEqual(TRACE);
    });
  });
});
