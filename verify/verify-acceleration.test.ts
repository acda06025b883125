/** Acceleration layers that a node would not understand, or that say less than they seem to. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IS_ACCELERATION_LAYER, LAYER_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { packAccelerationLayer } from '../formats/prefetch/acceleration-layer.ts';
import { encodeTrace } from '../formats/prefetch/writer.ts';
import { inspectReference } from '../inspect/inspect-reference.ts';
import { fetchBytes } from '../oci/content.ts';
import { encodeJson, type ImageManifest } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { pieceListOf } from '../reader/layer-piece-list.ts';
import { FULL } from '../reader/testing/test-images.ts';
import { convertWithin, request, smallTar, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { verifyReference } from './verify-reference.ts';

let layout: TestLayout;
beforeAll(async () => {
  layout = await testLayout([{ tar: smallTar(1) }, { tar: smallTar(2) }]);
  await convertWithin(layout.target, request({ prefetch: { lines: ['/d1/text', '/d2/'] } }));
});
afterAll(() => layout.remove());

/** A copy of the image in which `trace` is what its acceleration layer holds; `change` may change the manifest. */
async function withTrace(
  trace: Uint8Array,
  change: (manifest: ImageManifest) => ImageManifest = (manifest) => manifest,
): Promise<MemoryTarget> {
  const target = new MemoryTarget();
  const { manifest, config } = await openImage(layout.target, FULL);
  const source = await openSource();
  const lists = manifest.layers.flatMap((layer) => pieceListOf(layer) ?? []);
  for (const { mediaType, digest, size } of [...manifest.layers, ...lists, ...source.blobs, source.descriptor])
    target.put(mediaType, await fetchBytes(layout.target, { mediaType, digest, size }, 1 << 26));
  const { blob, diffId } = await packAccelerationLayer(trace);
  const put = target.put(OCI.layerGzip, blob);
  const annotations = {
    ...manifest.layers.at(-1)!.annotations,
    [LAYER_ANNOTATION.blobDigest]: put.digest,
    [LAYER_ANNOTATION.blobSize]: String(put.size),
  };
  const diffIds = [...config.rootfs.diff_ids.slice(0, -1), diffId];
  const newConfig = target.put(OCI.config, encodeJson({ ...config, rootfs: { ...config.rootfs, diff_ids: diffIds } }));
  const layers = [...manifest.layers.slice(0, -1), { ...put, annotations }];
  const changed = change({ ...manifest, config: newConfig, layers });
  await target.tag(target.put(OCI.manifest, encodeJson(changed)), 'changed');
  return target;
}

async function openSource() {
  const descriptor = await layout.target.resolve('base');
  const manifest = JSON.parse(
    Buffer.from(await fetchBytes(layout.target, descriptor, 1 << 20)).toString(),
  ) as ImageManifest;
  return { descriptor, blobs: [manifest.config, ...manifest.layers] };
}

async function verify(target: MemoryTarget) {
  const result = await verifyReference({
    accelerated: { target, tagOrDigest: 'changed' },
    platforms: [],
    quick: false,
  });
  const [image] = result.images;
  return { fields: image!.differences.map(({ path, field }) => `${path}: ${field}`), warnings: image!.warnings };
}

const list = (text: string) => Buffer.from(text, 'latin1');

describe('an acceleration layer', () => {
  it('of lines that a node keeps is identical', async () => {
    expect(await verify(await withTrace(list('/d1/text\n/d2/\n')))).toEqual({ fields: [], warnings: [] });
  });

  it('with lines that a node skips, or that name nothing, causes warnings', async () => {
    const { fields, warnings } = await verify(await withTrace(list('/a+b\n/d1/text\n/absent\n')));
    expect(fields).toEqual([]);
    expect(warnings).toEqual([
      'a node skips lines of the prefetch list: /a+b',
      'the prefetch list names what is not in the image: /absent',
    ]);
  });

  it.each([
    ['a list of 65537 bytes', list('/a\n'.repeat(21_845).padEnd(65_537, '\n')), 'prefetch list'],
    ['a damaged trace', encodeTrace([{ layer: 0, offset: 0, length: 512 }]).fill(7, 30, 31), 'trace'],
    ['an empty file', new Uint8Array(0), 'trace'],
    ['a layer that is not there', encodeTrace([{ layer: 2, offset: 0, length: 512 }]), 'reads outside of their layers'],
    [
      'a place past a layer',
      encodeTrace([{ layer: 0, offset: 2 ** 40, length: 512 }]),
      'reads outside of their layers',
    ],
  ])('with %s differs', async (_name, trace, field) => {
    const target = await withTrace(trace);
    expect((await verify(target)).fields).toEqual([`layer 3 of 3: ${field}`]);
    const report = await inspectReference(target, 'changed');
    expect(report.images[0]).toMatchObject({ accelerated: true, layers: [{}, {}, { kind: 'acceleration' }] });
  });

  it('below other layers is not recognized by a node', async () => {
    const target = await withTrace(list('/d1/text\n'), (manifest) => ({
      ...manifest,
      layers: [manifest.layers[0]!, manifest.layers[2]!, manifest.layers[1]!],
    }));
    expect((await verify(target)).fields).toContain('layer 2 of 3: place of the acceleration layer');
  });

  it('without its other annotations differs', async () => {
    const target = await withTrace(list('/d1/text\n'), (manifest) => ({
      ...manifest,
      layers: manifest.layers.map((layer, i) =>
        i < 2 ? layer : { ...layer, annotations: { [LAYER_ANNOTATION.accelerationLayer]: IS_ACCELERATION_LAYER } },
      ),
    }));
    expect((await verify(target)).fields).toEqual([
      'layer 3 of 3: annotation blob-digest',
      'layer 3 of 3: annotation blob-size',
      'layer 3 of 3: annotation version',
    ]);
  });

  it('is reported by inspect', async () => {
    const target = await withTrace(list('/a+b\n/d1/text\n'));
    const report = await inspectReference(target, 'changed');
    expect(report.images[0]).toMatchObject({ mode: 'full', prefetch: { form: 'list', entries: 1, skipped: 1 } });
  });
});
