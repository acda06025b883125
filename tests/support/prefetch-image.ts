/** An image with everything that makes a prefetch list hard: names, links, directories, attributes, many extents. */
import type { LayerSpec } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';

/** Bytes that do not compress, the same for each seed. */
export function noise(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed * 2_654_435_761 + 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** A name that is not UTF-8. */
export const NOT_UTF8 = new Uint8Array([...Buffer.from('opt/caf'), 0xe9]);

/** Names that the list form cannot say, each with a file under /opt. */
export const ODD_NAMES = ['libstdc++.so.6', 'a b', 'user@host', 'x:y', 'caffè', '['] as const;

/** The layers, lowest first; `compression` of the upper one. */
export function prefetchLayers(compression: 'gzip' | 'zstd' = 'gzip'): LayerSpec[] {
  const lower = new TarBuilder()
    .dir('usr/')
    .dir('usr/bin/')
    .file('usr/bin/app', noise(3_000_000, 1), { mode: 0o755 })
    .file('usr/bin/[', noise(5000, 2))
    .symlink('bin', 'usr/bin')
    .symlink('usr/bin/current', `../../${'opt/../'.repeat(12)}usr/bin/app`)
    .dir('opt/');
  for (const [i, name] of ODD_NAMES.entries()) lower.file(`opt/${name}`, noise(70_000, 10 + i));
  lower.file(NOT_UTF8, noise(9000, 20));
  lower.dir('crowd/');
  for (let i = 0; i < 400; i++) lower.file(`crowd/file-with-a-long-name-${i}`, noise(300 + i, 100 + i));
  lower.file('unwanted', noise(2_000_000, 30));
  const upper = new TarBuilder()
    .file('srv/data', noise(1_500_000, 40), { xattrs: { 'user.large': 'v'.repeat(3000) } })
    .file('srv/zeros', new Uint8Array(300_000))
    .file('srv/empty')
    .file('usr/bin/app', noise(2_500_000, 41), { mode: 0o755 })
    .link('srv/again', 'srv/data');
  return [{ tar: lower.build() }, { tar: upper.build(), compression }];
}
