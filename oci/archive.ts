/**
 * Archives: images in one tar, read in place. `oci-archive` is an image layout in a tar and can be written; what
 * `docker save` makes (`docker-archive`) is read only.
 *
 * Writing: new blobs go to a temporary file beside the archive. {@link ArchiveTarget.commit} adds what the archive held
 * before and an index.json with the new tags, and renames it into place: until then the old archive stands. Without a
 * new tag nothing is kept, since nothing would name it.
 */
import { rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { type BlobSource, bytesSource } from '../base/byte-source.ts';
import { AccelError, asAccelError } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { sweepLeftovers } from '../disk/sweep.ts';
import { isAbsent, temporaryBeside } from '../disk/write-atomically.ts';
import { type ArchiveBlob, type ArchiveContent, readOciArchive } from './archive-content.ts';
import { assertRange } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { assertDigest, splitDigest, verified } from './digest.ts';
import { readDockerArchive } from './docker-archive.ts';
import { type IndexFile, retagged, tagsOf } from './layout-index.ts';
import { contentNotFound, type LayoutContent, resolveInLayout, wrongStoredSize } from './layout-resolve.ts';
import { encodeJson } from './manifest.ts';
import { OCI } from './media-types.ts';
import { assertTag } from './reference.ts';
import { pushReferrerByTag, referrersByTag } from './referrers.ts';
import type {
  BlobSizer,
  FetchOptions,
  ReadOptions,
  ReferrerLink,
  ReferrerStore,
  TagLister,
  Target,
} from './storage.ts';
import { writeMember } from './tar-file.ts';

/** What is in a tar: an OCI image layout, or what `docker save` writes. */
export type ArchiveFormat = 'oci' | 'docker';

/**
 * Opens an archive. Throws `not-found` if there is no such file (unless `create`, for `oci` alone), `layout-invalid` if
 * it is not an archive of images.
 */
export async function openArchive(
  file: string,
  format: ArchiveFormat,
  options: { readonly create?: boolean } = {},
): Promise<ArchiveTarget> {
  const name = `${format}-archive:${file}`;
  const create = options.create === true && format === 'oci';
  const before = await DiskFile.open(file).catch((error: unknown) => {
    if (!isAbsent(error)) throw error;
    if (create) return undefined;
    throw new AccelError('not-found', 'there is no such archive', { where: { path: file }, cause: error });
  });
  if (before === undefined) return new ArchiveTarget(name, file, format, EMPTY, undefined, undefined);
  try {
    const info = await before.handle.stat();
    if (!info.isFile()) {
      throw new AccelError('layout-invalid', 'an archive is read in place, which takes a regular file', {
        where: { path: file },
        hint: 'Write a pipe or device to a file first; a directory is opened as oci:DIR.',
      });
    }
    const read = format === 'oci' ? readOciArchive : readDockerArchive;
    const content = await read(before, info.size, { path: file });
    return new ArchiveTarget(name, file, format, content, before, stamp(info));
  } catch (error) {
    await before.close().catch(() => undefined);
    throw asAccelError(error);
  }
}

const EMPTY: ArchiveContent = {
  index: { schemaVersion: 2, mediaType: OCI.index, manifests: [] } as IndexFile,
  blobs: new Map(),
};

/** See {@link openArchive}. */
export class ArchiveTarget implements Target, TagLister, BlobSizer, ReferrerStore, LayoutContent {
  readonly name: string;
  readonly #file: string;
  readonly #format: ArchiveFormat;
  /** The archive as it stood from time to time: blobs are read where they were found or put. */
  readonly #standing: DiskFile[];
  /** What the file looked like when it was opened or committed last; undefined: there was none. */
  #stamp: string | undefined;
  readonly #blobs: Map<string, ArchiveBlob>;
  #index: IndexFile;
  #retagged = false;
  #failed = false;
  #closed = false;
  #draft: Promise<Draft> | undefined;
  /** A tar grows at its end alone: one blob at a time, and none while it is put in place. */
  readonly #appending = new Limiter(1);

  constructor(
    name: string,
    file: string,
    format: ArchiveFormat,
    content: ArchiveContent,
    before: DiskFile | undefined,
    stamped: string | undefined,
  ) {
    this.name = name;
    this.#file = file;
    this.#format = format;
    this.#standing = before === undefined ? [] : [before];
    this.#stamp = stamped;
    this.#index = content.index;
    this.#blobs = new Map(content.blobs);
  }

  async exists(descriptor: Descriptor, options?: ReadOptions): Promise<boolean> {
    options?.signal?.throwIfAborted();
    return this.#blobs.get(assertDigest(descriptor.digest))?.size === descriptor.size;
  }

  async fetch(descriptor: Descriptor, options?: FetchOptions): Promise<AsyncIterable<Uint8Array>> {
    options?.signal?.throwIfAborted();
    const { size, place } = this.#stored(descriptor);
    const where = { target: this.name };
    if (place instanceof Uint8Array) return verified(bytesSource(place.slice()).open(), descriptor, where);
    return verified(place.file.pieces({ ...options, offset: place.offset, size }), descriptor, where);
  }

  async fetchRange(descriptor: Descriptor, offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    options?.signal?.throwIfAborted();
    assertRange(descriptor, offset, length);
    const { place } = this.#stored(descriptor);
    if (place instanceof Uint8Array) return place.slice(offset, offset + length);
    return place.file.read(place.offset + offset, length);
  }

  async push(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<'pushed' | 'existed'> {
    if (await this.exists(descriptor, options)) return 'existed';
    this.#assertWritable();
    return this.#appending.run(async () => {
      // Another push of the same blob may have been waiting before this one.
      if (await this.exists(descriptor, options)) return 'existed';
      const draft = await this.#begin();
      const stream = verified(content.open(), descriptor, { target: this.name });
      await draft.add(blobName(descriptor.digest), descriptor, this.#blobs, stream, options?.signal);
      return 'pushed';
    });
  }

  async resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted();
    return resolveInLayout(this, this.#index, tagOrDigest);
  }

  async tag(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<void> {
    options?.signal?.throwIfAborted();
    assertTag(tag);
    this.#stored(descriptor);
    this.#assertWritable();
    const index = retagged(this.#index, descriptor, tag);
    if (index === undefined) return;
    this.#index = index;
    this.#retagged = true;
  }

  async tags(options?: ReadOptions): Promise<readonly string[]> {
    options?.signal?.throwIfAborted();
    return tagsOf(this.#index);
  }

  async blobSize(digest: string, options?: ReadOptions): Promise<number> {
    options?.signal?.throwIfAborted();
    const size = await this.storedSize(digest);
    if (size === undefined) throw contentNotFound(this.name, { digest });
    return size;
  }

  async storedSize(digest: string): Promise<number | undefined> {
    return this.#blobs.get(assertDigest(digest))?.size;
  }

  async pushReferrer(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<ReferrerLink> {
    return pushReferrerByTag(this, descriptor, content, options);
  }

  async referrers(
    subject: Pick<Descriptor, 'digest'>,
    artifactType?: string,
    options?: ReadOptions,
  ): Promise<readonly Descriptor[]> {
    return referrersByTag(this, subject.digest, artifactType, options);
  }

  /**
   * Puts the archive with its new tags in place, if there are any. Throws `io-error` if the file cannot be written, or was
   * changed by someone else since it was opened; the file is then as they left it.
   */
  async commit(options?: ReadOptions): Promise<void> {
    if (!this.#retagged) return;
    try {
      await this.#appending.run(async () => this.#fill(await this.#begin(), options?.signal));
    } catch (error) {
      this.#failed = true;
      throw options?.signal?.aborted ? error : asAccelError(error);
    }
  }

  /** Commits, unless that failed before, and lets go of the files whatever comes of it. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (!this.#failed) await this.commit();
    } finally {
      // A draft that could not even be made has told so to whoever pushed.
      await (await this.#draft?.catch(() => undefined))?.discard();
      // They were only read: whatever closing them says, nothing is lost.
      await Promise.allSettled(this.#standing.map((file) => file.close()));
    }
  }

  /** Makes the draft a whole archive and the archive that stands; what comes next goes to another draft. */
  async #fill(draft: Draft, signal: AbortSignal | undefined): Promise<void> {
    for (const [digest, blob] of this.#blobs) {
      if (blob.place instanceof Uint8Array || blob.place.file === draft.file) continue;
      const stream = blob.place.file.pieces({ offset: blob.place.offset, size: blob.size });
      await draft.write(blobName(digest), blob.size, stream, signal);
    }
    const index = encodeJson(this.#index);
    await draft.write('index.json', index.length, bytesSource(index).open(), signal);
    if ((await stampOf(this.#file)) !== this.#stamp) {
      throw new AccelError('io-error', 'the archive was changed by someone else in the meantime', {
        where: { path: this.#file },
        hint: 'Run it again; only one process at a time may write to an archive.',
      });
    }
    const archive = await draft.commit();
    this.#standing.push(archive);
    for (const [digest, { size, place }] of this.#blobs) {
      if (place instanceof Uint8Array || place.file !== draft.file) continue;
      this.#blobs.set(digest, { size, place: { file: archive, offset: place.offset } });
    }
    this.#draft = undefined;
    this.#retagged = false;
    this.#stamp = await stampOf(this.#file);
  }

  #begin(): Promise<Draft> {
    this.#draft ??= sweepLeftovers(path.dirname(this.#file)).then(() => Draft.create(this.#file));
    return this.#draft;
  }

  #stored(descriptor: Descriptor): ArchiveBlob {
    const blob = this.#blobs.get(assertDigest(descriptor.digest));
    if (blob === undefined) {
      throw contentNotFound(this.name, { digest: descriptor.digest, mediaType: descriptor.mediaType });
    }
    if (blob.size !== descriptor.size) throw wrongStoredSize(this.name, descriptor, blob.size);
    return blob;
  }

  #assertWritable(): void {
    if (this.#format === 'oci' && !this.#closed) return;
    throw new AccelError('usage', 'an archive in the form of docker save is only read', {
      where: { target: this.name },
      expected: 'a registry, oci:DIR or oci-archive:FILE as target',
    });
  }
}

/** The archive that is being written. */
class Draft {
  readonly #target: string;
  readonly file: DiskFile;
  #end = 0;

  private constructor(target: string, file: DiskFile) {
    this.#target = target;
    this.file = file;
  }

  static async create(target: string): Promise<Draft> {
    const draft = new Draft(target, await DiskFile.create(temporaryBeside(target), 0o666, { shown: target }));
    try {
      const marker = encodeJson({ imageLayoutVersion: '1.0.0' });
      await draft.write('oci-layout', marker.length, bytesSource(marker).open());
      return draft;
    } catch (error) {
      await draft.discard().catch(() => undefined);
      throw error;
    }
  }

  /** Appends a member. After a failure the next one takes its place. */
  async write(name: string, size: number, stream: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<number> {
    this.#end = await writeMember(this.file, this.#end, { name, size }, stream, signal);
    // The content lies right before the padding that ends its last block.
    return this.#end - Math.ceil(size / 512) * 512;
  }

  /** Appends a blob and lists it in `blobs`. */
  async add(
    name: string,
    { digest, size }: Descriptor,
    blobs: Map<string, ArchiveBlob>,
    stream: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const offset = await this.write(name, size, stream, signal);
    blobs.set(digest, { size, place: { file: this.file, offset } });
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
    }
  }
}

function blobName(digest: string): string {
  const { algorithm, hex } = splitDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}

function stamp(info: { ino: number; size: number; mtimeMs: number }): string {
  return `${info.ino} ${info.size} ${info.mtimeMs}`;
}

async function stampOf(file: string): Promise<string | undefined> {
  try {
    return stamp(await stat(file));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw asAccelError(error);
  }
}
