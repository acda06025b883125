/** Content of the generated layers: groups of like files, by kind of content, number and size. */
import type { ContentKind } from './content.ts';

/** A group of like files in a generated layer. */
export interface FileGroup {
  readonly directory: string;
  readonly kind: ContentKind;
  readonly count: number;
  /** Bytes of the smallest and the largest file; sizes in between are even more often small than large. */
  readonly size: readonly [least: number, most: number];
}

/**
 * The layer of a language runtime with its packages and a model, as a converter sees it: about 1.1 GB, of which gzip -6
 * leaves a third and LZ4 in blocks of 4 KiB somewhat more than a half, as they do of the layers of real images.
 */
export const RUNTIME: readonly FileGroup[] = [
  { directory: 'usr/lib', kind: 'binary', count: 573, size: [16_384, 2_500_000] },
  { directory: 'usr/share/text', kind: 'text', count: 3_000, size: [1_000, 120_000] },
  { directory: 'usr/lib/modules', kind: 'text', count: 20_000, size: [60, 14_000] },
  { directory: 'opt/media', kind: 'noise', count: 26, size: [500_000, 5_000_000] },
  { directory: 'opt/model', kind: 'binary', count: 3, size: [100_000_000, 100_000_001] },
  { directory: 'var/lib/zeros', kind: 'zeros', count: 4, size: [5_000_000, 20_000_000] },
];

/** Bytes of tar that {@link RUNTIME} makes at scale 1, rounded. */
export const RUNTIME_BYTES = 1.1e9;

/** Packages of a scripting language, and nothing else: 200,000 files of at most a block. */
export const SMALL_FILES: readonly FileGroup[] = [
  { directory: 'usr/lib/node_modules', kind: 'text', count: 150_000, size: [60, 4_096] },
  { directory: 'usr/share/locale', kind: 'binary', count: 50_000, size: [60, 4_096] },
];

/** A model in one piece. */
export const ONE_FILE: readonly FileGroup[] = [
  { directory: 'opt/model', kind: 'binary', count: 1, size: [1_000_000_000, 1_000_000_001] },
];

/** Media that are compressed already: nothing shrinks. */
export const INCOMPRESSIBLE: readonly FileGroup[] = [
  { directory: 'opt/media', kind: 'noise', count: 50, size: [10_000_000, 10_000_001] },
];
