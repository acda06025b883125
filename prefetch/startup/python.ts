/**
 * Finds the files that Python reads before it runs the first line of a program: its startup modules, by the directory
 * of its version.
 */
import type { ImageFiles } from '../../reader/files.ts';

/** `python3 -X importtime -c ''` of 3.9 to 3.13; later versions have more of them built in, and read fewer. */
const MODULES = [
  ...['encodings/__init__', 'codecs', 'encodings/aliases', 'encodings/utf_8', 'io', 'abc', 'site', 'os', 'stat'],
  ...['_collections_abc', 'posixpath', 'genericpath', '_sitebuiltins'],
];
/** Files beside the modules that are looked for at each start. */
const SITE_FILES = ['sitecustomize.py', 'usercustomize.py'];

/** Whether a program is a Python, by the name of its file. */
export function isPython(path: string): boolean {
  return /\/python\d*(\.\d+)?$/.test(path);
}

/** The files that a Python at `path` (as it is called; its real place is `real`) reads when it starts. */
export async function pythonFiles(files: ImageFiles, path: string, real: string): Promise<string[]> {
  const found: string[] = [];
  const add = async (candidate: string): Promise<void> => {
    if ((await files.find(candidate))?.type === 'file') found.push(candidate);
  };
  // A virtual environment says so beside the link by which it calls Python.
  await add(`${parentOf(parentOf(path))}/pyvenv.cfg`);
  const library = await libraryOf(files, real);
  if (library === undefined) return found;
  for (const module of MODULES) {
    const source = `${library.path}/${module}.py`;
    const compiled = compiledPath(source, library.version);
    // Where a compiled module is, its source is looked at and not read.
    if ((await files.find(compiled))?.type === 'file') found.push(compiled);
    else await add(source);
  }
  for (const name of SITE_FILES) await add(`${library.path}/${name}`);
  return found;
}

/** The files of a module that is run by its name (`python -m`): in the library and in what is installed beside it. */
export async function moduleFiles(
  files: ImageFiles,
  real: string,
  module: string,
  directories: readonly string[],
): Promise<string[]> {
  const library = await libraryOf(files, real);
  const installed =
    library === undefined ? [] : [library.path, `${library.path}/site-packages`, '/usr/lib/python3/dist-packages'];
  const name = module.replaceAll('.', '/');
  const found: string[] = [];
  for (const directory of [...directories, ...installed]) {
    for (const candidate of [`${name}/__init__.py`, `${name}/__main__.py`, `${name}.py`]) {
      const path = `${directory}/${candidate}`;
      const compiled = library === undefined ? path : compiledPath(path, library.version);
      if ((await files.find(compiled))?.type === 'file') found.push(compiled);
      else if ((await files.find(path))?.type === 'file') found.push(path);
    }
    if (found.length > 0) return found;
  }
  return found;
}

/** `lib/pythonX.Y` beside the directory of the program. */
async function libraryOf(
  files: ImageFiles,
  real: string,
): Promise<{ readonly path: string; readonly version: string } | undefined> {
  const lib = `${parentOf(parentOf(real))}/lib`;
  const version = /python(\d+\.\d+)$/.exec(real)?.[1];
  const versions = version === undefined ? await versionsIn(files, lib) : [version];
  for (const candidate of versions) {
    const path = `${lib}/python${candidate}`;
    if ((await files.find(path))?.type === 'directory') return { path, version: candidate };
  }
  return undefined;
}

async function versionsIn(files: ImageFiles, lib: string): Promise<string[]> {
  const directory = await files.find(lib);
  if (directory?.type !== 'directory') return [];
  return (await files.names(directory)).flatMap(({ name }) => /^python(3\.\d+)$/.exec(name)?.[1] ?? []);
}

/** `a/b.py` of version 3.11 as `a/__pycache__/b.cpython-311.pyc`. */
function compiledPath(source: string, version: string): string {
  const slash = source.lastIndexOf('/');
  const name = source.slice(slash + 1, -'.py'.length);
  return `${source.slice(0, slash)}/__pycache__/${name}.cpython-${version.replace('.', '')}.pyc`;
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
