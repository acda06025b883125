/**
 * The files of a node below a root folder. Symbolic links are followed inside the root, so that nothing outside of it is ever
 * reached. A file is replaced by a rename, and keeps its mode and owner.
 */
import { type FileHandle, lstat, mkdir, open, readdir, readlink, realpath, rename, rm, rmdir } from 'node:fs/promises';
import { posix } from 'node:path';
import { AccelError } from '../../../base/error.ts';

/** Links that one path may lead through, as Linux has it. */
const MOST_LINKS = 40;
/** Bytes of the largest configuration file that is edited. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Mode bits and owner of a file. */
export interface Ownership {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A regular file as it is now. */
export interface FileState extends Ownership {
  readonly bytes: Buffer;
  /** Time of the last change, in seconds. */
  readonly mtime: number;
}

/** Called before each change of the file system, with what is about to happen. */
export type BeforeChange = (change: string) => void;

/** See the head of the file. All paths are absolute and as the node sees them. */
export class RootedFiles {
  readonly root: string;
  readonly #before: BeforeChange;

  private constructor(root: string, before: BeforeChange) {
    this.root = root;
    this.#before = before;
  }

  /** Opens a root. Fails with `usage` where it is no folder. */
  static async open(root: string, before: BeforeChange = () => undefined): Promise<RootedFiles> {
    const real = await realpath(root).catch((cause: unknown) => {
      throw new AccelError('usage', 'the root folder cannot be opened', { where: { root }, cause });
    });
    if (!(await lstat(real)).isDirectory()) throw new AccelError('usage', 'the root is no folder', { where: { root } });
    return new RootedFiles(real, before);
  }

  /** The path on this machine of a path that {@link locate} returned. */
  host(located: string): string {
    return this.root === '/' ? located : this.root + (located === '/' ? '' : located);
  }

  /** Follows all links of a path inside the root; the last parts need not exist. */
  async locate(path: string): Promise<string> {
    let waiting = path.split('/');
    let current = '/';
    let links = 0;
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      const next = posix.join(current, part);
      const link = part === '' || part === '.' || part === '..' ? undefined : await linkAt(this.host(next));
      if (link === undefined) {
        current = next;
        continue;
      }
      if (++links > MOST_LINKS) throw new AccelError('io-error', 'too many symbolic links', { where: { path } });
      if (link.startsWith('/')) current = '/';
      waiting = [...link.split('/'), ...waiting];
    }
    return current;
  }

  /** Reads a file; undefined where it is missing. Fails with `io-error` for anything else than a regular file of reasonable size. */
  async read(path: string): Promise<FileState | undefined> {
    const located = await this.locate(path);
    const file = await unlessMissing(open(this.host(located), 'r'));
    if (file === undefined) return undefined;
    try {
      const stat = await file.stat();
      const { mode, uid, gid, size, mtimeMs } = stat;
      if (!stat.isFile()) throw new AccelError('io-error', 'is not a regular file', { where: { path } });
      if (size > MAX_BYTES) {
        throw new AccelError('io-error', 'the file is too large to be a configuration', {
          where: { path },
          expected: `at most ${MAX_BYTES} bytes`,
          found: size,
        });
      }
      return { bytes: await file.readFile(), mode: mode & 0o7777, uid, gid, mtime: mtimeMs / 1000 };
    } finally {
      await file.close();
    }
  }

  /** Names in a folder, sorted; empty where it is missing. */
  async list(path: string): Promise<readonly string[]> {
    const located = await this.locate(path);
    return ((await unlessMissing(readdir(this.host(located)))) ?? []).sort();
  }

  /** Whether something exists at a path. */
  async exists(path: string): Promise<boolean> {
    return (await unlessMissing(lstat(this.host(await this.locate(path))))) !== undefined;
  }

  /** Whether a folder is at a path, all links followed. */
  async isFolder(path: string): Promise<boolean> {
    return (await unlessMissing(lstat(this.host(await this.locate(path)))))?.isDirectory() === true;
  }

  /** Replaces a file whole, by a rename; its folder exists. `mtime` in seconds sets the time of its last change. */
  async write(located: string, bytes: Uint8Array, like: Ownership & { readonly mtime?: number }): Promise<void> {
    const temporary = this.host(temporaryOf(located));
    this.#before(`write ${temporary}`);
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.chown(like.uid, like.gid);
      await file.chmod(like.mode);
      if (like.mtime !== undefined) await file.utimes(like.mtime, like.mtime);
      await file.sync();
    } catch (error) {
      // On a full disk each byte counts.
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    } finally {
      await file.close();
    }
    this.#before(`rename ${temporary}`);
    await rename(temporary, this.host(located)).catch(async (error: unknown) => {
      await rm(temporary, { force: true });
      throw error;
    });
    await this.#syncFolder(located);
  }

  /** Removes a file, if there is one. */
  async remove(located: string): Promise<void> {
    this.#before(`remove ${located}`);
    await rm(this.host(located), { force: true });
    await this.#syncFolder(located);
  }

  /** Removes what an interrupted {@link write} of a file left. */
  async removeTemporary(located: string): Promise<void> {
    await rm(this.host(temporaryOf(located)), { force: true });
  }

  /** Makes a folder whose parent exists. */
  async makeFolder(located: string, mode = 0o755): Promise<void> {
    this.#before(`make ${located}`);
    await mkdir(this.host(located), { mode });
    await this.#syncFolder(located);
  }

  /** Removes a folder: `removed`, or why it stays. */
  async removeFolder(located: string): Promise<'removed' | 'missing' | 'not empty'> {
    this.#before(`remove ${located}`);
    try {
      await rmdir(this.host(located));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return 'missing';
      if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'EBUSY') return 'not empty';
      throw error;
    }
    await this.#syncFolder(located);
    return 'removed';
  }

  /** Removes a folder with all that is in it. */
  async removeTree(located: string): Promise<void> {
    this.#before(`remove ${located}`);
    await rm(this.host(located), { recursive: true, force: true });
  }

  /** Renames within one folder. */
  async move(from: string, to: string): Promise<void> {
    this.#before(`rename ${from}`);
    await rename(this.host(from), this.host(to));
    await this.#syncFolder(to);
  }

  async #syncFolder(located: string): Promise<void> {
    let folder: FileHandle | undefined;
    try {
      folder = await open(this.host(posix.dirname(located)), 'r');
      await folder.sync();
    } finally {
      await folder?.close();
    }
  }
}

/** No runtime reads files of this name: they start with a dot and end neither in .toml nor in .conf nor in .json. */
function temporaryOf(located: string): string {
  return posix.join(posix.dirname(located), `.${posix.basename(located)}.accel-setup`);
}

async function linkAt(path: string): Promise<string | undefined> {
  const found = await unlessMissing(lstat(path));
  return found?.isSymbolicLink() === true ? readlink(path) : undefined;
}

async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
