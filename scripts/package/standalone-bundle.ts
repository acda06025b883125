/** The code of the standalone executable: the program, and a file for each of its threads. */
import { build } from 'esbuild';
import { licenseTexts, packagesOf } from '../bundle-licenses.ts';
import { projectRoot } from '../project-root.ts';
import { zstdInside } from '../zstd-package.ts';

/** The program, which Node compiles when the executable starts; the others are assets of it (cli/standalone.ts). */
const ENTRIES = {
  'program.js': 'cli/standalone.ts',
  'worker.js': 'converter/layer/workers/worker.ts',
  'interrupt-watcher.js': 'cli/interrupt-watcher.ts',
} as const;

/** Files by name, and the licences of the packages in them. */
export interface StandaloneBundle {
  readonly files: Readonly<Record<keyof typeof ENTRIES, string>>;
  readonly licenses: string;
}

/** Bundles the sources. The same sources give the same bytes. */
export async function bundleStandalone(): Promise<StandaloneBundle> {
  const files: Record<string, string> = {};
  const packages = new Set<string>();
  const zstd = await zstdInside();
  for (const [name, entry] of Object.entries(ENTRIES)) {
    const { outputFiles, metafile } = await build({
      // Relative to the root, whatever that is: no path of a machine gets into the bundle.
      absWorkingDir: projectRoot(import.meta.url),
      entryPoints: [entry],
      outfile: name,
      write: false,
      bundle: true,
      platform: 'node',
      // Node 24 takes no modules inside of an executable, and its import() finds nothing but its own modules there.
      format: 'cjs',
      supported: { 'dynamic-import': false },
      define: { 'import.meta.url': '"file:///accel/main.js"' },
      target: 'node24',
      plugins: [zstd],
      // Names stay, so that the stack of an error can be read.
      minifyWhitespace: true,
      minifySyntax: true,
      charset: 'utf8',
      legalComments: 'none',
      metafile: true,
      logLevel: 'warning',
    });
    files[name] = outputFiles[0]!.text;
    for (const folder of packagesOf(metafile)) packages.add(folder);
  }
  const licenses = licenseTexts(
    'Licences of the packages in the standalone executable of accel.',
    [...packages].sort(),
  );
  return { files: files as StandaloneBundle['files'], licenses };
}
