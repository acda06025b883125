/** Layers made to exhaust whoever reads them: bounded by what they announce and by what they are. */
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { AccelError } from '../base/error.ts';
import { compressLayer } from '../fixtures/compress.ts';
import type { LayerSpec } from '../fixtures/image-builder.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { putImage } from '../reader/testing/test-images.ts';
import { convertWithin, request, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { verifyReference } from '../verify/verify-reference.ts';

const MIB = 1 << 20;
let layout: TestLayout | undefined;
afterEach(() => layout?.remove());

/** Converts one layer with a bound of 1 MiB; the error that must come. */
async function refusal(layer: LayerSpec, maxLayerSize = MIB): Promise<AccelError> {
  layout = await testLayout([layer]);
  return failureOf(layout.target, maxLayerSize);
}

async function failureOf(target: TestLayout['target'] | MemoryTarget, maxLayerSize: number): Promise<AccelError> {
  const usual = request();
  const converting = convertWithin(target, { ...usual, artifact: { ...usual.artifact, maxLayerSize } });
  const error = await converting.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AccelError)) throw error ?? new Error('nothing was thrown');
  return error;
}

/** A blob whose bytes are no tar of the builder's. */
const blob = (bytes: Uint8Array, mediaType: string = OCI.layerGzip): LayerSpec => ({
  tar: bytes,
  compression: 'none',
  mediaType,
});

describe('a layer past --max-layer-size', () => {
  // Zeros behind the end of an archive are padding, and padding without end is a bomb.
  const BOMB = new Uint8Array(64 * MIB);

  it('gzip_bomb', async () => {
    const error = await refusal(blob(gzipSync(BOMB)));
    expect(error).toMatchObject({
      code: 'limit-exceeded',
      where: { layer: '1 of 1' },
      expected: expect.stringContaining('1048576'),
      hint: expect.stringContaining('maxLayerSize'),
    });
  });

  it('zstd_bomb', async () => {
    const error = await refusal(blob(await compressLayer(BOMB, 'zstd'), OCI.layerZstd));
    expect(error).toMatchObject({ code: 'limit-exceeded', where: { layer: '1 of 1' } });
  });

  it('bomb_in_the_data_of_a_file', async () => {
    const tar = new TarBuilder().file('zeros', new Uint8Array(8 * MIB)).build();
    // Refused at its header: the path is known, and no byte of it was stored.
    expect(await refusal({ tar })).toMatchObject({ code: 'limit-exceeded', where: { path: 'zeros', tarOffset: 0 } });
  });

  it.each([
    ['a_terabyte', 2 ** 40],
    ['2^53_less_one', 2 ** 53 - 1],
  ])('tar_header_announces_%s', async (_, size) => {
    const tar = new TarBuilder().file('huge', 'x', { header: { size } }).build();
    expect(await refusal({ tar })).toMatchObject({ code: 'limit-exceeded', where: { path: 'huge' } });
  });

  it('pax_record_announces_an_exabyte', async () => {
    const tar = new TarBuilder().file('huge', 'x', { pax: { size: String(2 ** 60) } }).build();
    const { code, where } = await refusal({ tar });
    expect(['limit-exceeded', 'tar-invalid']).toContain(code);
    expect(where).toMatchObject({ path: 'huge' });
  });

  it('pax_header_of_gigabytes', async () => {
    const tar = new TarBuilder().header({ name: 'x', typeflag: 'x', size: 3 * 2 ** 30 }).build();
    expect(await refusal({ tar }, 2 ** 40)).toMatchObject({ code: 'limit-exceeded', found: 3 * 2 ** 30 });
  });

  it('descriptor_announces_a_terabyte: nothing of it is fetched', async () => {
    const target = new MemoryTarget();
    const layer = target.put(OCI.layerGzip, gzipSync(new TarBuilder().build()));
    await putImage(target, 'base', [{ ...layer, size: 2 ** 40 }]);
    expect(await failureOf(target, 2 ** 38)).toMatchObject({
      code: 'limit-exceeded',
      where: { layer: '1 of 1', digest: layer.digest },
      found: expect.stringContaining(String(2 ** 40)),
    });
  });

  it('a layer of just the bound is converted, and verified with the same bound', async () => {
    const tar = new TarBuilder().file('zeros', new Uint8Array(MIB - 512 - 1024)).build();
    expect(tar.length).toBe(MIB);
    layout = await testLayout([{ tar }]);
    const usual = request();
    const { tags } = await convertWithin(layout.target, {
      ...usual,
      artifact: { ...usual.artifact, maxLayerSize: MIB },
    });
    expect(tags).toHaveLength(2);
    const verify = (maxLayerSize: number) =>
      verifyReference({
        accelerated: { target: layout!.target, tagOrDigest: 'base_accelerated' },
        platforms: [],
        quick: false,
        maxLayerSize,
      });
    expect((await verify(MIB)).identical).toBe(true);
    await expect(verify(MIB - 1)).rejects.toMatchObject({ code: 'limit-exceeded' });
  });
});

it('more extended attributes than an inode and a block hold', async () => {
  const xattrs = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`user.attribute-${i}`, 'v']));
  const error = await refusal({ tar: new TarBuilder().file('f', 'x', { xattrs }).build() }, 2 ** 38);
  expect(error).toMatchObject({ code: 'limit-exceeded', where: { path: 'f' } });
});

describe('documents that claim more than accel reads', () => {
  it.each(['manifest', 'config'])('a %s of gigabytes is refused by its descriptor', async (which) => {
    const target = new MemoryTarget();
    const layer = target.put(OCI.layerGzip, gzipSync(new TarBuilder().build()));
    const named = await putImage(target, 'base', [layer]);
    const claim = { ...named, size: 5 * 2 ** 30 };
    if (which === 'manifest') await target.tag(claim, 'base');
    else {
      const config = { ...target.put(OCI.config, Buffer.from('{}')), size: 5 * 2 ** 30 };
      const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers: [layer] };
      await target.tag(target.put(OCI.manifest, Buffer.from(JSON.stringify(manifest))), 'base');
    }
    expect((await failureOf(target, 2 ** 38)).code).toBe('limit-exceeded');
  });
});
