/** Images and modes to convert. Adding an image here adds a section to docs/benchmarks.md. */
import { access } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import { type Limits, ZSTD_BLOCK, ZSTD_LEVEL, ZSTD_MODE } from './limits.ts';
import { type ImageRecipe, makeImage } from './make-image.ts';
import { oneLayer, runtimeLayer, SEED } from './make-layer.ts';
import { type FileGroup, INCOMPRESSIBLE, ONE_FILE, RUNTIME, RUNTIME_BYTES, SMALL_FILES } from './mixes.ts';

/** Where images are kept and how large they are, as a share of their full size. */
export interface Making {
  readonly directory: string;
  readonly scale: number;
}

/** An image, made or found when it is asked for. */
export interface ImageScenario {
  readonly name: string;
  readonly title: string;
  /** Description for the report. */
  readonly about: string;
  /** Names of {@link MODES}. */
  readonly modes: readonly string[];
  readonly limits: Limits;
  /** Its section shows the table as a picture as well. */
  readonly hasPlot?: boolean;
  /** Its OCI layout with the tag `latest`; undefined where this machine does not have it. */
  layout(making: Making): Promise<string | undefined>;
  /** The layout of the same layers by gzip, for the programs that read gzip; left out where the image's are. */
  gzipTwin?(making: Making): Promise<string>;
}

/** Flags that make `accel convert` do one thing. */
export interface ModeScenario {
  readonly name: string;
  readonly flags: readonly string[];
}

/** Full mode with blocks that are not the default's: what the default is weighed against. */
export const FORMAT_MODES: readonly ModeScenario[] = [
  ...[4, 16, 32].map((kib) => ({
    name: `full, LZ4 ${kib} KiB`,
    flags: ['-o', `bench_lz4_${kib}`, '--algorithm', 'lz4', '--bs', String(kib)],
  })),
  ...[
    { kib: 16, level: 1 },
    { kib: 32, level: 1 },
    { kib: 32, level: 3 },
  ].map(({ kib, level }) => ({
    name: `full, zstd ${kib} KiB, level ${level}`,
    flags: [
      ...['-o', `bench_zstd_${kib}_${level}`],
      ...['--algorithm', 'zstd', '--bs', String(kib), '--level', String(level)],
    ],
  })),
];

/** The modes by name. */
export const MODES: readonly ModeScenario[] = [
  { name: 'full', flags: ['-o', 'bench_full'] },
  { name: 'index-only', flags: ['-o', 'bench_index', '--mode', 'index-only'] },
  { name: 'both', flags: ['--overlaybd', 'bench_full', '--turboOCI', 'bench_index'] },
  ...FORMAT_MODES,
  {
    name: ZSTD_MODE,
    flags: ['-o', 'bench_zstd', '--algorithm', 'zstd', '--bs', ZSTD_BLOCK, '--level', ZSTD_LEVEL],
  },
];

const GZIP_MODES = ['full', 'index-only', 'both'];
const ALL_MODES = MODES.map(({ name }) => name);
const MAX_ZSTD_SIZE = 1.02;
const MAX_FULL_SIZE = 1.15;
/** Whether Node has zstd of its own. */
const NATIVE_ZSTD = 'createZstdDecompress' in zlib;
const ONE_LAYER_LIMITS: Limits = {
  fullWall: { usual: 1.35, fast: 1.8 },
  fullCpu: 2.6,
  indexWall: { usual: 1, fast: 1.15 },
  bothWall: 1.1,
  zstdSize: MAX_ZSTD_SIZE,
};

/** The images by name. */
export const IMAGES: readonly ImageScenario[] = [
  {
    name: 'one-layer',
    title: 'One layer of 1.1 GB',
    about: '24,000 files of text, programs, media, zeros and a model in one layer of 1.1 GB, gzip -6',
    modes: ALL_MODES,
    limits: { ...ONE_LAYER_LIMITS, fullSize: MAX_FULL_SIZE },
    hasPlot: true,
    layout: generated(oneLayer),
  },
  {
    name: 'twelve-layers',
    title: 'Twelve similar layers',
    about: 'twelve layers of 55 MB, each with the same mix of files, gzip -6',
    modes: GZIP_MODES,
    limits: { ...ONE_LAYER_LIMITS, fullWall: 1.5, indexWall: 0.9 },
    layout: generated((scale) => ({
      folder: `twelve-layers-2-scale-${scale}`,
      layers: Array.from({ length: 12 }, (_, i) => part(i, RUNTIME, scale * 0.05)),
    })),
  },
  {
    name: 'small-files',
    title: 'Two hundred thousand small files',
    about: 'one layer of 200,000 files of 60 to 4,096 bytes, gzip -6',
    modes: GZIP_MODES,
    limits: { fullWall: 2, indexWall: 2 },
    layout: generated(single('small-files-4k', SMALL_FILES)),
  },
  {
    name: 'one-file',
    title: 'One file of 1 GB',
    about: 'one layer with a single file of 1 GB that compresses to a half, gzip -6',
    modes: GZIP_MODES,
    limits: {},
    layout: generated(single('one-file', ONE_FILE)),
  },
  {
    name: 'incompressible',
    title: 'Incompressible data',
    about: 'one layer with 50 files of 10 MB of noise, gzip -6 (which stores it, so that node:zlib only copies)',
    modes: GZIP_MODES,
    limits: {},
    layout: generated(single('incompressible', INCOMPRESSIBLE)),
  },
  {
    name: 'zstd-source',
    title: 'zstd source',
    about:
      'the same tar as the one layer of 1.1 GB, by zstd -3; there is no index-only mode for it. The programs that read gzip read the same tar by gzip -6, so that × compares with the table of that image',
    modes: ['full'],
    limits: { fullOverZstd: NATIVE_ZSTD ? 1.6 : 2.5 },
    layout: generated((scale) => ({
      folder: `zstd-source-2-scale-${scale}`,
      layers: [runtimeLayer(scale)],
      compression: { kind: 'zstd', level: 3 },
    })),
    gzipTwin: generated(oneLayer),
  },
  {
    name: 'debian',
    title: 'Debian',
    about: 'Debian in six layers with its packages (fixtures/real-image/build.sh)',
    modes: ALL_MODES,
    limits: { zstdSize: MAX_ZSTD_SIZE, fullSize: MAX_FULL_SIZE },
    hasPlot: true,
    layout: async () => {
      const layout = process.env.ACCEL_REAL_IMAGE ?? join(tmpdir(), 'accel-real-image');
      return access(join(layout, '.complete')).then(
        () => layout,
        () => undefined,
      );
    },
  },
];

/** A point of a growth series: an image that is like the others but in one respect. */
export interface GrowthPoint {
  readonly label: string;
  readonly recipe: (scale: number) => ImageRecipe;
}

/** One layer that grows, by gzip -1 to be made in a minute. */
export const GROWING_LAYER: readonly GrowthPoint[] = [0.25, 1, 4].map((gigabytes) => ({
  label: `${gigabytes} GB`,
  recipe: (scale) => ({
    folder: `growing-layer-2-${gigabytes}-scale-${scale}`,
    layers: [part(0, RUNTIME, (scale * gigabytes * 1e9) / RUNTIME_BYTES)],
    compression: { kind: 'gzip', level: 1 },
  }),
}));

/** Half a gigabyte in ever more layers. */
export const MORE_LAYERS: readonly GrowthPoint[] = [1, 10, 100].map((count) => ({
  label: `${count} ${count === 1 ? 'layer' : 'layers'}`,
  recipe: (scale) => ({
    folder: `more-layers-2-${count}-scale-${scale}`,
    layers: Array.from({ length: count }, (_, i) => part(i, RUNTIME, (scale * 0.5e9) / RUNTIME_BYTES / count)),
    compression: { kind: 'gzip', level: 1 },
  }),
}));

function generated(recipe: (scale: number) => ImageRecipe): (making: Making) => Promise<string> {
  return ({ directory, scale }) => makeImage(directory, recipe(scale));
}

function single(name: string, mix: readonly FileGroup[]): (scale: number) => ImageRecipe {
  return (scale) => ({ folder: `${name}-2-scale-${scale}`, layers: [{ seed: SEED, mix, scale }] });
}

/** Layer `index` of several: other bytes and other paths than its neighbours. */
function part(index: number, mix: readonly FileGroup[], scale: number) {
  return { seed: SEED + 1 + index, mix, scale, prefix: `srv/part-${index}/` };
}
