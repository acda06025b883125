/** An image of several layers of a few megabytes, so that a conversion lasts long enough to be disturbed. */
import { fill, Random } from '../../bench/content.ts';
import type { LayerSpec } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { run } from '../support/tools.ts';

/** `count` layers with about `size` bytes of files each; the same bytes for the same numbers. */
export function noisyLayers(count: number, size: number, seed = 1): LayerSpec[] {
  return Array.from({ length: count }, (_, layer) => ({ tar: noisyTar(seed * 1000 + layer, size) }));
}

/** A tar with a text, a binary and a noise file of a third of `size` each. */
export function noisyTar(seed: number, size: number): Uint8Array {
  const tar = new TarBuilder().dir(`layer-${seed}/`);
  const random = new Random(seed);
  for (const kind of ['text', 'binary', 'noise'] as const) {
    const bytes = new Uint8Array(size / 3);
    fill(bytes, kind, random);
    tar.file(`layer-${seed}/${kind}`, bytes);
  }
  return tar.symlink(`latest-${seed}`, `layer-${seed}/text`).build();
}

/** Has skopeo copy a tag of a layout into a registry, with all that an index holds. */
export async function pushLayout(layout: string, tag: string, reference: string): Promise<void> {
  await run('skopeo', ['copy', '--all', '--dest-tls-verify=false', `oci:${layout}:${tag}`, `docker://${reference}`]);
}

/** Has skopeo copy a tag out of a registry into a directory, every digest and size checked. */
export async function pullImage(reference: string, directory: string): Promise<void> {
  const target = `dir:${directory}`;
  await run('skopeo', [
    'copy',
    '--all',
    '--preserve-digests',
    '--src-tls-verify=false',
    `docker://${reference}`,
    target,
  ]);
}
