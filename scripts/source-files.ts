/** The source files of the project and what they import: for the checks of the house (scripts/check-docs.ts, tests/). */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';

/** Folders that hold product code; what they may import is in tests/architecture.test.ts. */
export const PRODUCT_ROOMS = [
  'base',
  'disk',
  'http',
  'formats',
  'oci',
  'reader',
  'prefetch',
  'verify',
  'inspect',
  'converter',
  'triggers',
  'notify',
  'action',
  'cli',
  'server',
] as const;

/** Folders beside the product: tools, tests, measurements. */
export const OTHER_ROOMS = ['scripts', 'tests', 'fixtures', 'bench'] as const;

/** One file of the project. */
export interface SourceFile {
  /** Path from the project's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** One import or re-export. */
export interface ImportedModule {
  /** As written: `./a.ts`, `node:fs`, `ora`. */
  readonly specifier: string;
  /** True for `import type` and `export type`: nothing is left of it at run time. */
  readonly typeOnly: boolean;
  /** True for `import('…')`. */
  readonly dynamic: boolean;
}

const SKIPPED_FOLDERS = new Set(['node_modules', 'dist', 'coverage', '.git']);

/** Every file below `folders` (or named there itself) whose name ends in one of `endings`, in order of its path. */
export function listFiles(root: string, folders: readonly string[], endings: readonly string[]): SourceFile[] {
  const found: SourceFile[] = [];
  const waiting = folders.map((folder) => join(root, folder));
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    if (statSync(folder, { throwIfNoEntry: false })?.isFile() === true) {
      found.push({ path: relative(root, folder).split(sep).join('/'), text: readFileSync(folder, 'utf8') });
      continue;
    }
    for (const entry of readIfThere(folder)) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && !SKIPPED_FOLDERS.has(entry.name)) waiting.push(path);
      else if (entry.isFile() && endings.some((ending) => entry.name.endsWith(ending))) {
        found.push({ path: relative(root, path).split(sep).join('/'), text: readFileSync(path, 'utf8') });
      }
    }
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Whether a file is a test: it may import what it likes. */
export function isTest(path: string): boolean {
  return path.endsWith('.test.ts');
}

/** Whether a file was written by a script of this project, which its first lines say. */
export function isGenerated(text: string): boolean {
  return /generated (?:by|from)/i.test(text.slice(0, 400));
}

// A statement begins its line; the text between the keyword and `from` has no quote and no semicolon.
const STATIC = /^(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]/gm;
const DYNAMIC = /\bimport\(\s*['"]([^'"]+)['"]/g;

/** The modules that a TypeScript file names. Strings and comments that look like imports at a line's start count too. */
export function importsOf(text: string): ImportedModule[] {
  const found: ImportedModule[] = [];
  for (const match of text.matchAll(STATIC)) {
    found.push({ specifier: match[2]!, typeOnly: match[1] !== undefined, dynamic: false });
  }
  for (const match of text.matchAll(DYNAMIC)) found.push({ specifier: match[1]!, typeOnly: false, dynamic: true });
  return found;
}

/** The path, from the project's root, of the file that a relative specifier in `from` names. */
export function resolveImport(from: string, specifier: string): string {
  return posix.normalize(posix.join(posix.dirname(from), specifier));
}

function readIfThere(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    // A room that is not built yet holds no files.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
