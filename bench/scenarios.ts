/** What the benchmarks run: images to convert and the ways to convert them. Adding a line here adds a row to the table. */
import { access } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeLayer } from './make-layer.ts';

/** An image, made or found when it is asked for. */
export interface ImageScenario {
  readonly name: string;
  /** What it is, for the report. */
  readonly about: string;
  /** Its OCI layout with the tag `latest`; undefined where this machine does not have it. */
  layout(options: { readonly cache: string; readonly scale: number }): Promise<string | undefined>;
}

/** Flags that make `accel convert` do one thing. */
export interface ModeScenario {
  readonly name: string;
  readonly flags: readonly string[];
}

/** The images by name. */
export const IMAGES: readonly ImageScenario[] = [
  {
    name: 'generated',
    about: 'one layer of about 1.1 GB (bench/make-layer.ts), gzip -6',
    layout: ({ cache, scale }) => makeLayer(cache, scale),
  },
  {
    name: 'debian',
    about: 'Debian in six layers with its packages (fixtures/real-image/build.sh)',
    layout: async () => {
      const layout = process.env.ACCEL_REAL_IMAGE ?? join(tmpdir(), 'accel-real-image');
      return access(join(layout, '.complete')).then(
        () => layout,
        () => undefined,
      );
    },
  },
];

/** The modes by name. */
export const MODES: readonly ModeScenario[] = [
  { name: 'full', flags: ['-o', 'bench_full'] },
  { name: 'index-only', flags: ['-o', 'bench_index', '--mode', 'index-only'] },
  { name: 'both', flags: ['--overlaybd', 'bench_full', '--turboOCI', 'bench_index'] },
];
