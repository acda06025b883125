/** An archive that is being written: a tar that grows member by member and is renamed into place when complete. */
import { rename, rm } from 'node:fs/promises';
import { bytesSource } from '../base/byte-source.ts';
import { forgetTemporary, noteTemporary } from '../base/temporaries.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { temporaryBeside } from '../disk/write-atomically.ts';
import { encodeJson } from './manifest.ts';
import { type NewMember, writeMember } from './tar-file.ts';

/** A temporary file beside the archive that it will replace. */
export class ArchiveDraft {
  readonly #target: string;
  /** The file with everything written so far. */
  readonly file: DiskFile;
  #end = 0;

  private constructor(target: string, file: DiskFile) {
    this.#target = target;
    this.file = file;
  }

  /** Creates the temporary file of an archive that will become `target`. */
  static async create(target: string): Promise<ArchiveDraft> {
    const temporary = temporaryBeside(target);
    noteTemporary(temporary);
    const draft = new ArchiveDraft(target, await DiskFile.create(temporary, 0o666, { shown: target }));
    try {
      const marker = encodeJson({ imageLayoutVersion: '1.0.0' });
      await draft.write({ name: 'oci-layout', size: marker.length, stream: bytesSource(marker).open() });
      return draft;
    } catch (error) {
      await draft.discard().catch(() => undefined);
      throw error;
    }
  }

  /** Appends a member and returns the offset of its content. After a failure the next member overwrites it. */
  async write(member: NewMember, signal?: AbortSignal): Promise<number> {
    this.#end = await writeMember(this.file, this.#end, member, signal);
    // The content ends at most one block of padding before the end.
    return this.#end - Math.ceil(member.size / 512) * 512;
  }

  /** Renames the draft into place and returns the archive, open for reading. */
  async commit(): Promise<DiskFile> {
    // A failed member may have left garbage after the two blocks that end a tar.
    await this.file.truncate(this.#end + 1024);
    const archive = await DiskFile.open(this.file.path, { shown: this.#target });
    try {
      // Before the rename: some file systems report only on close that they could not store the data.
      await this.file.close();
      await rename(this.file.path, this.#target);
      forgetTemporary(this.file.path);
      return archive;
    } catch (error) {
      await archive.close().catch(() => undefined);
      throw error;
    }
  }

  /** Closes and removes the file of a draft that was not committed. */
  async discard(): Promise<void> {
    try {
      await this.file.close();
    } finally {
      await rm(this.file.path, { force: true });
      forgetTemporary(this.file.path);
    }
  }
}
