/** An archive on its way: a tar that is written member by member, and put in place when it is whole. */
import { rename, rm } from 'node:fs/promises';
import { bytesSource } from '../base/byte-source.ts';
import { forgetTemporary, noteTemporary } from '../base/temporaries.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { temporaryBeside } from '../disk/write-atomically.ts';
import { encodeJson } from './manifest.ts';
import { writeMember } from './tar-file.ts';

/** The archive that is being written: a temporary file beside the one that it becomes. */
export class ArchiveDraft {
  readonly #target: string;
  /** What was written so far. */
  readonly file: DiskFile;
  #end = 0;

  private constructor(target: string, file: DiskFile) {
    this.#target = target;
    this.file = file;
  }

  /** Begins an archive that is to become `target`. */
  static async create(target: string): Promise<ArchiveDraft> {
    const temporary = temporaryBeside(target);
    noteTemporary(temporary);
    const draft = new ArchiveDraft(target, await DiskFile.create(temporary, 0o666, { shown: target }));
    try {
      const marker = encodeJson({ imageLayoutVersion: '1.0.0' });
      await draft.write('oci-layout', marker.length, bytesSource(marker).open());
      return draft;
    } catch (error) {
      await draft.discard().catch(() => undefined);
      throw error;
    }
  }

  /** Appends a member and returns the offset of its content. After a failure the next one takes its place. */
  async write(name: string, size: number, stream: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<number> {
    this.#end = await writeMember(this.file, this.#end, { name, size }, stream, signal);
    // The content lies right before the padding that ends its last block.
    return this.#end - Math.ceil(size / 512) * 512;
  }

  /** Puts the draft in the place of the archive, which it returns, to be read. */
  async commit(): Promise<DiskFile> {
    // A member that failed may have left garbage behind the two blocks that end a tar.
    await this.file.truncate(this.#end + 1024);
    const archive = await DiskFile.open(this.file.path, { shown: this.#target });
    try {
      // Before it stands: some disks tell only then that they could not keep it.
      await this.file.close();
      await rename(this.file.path, this.#target);
      forgetTemporary(this.file.path);
      return archive;
    } catch (error) {
      await archive.close().catch(() => undefined);
      throw error;
    }
  }

  /** Closes the file, which was not committed, and removes it. */
  async discard(): Promise<void> {
    try {
      await this.file.close();
    } finally {
      await rm(this.file.path, { force: true });
      forgetTemporary(this.file.path);
    }
  }
}
