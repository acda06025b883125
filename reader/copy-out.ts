/**
 * Copies files of an image onto this machine. The image is hostile: nothing is written outside of the destination, no
 * symlink is followed on the way, and neither devices nor set-user-ID programs are copied unless requested.
 */

import { constants } from 'node:fs';
import { chmod, lchown, link, lstat, lutimes, mkdir, open, rename, rm, symlink } from 'node:fs/promises';
import { advise, option } from '../base/advice.ts';
import { AccelError, asAccelError } from '../base/error.ts';
import { DiskFile } from '../disk/disk-file.ts';
import type { FileStat, ImageFiles } from './files.ts';
import { makeNode } from './make-node.ts';

/** Options for files that are otherwise left out or changed. */
export interface CopyOptions {
  /** Make device nodes and named pipes (needs root and `mknod`). */
  readonly devices?: boolean;
  /** Keep set-user-ID and set-group-ID bits, and the owners that they apply to (needs root). */
  readonly keepSetuid?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The result of a copy. */
export interface CopyReport {
  /** Number of files, directories, symlinks, further names of files, and nodes. */
  readonly files: number;
  readonly directories: number;
  readonly symlinks: number;
  readonly links: number;
  readonly nodes: number;
  /** Bytes of content. */
  readonly bytes: number;
  /** Paths of devices, pipes and sockets that were left out. */
  readonly skipped: readonly string[];
  /** Paths that lost a set-user-ID or set-group-ID bit. */
  readonly stripped: readonly string[];
}

const SETUID_BITS = 0o6000;
/** Private until the content is complete. */
const PRIVATE_FILE = 0o600;
const PRIVATE_DIRECTORY = 0o700;
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Copies `from` of the image, and everything below it, to `destination` on this machine: the path of the copy itself,
 * whose parent must exist. Existing files are replaced, never written through; existing directories are added to. Times
 * and permissions are the image's, owners are the caller's. Throws `io-error` with the path, and `usage` for a device
 * without {@link CopyOptions.devices}.
 */
export async function copyOut(
  files: ImageFiles,
  from: string | FileStat,
  destination: string,
  options: CopyOptions = {},
): Promise<CopyReport> {
  return new Copy(files, await files.stat(from), destination, options).run();
}

class Copy {
  readonly #files: ImageFiles;
  readonly #start: FileStat;
  readonly #destination: string;
  readonly #options: CopyOptions;
  /** First copy of each inode that has several names. */
  readonly #copies = new Map<number, Buffer>();
  readonly #counts = { files: 0, directories: 0, symlinks: 0, links: 0, nodes: 0, bytes: 0 };
  readonly #skipped: string[] = [];
  readonly #stripped: string[] = [];
  #temporaries = 0;

  constructor(files: ImageFiles, start: FileStat, destination: string, options: CopyOptions) {
    this.#files = files;
    this.#start = start;
    this.#destination = destination;
    this.#options = options;
  }

  async run(): Promise<CopyReport> {
    const directories: { readonly stat: FileStat; readonly path: Buffer }[] = [];
    for await (const stat of this.#files.walk(this.#start)) {
      this.#options.signal?.throwIfAborted();
      const path = this.#pathOf(stat);
      await this.#copy(stat, path);
      if (stat.type === 'directory') directories.push({ stat, path });
    }
    // Innermost first, when nothing more is put into them: a read-only directory could not be filled.
    for (const { stat, path } of directories.reverse()) await this.#finish(stat, path);
    return { ...this.#counts, skipped: this.#skipped, stripped: this.#stripped };
  }

  /** The walk's paths begin with the start's; what follows is names without a slash, which ImageFiles made sure of. */
  #pathOf({ path }: FileStat): Buffer {
    const start = this.#start.path === '/' ? '' : this.#start.path;
    const below = path === this.#start.path ? '' : path.slice(start.length);
    return Buffer.concat([Buffer.from(this.#destination), Buffer.from(below, 'latin1')]);
  }

  async #copy(stat: FileStat, path: Buffer): Promise<void> {
    const first = this.#copies.get(stat.inode);
    if (first !== undefined) {
      await this.#replace(path, (temporary) => link(first, temporary));
      this.#counts.links++;
      return;
    }
    switch (stat.type) {
      case 'directory':
        await makeDirectory(path);
        this.#counts.directories++;
        return;
      case 'file':
        await this.#replace(path, (temporary) => this.#writeFile(stat, temporary));
        this.#counts.files++;
        break;
      case 'symlink':
        await this.#replace(path, (temporary) => symlink(Buffer.from(stat.target ?? '', 'latin1'), temporary));
        await lutimes(path, secondsOf(stat), secondsOf(stat));
        this.#counts.symlinks++;
        break;
      default:
        if (!(await this.#copyNode(stat, path))) return;
    }
    if (stat.links > 1) this.#copies.set(stat.inode, path);
  }

  async #copyNode(stat: FileStat, path: Buffer): Promise<boolean> {
    if (this.#options.devices === true && stat.type !== 'socket') {
      await this.#replace(path, (temporary) => makeNode(temporary, stat));
      await this.#finish(stat, path);
      this.#counts.nodes++;
      return true;
    }
    if (stat === this.#start)
      throw new AccelError('usage', `this is a ${stat.type === 'fifo' ? 'named pipe' : `${stat.type} device`}`, {
        where: { path: stat.path },
        expected: 'a file, directory or symlink',
        found: stat.type,
        hint: advise`Copy it with ${option('devices')}.`,
      });
    this.#skipped.push(stat.path);
    return false;
  }

  /** Creates a file under a temporary name beside `path` and renames it: an existing file is never opened. */
  async #replace(path: Buffer, make: (temporary: Buffer) => Promise<void>): Promise<void> {
    const directory = path.subarray(0, path.lastIndexOf('/') + 1);
    const temporary = Buffer.concat([directory, Buffer.from(`.accel-cp-${process.pid}-${this.#temporaries++}`)]);
    try {
      await make(temporary);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw asAccelError(error);
    }
  }

  async #writeFile(stat: FileStat, path: Buffer): Promise<void> {
    const file = await open(path, CREATE, PRIVATE_FILE);
    const output = new DiskFile(path.toString(), file);
    try {
      for await (const { start, bytes } of this.#files.data(stat)) {
        this.#options.signal?.throwIfAborted();
        // Holes stay holes, and blocks of zeros become holes.
        for (let at = 0; at < bytes.length; at += ZEROS.length) {
          const part = bytes.subarray(at, at + ZEROS.length);
          if (!isZero(part)) await output.write(part, start + at);
        }
      }
      await output.truncate(stat.size);
      this.#counts.bytes += stat.size;
      await this.#attributes(stat, {
        chown: (uid, gid) => file.chown(uid, gid),
        chmod: (mode) => file.chmod(mode),
      });
      await file.utimes(secondsOf(stat), secondsOf(stat));
    } finally {
      await output.close();
    }
  }

  /** Attributes of a directory or node that this copy made, or found to be no symlink. */
  async #finish(stat: FileStat, path: Buffer): Promise<void> {
    await this.#attributes(stat, {
      chown: (uid, gid) => lchown(path, uid, gid),
      chmod: (mode) => chmod(path, mode),
    });
    await lutimes(path, secondsOf(stat), secondsOf(stat));
  }

  async #attributes(
    stat: FileStat,
    set: { chown(uid: number, gid: number): Promise<void>; chmod(mode: number): Promise<void> },
  ): Promise<void> {
    const special = stat.mode & SETUID_BITS;
    // The set-group-ID bit of a directory grants no rights: it is kept.
    const isProgram = special !== 0 && stat.type === 'file';
    const keep = !isProgram || this.#options.keepSetuid === true;
    // The bits apply to the owner: without the owner they would grant the rights of the user who copies.
    if (isProgram && keep) await set.chown(stat.uid, stat.gid);
    if (!keep) this.#stripped.push(stat.path);
    await set.chmod(keep ? stat.mode : stat.mode & ~SETUID_BITS);
  }
}

/** Creates a directory unless it exists; a symlink is refused, because it may lead anywhere. */
async function makeDirectory(path: Buffer): Promise<void> {
  try {
    await mkdir(path, PRIVATE_DIRECTORY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw asAccelError(error);
    const existing = await lstat(path);
    if (existing.isDirectory()) return;
    throw new AccelError('io-error', 'another file is in the place of a directory', {
      where: { path: path.toString() },
      expected: 'a directory, or nothing',
      found: existing.isSymbolicLink() ? 'a symlink' : 'a file',
      hint: 'Copy to another place, or remove what is in the way.',
    });
  }
}

const ZEROS = new Uint8Array(1 << 20);

function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0;
}

/** Seconds with a fraction, as Node takes times; it keeps microseconds. */
function secondsOf({ mtime }: FileStat): number {
  return mtime.seconds + mtime.nanoseconds / 1e9;
}
