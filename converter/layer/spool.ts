/**
 * Temporary files of converted layers until they are pushed: one private folder per run, removed at its end. The folder of a
 * killed run is removed by the next run that creates one in the same place.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { advise, option } from '../../base/advice.ts';
import type { BlobSource } from '../../base/byte-source.ts';
import { forgetTemporary, noteTemporary } from '../../base/temporaries.ts';
import { DiskFile, fileSource } from '../../disk/disk-file.ts';
import { processMark } from '../../disk/process-mark.ts';
import { removeFile } from '../../disk/remove-file.ts';
import { sweepLeftovers } from '../../disk/sweep.ts';

/** A folder of spooled blobs, readable by this user alone. */
export class Spool {
  /** Path of the folder. */
  readonly directory: string;
  #files = 0;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Creates a folder in `parent`, by default the system's temporary directory, and removes those of dead runs first. */
  static async create(parent: string = tmpdir()): Promise<Spool> {
    await sweepLeftovers(parent);
    const directory = await mkdtemp(join(parent, `.accel-spool-${processMark()}-`));
    noteTemporary(directory);
    return new Spool(directory);
  }

  /** A new empty file. */
  async file(): Promise<SpoolFile> {
    const path = join(this.directory, `${this.#files++}`);
    const roomHint = advise`Make room there, or name a folder with more of it by ${option('workDirectory', 'DIR')}.`;
    return new SpoolFile(await DiskFile.create(path, 0o600, { roomHint }));
  }

  /** Removes the folder with everything in it. */
  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
    forgetTemporary(this.directory);
  }
}

/** A file that is written in order, patched at its start, and read. */
export class SpoolFile {
  readonly #file: DiskFile;
  #size = 0;
  #closed = false;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  /** Bytes written. */
  get size(): number {
    return this.#size;
  }

  /** Appends bytes. */
  async append(bytes: Uint8Array): Promise<void> {
    await this.#file.write(bytes, this.#size);
    this.#size += bytes.length;
  }

  /** Overwrites bytes that were written before. */
  async patch(bytes: Uint8Array, offset: number): Promise<void> {
    await this.#file.write(bytes, offset);
  }

  /** Its path. */
  get path(): string {
    return this.#file.path;
  }

  /** The content; it can be opened any number of times while the spool exists. */
  get source(): BlobSource {
    return fileSource(this.path);
  }

  /** Closes the file and removes it. May be called again. */
  async remove(): Promise<void> {
    await this.close();
    await removeFile(this.path);
  }

  /** Closes the file; its content remains until the spool is removed. May be called again. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close();
  }
}
