/**
 * Reads the files of an accelerated image. Paths are looked up as a container sees them and never lead outside the
 * image.
 */
import { setImmediate } from 'node:timers/promises';
import { AccelError } from '../base/error.ts';
import type { RawInode } from '../formats/ext4/inode.ts';
import { DIRENT_TYPE, type InodeType } from '../formats/ext4/layout.ts';
import { type BlockDevice, Ext4Reader } from '../formats/ext4/reader.ts';
import type { ByteExtent, FileStat, LookupOptions, NamedEntry } from './file-stat.ts';

export type { ByteExtent, FileStat, LookupOptions, NamedEntry } from './file-stat.ts';

/** Symlinks that one look-up follows, as in Linux. */
const MAX_LINKS = 40;
/** Longest path in bytes, as in Linux. */
const MAX_PATH = 4096;
/** Names of one directory: more than any image has, so that a hostile one cannot fill the memory. */
const MAX_NAMES = 4_000_000;
/** The directory that e2fsck wants in the root (docs/formats.md §6). */
const LOST_AND_FOUND = 'lost+found';
/** Pieces of content after which the event loop runs, because pieces of a hole need no I/O. */
const PIECES_A_TURN = 16;
/** Inodes that a listing asks for at a time; most of them share a few blocks. */
const STATS_AT_A_TIME = 64;

const TYPES = new Map<number, InodeType>(Object.entries(DIRENT_TYPE).map(([type, code]) => [code, type as InodeType]));

/** Opens the file system on an image's device. Throws `ext4-invalid` if the device has none. */
export async function openFiles(image: { readonly device: BlockDevice }): Promise<ImageFiles> {
  return new ImageFiles(await Ext4Reader.open(image.device));
}

/**
 * See the module's comment. Every method that takes a path throws `not-found` with that path if it does not exist, and
 * accepts a {@link FileStat} instead, which saves the look-up.
 */
export class ImageFiles {
  readonly #reader: Ext4Reader;

  /** Use {@link openFiles}. */
  constructor(reader: Ext4Reader) {
    this.#reader = reader;
  }

  /** Follows a path from the root; symlinks stay inside the image, as for a process whose root it is. */
  async lookup(path: string, options: LookupOptions = {}): Promise<FileStat> {
    if (path.length > MAX_PATH)
      throw new AccelError('usage', 'the path is too long', {
        expected: `at most ${MAX_PATH} bytes`,
        found: path.length,
      });
    const { followLast = true } = options;
    /** From the root down to where the walk is. */
    const trail: FileStat[] = [await this.#stat('', await this.#reader.root())];
    options.onStep?.(trail[0]!);
    const ahead = path.split('/').reverse();
    // "link/" means the target of the link, as in the kernel.
    const followEnd = followLast || path.endsWith('/');
    let links = 0;
    for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
      if (name === '' || name === '.') continue;
      const directory = trail.at(-1)!;
      if (directory.type !== 'directory')
        throw notFound(path, 'a directory', `${directory.path} is a ${directory.type}`);
      if (name === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const inode = await this.#reader.lookup(directory.raw, name);
      if (inode === undefined) throw notFound(path, 'a path of the image', `no ${name} in ${directory.path}`);
      const found = await this.#stat(directory.path === '/' ? `/${name}` : `${directory.path}/${name}`, inode);
      options.onStep?.(found);
      const isLast = ahead.every((rest) => rest === '');
      if (found.target === undefined || (isLast && !followEnd)) {
        trail.push(found);
        continue;
      }
      if (++links > MAX_LINKS) throw notFound(path, `at most ${MAX_LINKS} symlinks on the way`, 'more of them');
      if (found.target.startsWith('/')) trail.length = 1;
      ahead.push(...found.target.split('/').reverse());
    }
    const last = trail.at(-1)!;
    if (path.endsWith('/') && last.type !== 'directory') throw notFound(path, 'a directory', `a ${last.type}`);
    return last;
  }

  /** The file at a path, or undefined if it does not exist. */
  async find(path: string, options?: LookupOptions): Promise<FileStat | undefined> {
    try {
      return await this.lookup(path, options);
    } catch (error) {
      if (error instanceof AccelError && error.code === 'not-found') return undefined;
      throw error;
    }
  }

  /** The file at a path, as {@link ImageFiles.lookup} finds it. */
  async stat(path: string | FileStat, options?: LookupOptions): Promise<FileStat> {
    return typeof path === 'string' ? this.lookup(path, options) : path;
  }

  /** Names in a directory in byte order, without reading their inodes. Throws `not-found` if it is no directory. */
  async names(path: string | FileStat): Promise<NamedEntry[]> {
    const directory = await this.stat(path);
    if (directory.type !== 'directory') throw notFound(directory.path, 'a directory', `a ${directory.type}`);
    const names = new Map<string, NamedEntry>();
    for await (const { name, type, inode } of this.#reader.entries(directory.raw)) {
      if (/[/\0]/.test(name) || names.has(name))
        throw new AccelError('ext4-invalid', 'a directory holds a name that no file system gives', {
          where: { path: directory.path, name },
          expected: 'names without a slash, each once',
        });
      if (names.size >= MAX_NAMES)
        throw new AccelError('limit-exceeded', 'a directory has more names than accel reads', {
          where: { path: directory.path },
          expected: `at most ${MAX_NAMES}`,
        });
      if (name === LOST_AND_FOUND && directory.path === '/' && (await this.#isMadeUp(inode))) continue;
      names.set(name, { name, type: TYPES.get(type), inode });
    }
    return [...names.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The files in a directory, in byte order of their names. Throws `not-found` if it is not a directory. */
  async list(path: string | FileStat): Promise<FileStat[]> {
    const directory = await this.stat(path);
    const names = await this.names(directory);
    const out: FileStat[] = [];
    for (let from = 0; from < names.length; from += STATS_AT_A_TIME)
      out.push(...(await this.#statAll(directory, names.slice(from, from + STATS_AT_A_TIME))));
    return out;
  }

  /**
   * A path and everything below it, each directory before its content, names in byte order; symlinks are not followed
   * below the start. Throws `ext4-invalid` if a directory is in the tree twice. The depth is not limited by the stack.
   */
  async *walk(path: string | FileStat = '/'): AsyncGenerator<FileStat> {
    const pending: FileStat[] = [await this.stat(path)];
    const seen = new Set<number>();
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      yield at;
      if (at.type !== 'directory') continue;
      if (seen.has(at.inode))
        throw new AccelError('ext4-invalid', 'a directory is in the tree twice', { where: { path: at.path } });
      seen.add(at.inode);
      pending.push(...(await this.list(at)).reverse());
    }
  }

  /** Content of a file from byte `start` to `end` (exclusive, at most its size), read ahead by one piece. */
  async *content(path: string | FileStat, start = 0, end?: number): AsyncGenerator<Uint8Array> {
    const { raw } = await this.#file(path);
    yield* readAhead(this.#reader.content(raw, start, end));
  }

  /** Content of a file without its holes, read ahead by one piece: each with the byte of the file where it begins. */
  async *data(path: string | FileStat): AsyncGenerator<{ readonly start: number; readonly bytes: Uint8Array }> {
    const { raw } = await this.#file(path);
    yield* readAhead(this.#reader.data(raw));
  }

  async #file(path: string | FileStat): Promise<FileStat> {
    const file = await this.stat(path);
    if (file.type === 'file') return file;
    throw new AccelError('not-found', 'this is not a file', {
      where: { path: file.path },
      expected: 'a file',
      found: `a ${file.type}`,
    });
  }

  /** Extended attributes by full name; POSIX ACLs in the form that user space sees. */
  async xattrs(path: string | FileStat): Promise<Map<string, Uint8Array>> {
    return this.#reader.xattrs((await this.stat(path, { followLast: false })).raw);
  }

  /** Where the content of a file or directory lies on the device, in bytes, holes left out. */
  async extents(path: string | FileStat): Promise<ByteExtent[]> {
    const { raw } = await this.stat(path);
    const { blockSize } = this.#reader;
    const extents = await this.#reader.extents(raw);
    return extents
      .filter(({ unwritten }) => !unwritten)
      .map(({ logical, physical, count }) => ({
        start: logical * blockSize,
        offset: physical * blockSize,
        length: count * blockSize,
      }));
  }

  /** The parts that mounting the file system reads: the superblock and the group descriptors. */
  mountExtents(): readonly { readonly offset: number; readonly length: number }[] {
    return this.#reader.mountExtents();
  }

  /** Text of a symlink. Throws `not-found` if it is not a symlink. */
  async readlink(path: string | FileStat): Promise<string> {
    const link = await this.stat(path, { followLast: false });
    if (link.target === undefined) throw notFound(link.path, 'a symlink', `a ${link.type}`);
    return link.target;
  }

  #statAll(directory: FileStat, names: readonly NamedEntry[]): Promise<FileStat[]> {
    const prefix = directory.path === '/' ? '/' : `${directory.path}/`;
    return Promise.all(
      names.map(async ({ name, inode }) => this.#stat(`${prefix}${name}`, await this.#reader.inode(inode))),
    );
  }

  /** `path` is empty for the root. */
  async #stat(path: string, raw: RawInode): Promise<FileStat> {
    const { type, mode, uid, gid, size, mtime, links, deviceMajor, deviceMinor } = raw;
    return {
      path: path || '/',
      ...{ type, mode, uid, gid, size, mtime, links, deviceMajor, deviceMinor },
      inode: raw.number,
      ...(type === 'symlink' ? { target: await this.#reader.target(raw) } : {}),
      raw,
    };
  }

  /** Whether this is the `/lost+found` that mkfs and accel create for e2fsck, and not one of the image. */
  async #isMadeUp(number: number): Promise<boolean> {
    const inode = await this.#reader.inode(number);
    if (inode.type !== 'directory' || inode.mode !== 0o700 || inode.uid !== 0 || inode.gid !== 0) return false;
    if (inode.mtime.seconds !== 0 || inode.mtime.nanoseconds !== 0) return false;
    for await (const _ of this.#reader.entries(inode)) return false;
    return true;
  }
}

function notFound(path: string, expected: string, found: string): AccelError {
  return new AccelError('not-found', 'there is no such file in the image', { where: { path }, expected, found });
}

/**
 * Requests the next piece while the last one is processed. Lets signals be handled meanwhile, even through terabytes of
 * zeros.
 */
async function* readAhead<T>(pieces: AsyncGenerator<T>): AsyncGenerator<T> {
  let next = pieces.next();
  for (let count = 1; ; count++) {
    const piece = await next;
    if (piece.done) return;
    next = pieces.next();
    // If the reader stops here, a failure of the next piece is ignored.
    next.catch(() => undefined);
    yield piece.value;
    if (count % PIECES_A_TURN === 0) await setImmediate();
  }
}
