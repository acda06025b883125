/** Temporary files for converted layers until they are pushed: one private folder a run, gone at its end. */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BlobSource, fileSource } from '../oci/storage.ts';

const READ_SIZE = 1 << 20;

/** A folder of spooled blobs, readable by this user alone. */
export class Spool {
  readonly #directory: string;
  #files = 0;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Makes a fresh folder in `parent`, by default the system's temporary one. */
  static async create(parent: string = tmpdir()): Promise<Spool> {
    return new Spool(await mkdtemp(join(parent, 'accel-')));
  }

  /** A new empty file. */
  async file(): Promise<SpoolFile> {
    const path = join(this.#directory, `${this.#files++}`);
    return new SpoolFile(path, await open(path, 'wx+', 0o600));
  }

  /** Removes the folder with everything in it. */
  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A file that is written in order, patched at its start, hashed and read. */
export class SpoolFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  #size = 0;

  constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /** Bytes written. */
  get size(): number {
    return this.#size;
  }

  /** Appends bytes. */
  async append(bytes: Uint8Array): Promise<void> {
    await this.#writeAt(bytes, this.#size);
    this.#size += bytes.length;
  }

  /** Overwrites bytes that were written before. */
  async patch(bytes: Uint8Array, offset: number): Promise<void> {
    await this.#writeAt(bytes, offset);
  }

  /**
   * SHA-256 of the content, as a digest. A blob starts with sizes that are known at its end only, and a hash starts at
   * the start: so the finished file is read once more, from the page cache.
   */
  async digest(): Promise<string> {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(READ_SIZE);
    for (let at = 0; at < this.#size; ) {
      const { bytesRead } = await this.#handle.read(buffer, 0, READ_SIZE, at);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    return `sha256:${hash.digest('hex')}`;
  }

  /** The content, to be opened as often as needed while the spool exists. */
  get source(): BlobSource {
    return fileSource(this.#path);
  }

  /** Closes the file; its content stays until the spool goes or {@link remove} is called. */
  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** Removes the file, closed before. */
  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }

  async #writeAt(bytes: Uint8Array, offset: number): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, from, bytes.length - from, offset + from);
      from += bytesWritten;
    }
  }
}
