import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { assembleDevice } from './assemble.ts';
import { readTree } from './ext4-judge.ts';
import { parseReference, REFERENCE_PATH, referenceLine } from './goldens.ts';
import { blobPath, type LayoutDescriptor } from './oci-layout.ts';
import { describeWith, withTempDirectory } from './tools.ts';

const GOLDENS = join(REFERENCE_PATH, '..');
const P = 'containerd.io/snapshot/overlaybd/';

/** Puts golden layers into a layout, index-only ones with their source blobs. */
async function goldenLayers(layout: string, kind: 'full' | 'turbo'): Promise<LayoutDescriptor[]> {
  await mkdir(join(layout, 'blobs', 'sha256'), { recursive: true });
  const put = async (file: string): Promise<LayoutDescriptor> => {
    const bytes = await readFile(join(GOLDENS, file));
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await writeFile(blobPath(layout, digest), bytes);
    return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: bytes.length };
  };
  return Promise.all(
    [0, 1].map(async (layer) => {
      if (kind === 'full') return put(`full/l${layer}/overlaybd.commit`);
      const source = await put(`input/layer${layer + 1}.tar.gz`);
      const annotations = { [`${P}turbo-oci/target-digest`]: source.digest };
      return { ...(await put(`turbo/l${layer}/turboOCIv1.tar.gz`)), annotations };
    }),
  );
}

describeWith({ tools: ['python3', 'tar', 'debugfs'] }, 'the assembled device of the goldens', () => {
  test.each(['full', 'turbo'] as const)('%s holds the tree that the reference shows', async (kind) => {
    await withTempDirectory(async (directory) => {
      const layers = await goldenLayers(directory, kind);
      const image = join(directory, 'device');
      const size = await assembleDevice(directory, { mediaType: '', config: layers[0]!, layers }, image);
      expect(size).toBe(64 * 2 ** 30);
      const { entries } = await readTree(image, { keepLostAndFound: true });
      const reference = parseReference(await readFile(REFERENCE_PATH, 'latin1'));
      expect(entries.map(referenceLine)).toEqual([...reference.values()]);
    });
  });
});
