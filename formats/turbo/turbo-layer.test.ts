import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { ZFileReader } from '../zfile/reader.ts';
import { golden, readerOf } from '../zfile/testing/goldens.ts';
import { packTurboLayer, unpackTurboLayer } from './turbo-layer.ts';

describe.each(['turbo/l0', 'turbo/l1'])('golden %s', (layer) => {
  const fsMeta = golden(`${layer}/ext4.fs.meta`);
  const gzipIndex = golden(`${layer}/gzip.meta`);
  const packed = golden(`${layer}/turboOCIv1.tar.gz`);

  it('is taken apart into the files beside it', async () => {
    const unpacked = await unpackTurboLayer(packed);
    expect(Buffer.from(unpacked.fsMeta).equals(fsMeta)).toBe(true);
    expect(Buffer.from(unpacked.gzipIndex!).equals(gzipIndex)).toBe(true);
    expect(unpacked.diffId).toBe(`sha256:${createHash('sha256').update(gunzipSync(packed)).digest('hex')}`);
  });

  it("is packed again with the same files in the same order, for the system's tar too", async () => {
    const again = await packTurboLayer({ fsMeta, gzipIndex });
    const list = (input: Uint8Array) =>
      execFileSync('tar', ['-tvzf', '-'], { input, encoding: 'utf8', env: { TZ: 'UTC' } });
    expect(list(again.blob)).toBe(list(packed));
    expect(again.diffId).toBe(`sha256:${createHash('sha256').update(gunzipSync(again.blob)).digest('hex')}`);
    expect(again.blob.length).toBeLessThan(packed.length * 1.02);
    const unpacked = await unpackTurboLayer(again.blob);
    expect(Buffer.from(unpacked.fsMeta).equals(fsMeta)).toBe(true);
    const reader = await ZFileReader.open(readerOf(unpacked.fsMeta), unpacked.fsMeta.length);
    expect((await reader.read(0, 8)).subarray(0, 4)).toEqual(new Uint8Array(Buffer.from('LSMT')));
  });

  it('is the same bytes each time, without a time in them', async () => {
    const [a, b] = [await packTurboLayer({ fsMeta, gzipIndex }), await packTurboLayer({ fsMeta, gzipIndex })];
    expect(Buffer.from(a.blob).equals(b.blob)).toBe(true);
    expect(Buffer.from(a.blob.subarray(0, 10)).toString('hex')).toMatch(/^1f8b080000000000/);
  });
});

describe('an index-only layer', () => {
  const tarOf = async (...files: [string, string, ('file' | 'directory')?][]): Promise<Buffer> => {
    const archive = pack();
    for (const [name, content, type = 'file'] of files) archive.entry({ name, type }, content);
    archive.finalize();
    const chunks: Uint8Array[] = [];
    for await (const chunk of archive) chunks.push(chunk as Uint8Array);
    return Buffer.concat(chunks);
  };

  it('of a plain tar has no gzip index', async () => {
    const { blob } = await packTurboLayer({ fsMeta: Buffer.from('meta') });
    const unpacked = await unpackTurboLayer(blob);
    expect(unpacked).not.toHaveProperty('gzipIndex');
    expect(execFileSync('tar', ['-tzf', '-'], { input: blob, encoding: 'utf8' })).toBe('ext4.fs.meta\n.turbo.ociv1\n');
  });

  it('is refused where it is damaged or something else', async () => {
    const invalid = { code: 'turbo-invalid' };
    const { blob } = await packTurboLayer({ fsMeta: Buffer.from('meta') });
    await expect(unpackTurboLayer(Buffer.from('no gzip'))).rejects.toMatchObject(invalid);
    await expect(unpackTurboLayer(blob.subarray(0, -1))).rejects.toMatchObject(invalid);
    await expect(unpackTurboLayer(gzipSync(Buffer.alloc(700, 1)))).rejects.toMatchObject(invalid);
    await expect(unpackTurboLayer(gzipSync(gunzipSync(blob).subarray(0, 600)))).rejects.toMatchObject(invalid);
    await expect(unpackTurboLayer(gzipSync(await tarOf(['ext4.fs.meta', 'x'])))).rejects.toMatchObject(invalid);
    await expect(unpackTurboLayer(gzipSync(await tarOf(['.turbo.ociv1', ''])))).rejects.toMatchObject(invalid);
    const twice = await tarOf(['ext4.fs.meta', 'x'], ['.turbo.ociv1', ''], ['ext4.fs.meta', 'y']);
    await expect(unpackTurboLayer(gzipSync(twice))).rejects.toMatchObject(invalid);
    const folder = await tarOf(['ext4.fs.meta', '', 'directory'], ['.turbo.ociv1', '']);
    await expect(unpackTurboLayer(gzipSync(folder))).rejects.toMatchObject(invalid);
  });

  it('with a header whose size is no number is refused, and does not wait for more', async () => {
    const tar = new TarBuilder()
      .header({ name: 'ext4.fs.meta', patch: { 124: Buffer.alloc(12, 0xa9) } })
      .file('.turbo.ociv1')
      .build();
    await expect(unpackTurboLayer(gzipSync(tar))).rejects.toMatchObject({ code: 'turbo-invalid' });
  });

  it('with a directory that states a size is read to its end', async () => {
    const tar = new TarBuilder()
      .file('ext4.fs.meta', 'meta')
      .file('.turbo.ociv1')
      .dir('d/', { header: { size: 700 } })
      .build();
    const { fsMeta } = await unpackTurboLayer(gzipSync(tar));
    expect(Buffer.from(fsMeta).toString()).toBe('meta');
  });

  it('may not unpack to more than its bound', async () => {
    const { blob } = await packTurboLayer({ fsMeta: new Uint8Array(1 << 20) });
    await expect(unpackTurboLayer(blob, 1 << 20)).rejects.toMatchObject({ code: 'limit-exceeded' });
  });
});
