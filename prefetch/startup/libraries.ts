/** Finds a program's libraries in the image as its loader does (ld.so(8); musl's ldso/dynlink.c). */
import { readLibraryCache } from '../../formats/elf/library-cache.ts';
import { type ElfFile, readElf } from '../../formats/elf/reader.ts';
import type { FileStat, ImageFiles } from '../../reader/files.ts';
import { matchPaths } from '../glob.ts';

/** A file of a program: it itself, its interpreter, a library. */
export interface LoadedFile {
  /** As the loader names it, Latin-1. */
  readonly path: string;
  readonly elf: ElfFile;
}

/** The loaded files, and the libraries that were not found. */
export interface LoadedProgram {
  /** In the order in which they are opened. */
  readonly paths: readonly string[];
  /** Libraries that no directory has. */
  readonly missing: readonly string[];
}

const LIBRARY_CACHE = '/etc/ld.so.cache';
const LOADER_CONFIG = '/etc/ld.so.conf';
/** Directories that the loader searches by default; by `e_machine` those of Debian's ports. */
const DEFAULT_DIRECTORIES = ['/lib64', '/usr/lib64', '/lib', '/usr/lib', '/usr/local/lib'];
const TRIPLETS: Readonly<Record<number, string>> = {
  3: 'i386-linux-gnu',
  21: 'powerpc64le-linux-gnu',
  40: 'arm-linux-gnueabihf',
  62: 'x86_64-linux-gnu',
  183: 'aarch64-linux-gnu',
  243: 'riscv64-linux-gnu',
  258: 'loongarch64-linux-gnu',
};
/** Files of one program, depth of nested configuration: what is more is a loop. */
const MAX_FILES = 2000;
const MAX_INCLUDES = 200;
const MAX_TEXT_FILE = 4 << 20;

/** Finds libraries of programs of one image. */
export class LibraryFinder {
  readonly #files: ImageFiles;
  readonly #extra: readonly string[];
  #cache: Promise<ReadonlyMap<string, readonly string[]> | undefined> | undefined;
  #configured: Promise<readonly string[]> | undefined;

  /** `libraryPath`: `LD_LIBRARY_PATH` of the image, if it has one. */
  constructor(files: ImageFiles, libraryPath: string | undefined) {
    this.#files = files;
    this.#extra = directoriesOf(libraryPath);
  }

  /** Everything that starting the program at `path` opens before it runs; undefined when it is no ELF file. */
  async load(path: string): Promise<LoadedProgram | undefined> {
    // $ORIGIN of a program is where it really is.
    const program = await this.#open((await this.#files.find(path))?.path ?? path);
    if (program === undefined) return undefined;
    const paths: string[] = [program.path];
    const missing: string[] = [];
    const { interpreter } = program.elf;
    if (interpreter !== undefined) paths.push(interpreter);
    const isMusl = interpreter !== undefined && /\/ld-musl-/.test(interpreter);
    if (!isMusl && interpreter !== undefined && (await this.#files.find(LIBRARY_CACHE)) !== undefined)
      paths.push(LIBRARY_CACHE);
    const known = new Set<string>();
    const queue: { readonly file: LoadedFile; readonly chain: readonly LoadedFile[] }[] = [
      { file: program, chain: [] },
    ];
    for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
      const chain = [at.file, ...at.chain];
      for (const name of at.file.elf.needed) {
        // The loader knows a library by its name: a second one of that name is the first.
        if (known.has(name) || known.size > MAX_FILES) continue;
        known.add(name);
        // musl's libc is its interpreter.
        if (isMusl && /^libc\.(musl-|so$)/.test(name)) continue;
        const found = await this.#library(name, chain, program.elf, isMusl ? interpreter : undefined);
        if (found === undefined) missing.push(name);
        else {
          paths.push(found.path);
          queue.push({ file: found, chain });
        }
      }
    }
    return { paths, missing };
  }

  async #library(
    name: string,
    chain: readonly LoadedFile[],
    program: ElfFile,
    musl: string | undefined,
  ): Promise<LoadedFile | undefined> {
    if (name.includes('/')) return this.#open(name, program);
    const [requester] = chain;
    const runpath = originsOf(requester, requester?.elf.runpath);
    // The rpath of whoever loaded the requester counts too, unless the requester has a runpath.
    const rpaths = requester?.elf.runpath === undefined ? chain.flatMap((file) => originsOf(file, rpathOf(file))) : [];
    const own = musl === undefined ? [...rpaths, ...this.#extra, ...runpath] : [...this.#extra, ...runpath, ...rpaths];
    const candidates = own.map((directory) => `${directory}/${name}`);
    for (const path of candidates) {
      const found = await this.#open(path, program);
      if (found !== undefined) return found;
    }
    for (const path of await this.#standard(name, program, musl)) {
      const found = await this.#open(path, program);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #standard(name: string, program: ElfFile, musl: string | undefined): Promise<string[]> {
    const inAll = (directories: readonly string[]) => directories.map((directory) => `${directory}/${name}`);
    if (musl !== undefined) return inAll(await this.#muslDirectories(musl));
    this.#cache ??= this.#readCache();
    const cache = await this.#cache;
    // Without a cache its sources are read.
    this.#configured ??= cache === undefined ? this.#readConfig() : Promise.resolve([]);
    const triplet = TRIPLETS[program.machine];
    const own = triplet === undefined ? [] : [`/lib/${triplet}`, `/usr/lib/${triplet}`];
    return [...(cache?.get(name) ?? []), ...inAll([...(await this.#configured), ...own, ...DEFAULT_DIRECTORIES])];
  }

  async #muslDirectories(interpreter: string): Promise<readonly string[]> {
    const arch = /ld-musl-([^/.]+)/.exec(interpreter)?.[1] ?? '';
    const text = await this.#text(`/etc/ld-musl-${arch}.path`);
    return text === undefined ? ['/lib', '/usr/local/lib', '/usr/lib'] : directoriesOf(text.replaceAll('\n', ':'));
  }

  async #readCache(): Promise<ReadonlyMap<string, readonly string[]> | undefined> {
    const bytes = await this.#bytes(LIBRARY_CACHE);
    if (bytes === undefined) return undefined;
    const paths = new Map<string, string[]>();
    for (const { name, path } of readLibraryCache(bytes)) paths.set(name, [...(paths.get(name) ?? []), path]);
    return paths;
  }

  async #readConfig(): Promise<readonly string[]> {
    const directories: string[] = [];
    const pending = [LOADER_CONFIG];
    for (let read = 0; pending.length > 0 && read < MAX_INCLUDES; read++) {
      const text = (await this.#text(pending.shift()!)) ?? '';
      for (const raw of text.split('\n')) {
        const line = raw.replace(/#.*/, '').trim();
        const include = /^include\s+(\/\S+)$/.exec(line)?.[1];
        if (include === undefined) directories.push(...directoriesOf(line));
        else for await (const { path } of matchPaths(this.#files, include)) pending.push(path);
      }
    }
    return directories;
  }

  /** The ELF file at a path, if it exists and fits the program. */
  async #open(path: string, program?: ElfFile): Promise<LoadedFile | undefined> {
    const stat = await this.#files.find(path);
    if (stat?.type !== 'file') return undefined;
    const elf = await readElf((offset, length) => readPart(this.#files, stat, offset, length));
    if (elf === undefined) return undefined;
    const fits = program === undefined || (elf.bits === program.bits && elf.machine === program.machine);
    return fits ? { path, elf } : undefined;
  }

  async #text(path: string): Promise<string | undefined> {
    const bytes = await this.#bytes(path);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1');
  }

  async #bytes(path: string): Promise<Uint8Array | undefined> {
    const stat = await this.#files.find(path);
    return stat?.type === 'file' ? readPart(this.#files, stat, 0, MAX_TEXT_FILE) : undefined;
  }
}

/** At most `length` bytes of a file from `offset` on. */
export async function readPart(files: ImageFiles, stat: FileStat, offset: number, length: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of files.content(stat, offset, offset + length)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Colons and blanks divide; what is no absolute path depends on where the program is started. */
function directoriesOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(/[:\s]+/)
    .filter((part) => part.startsWith('/'))
    .map((part) => part.replace(/\/+$/, ''));
}

function rpathOf({ elf }: LoadedFile): string | undefined {
  return elf.runpath === undefined ? elf.rpath : undefined;
}

/** A path list of a file with `$ORIGIN` filled in; `$LIB` is `lib64` or `lib`, as glibc is built most often. */
function originsOf(file: LoadedFile | undefined, list: string | undefined): string[] {
  if (file === undefined || list === undefined) return [];
  const origin = file.path.slice(0, file.path.lastIndexOf('/')) || '/';
  const lib = file.elf.bits === 64 ? 'lib64' : 'lib';
  return list
    .split(':')
    .map((part) => part.replace(/\$(ORIGIN|\{ORIGIN\})/g, origin).replace(/\$(LIB|\{LIB\})/g, lib))
    .filter((part) => part.startsWith('/') && !part.includes('$'))
    .map((part) => part.replace(/\/+$/, ''));
}
