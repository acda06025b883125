/** docs/benchmarks.md is written by several benchmarks, a section each. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** First line of the page. */
const TITLE = '# Benchmarks';

/** The page of results; ACCEL_BENCH_PAGE names another one, for a trial. */
export const RESULTS: string =
  process.env.ACCEL_BENCH_PAGE ?? join(import.meta.dirname, '..', '..', 'docs', 'benchmarks.md');

/** The page (empty for a new one) with section `name` replaced, or added at its end. */
export function withSection(page: string, name: string, text: string): string {
  const end = `<!-- end ${name} -->`;
  const section = `<!-- begin ${name}: written by bench/, see the README there -->\n\n${text.trim()}\n\n${end}\n`;
  const [from, to] = [page.indexOf(`<!-- begin ${name}:`), page.indexOf(end)];
  if (from < 0 || to < from) return `${page.trimEnd() || TITLE}\n\n${section}`;
  return `${page.slice(0, from)}${section}${page.slice(to + end.length).replace(/^\n/, '')}`;
}

/** Writes a section of {@link RESULTS}; the others stay. */
export async function writeSection(name: string, text: string): Promise<void> {
  const page = await readFile(RESULTS, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  await writeFile(RESULTS, withSection(page, name, text));
}

/** Folder of the pictures, beside the page. */
const PICTURES = 'images';

/** Writes an SVG beside {@link RESULTS}; its path as the page names it. */
export async function writePicture(name: string, svg: string): Promise<string> {
  const folder = join(dirname(RESULTS), PICTURES);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name}.svg`), svg);
  return `${PICTURES}/${name}.svg`;
}
