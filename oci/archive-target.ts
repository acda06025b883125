/**
 * Archives: images in one tar, read in place. `oci-archive` is an image layout in a tar and can be written;
 * `docker-archive`, the format of `docker save`, is read-only.
 *
 * Writing: new blobs go to a temporary file beside the archive. {@link ArchiveTarget.commit} adds what the archive held
 * before and an index.json with the new tags, and renames it into place under a lock: until then the old archive stays.
 * Without a new tag nothing is written, because nothing would name the blobs.
 */
import path from 'node:path';
import { type BlobSource, bytesSource } from '../base/byte-source.ts';
import { AccelError, asAccelError } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { type HeldLock, withLock } from '../disk/lock.ts';
import { sweepLeftovers } from '../disk/sweep.ts';
import { isAbsent } from '../disk/write-atomically.ts';
import { type ArchiveBlob, type ArchiveContent, readOciArchive } from './archive-content.ts';
import { ArchiveDraft } from './archive-draft.ts';
import { stampOf } from './archive-file.ts';
import { type GivenTag, mergeTags } from './archive-merge.ts';
import { assertRange } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { assertDigest, splitDigest, verified } from './digest.ts';
import { assertImageName, imageNames } from './image-names.ts';
import { type IndexFile, retagged } from './layout-index.ts';
import { contentNotFound, type LayoutContent, resolveInLayout, wrongStoredSize } from './layout-resolve.ts';
import { encodeJson } from './manifest.ts';
import { pushReferrerByTag, referrersByTag } from './referrers.ts';
import type {
  BlobSizer,
  FetchOptions,
  ImageLister,
  ReadOptions,
  ReferrerLink,
  ReferrerStore,
  TagLister,
  TagMerger,
  Target,
} from './storage.ts';

/** Milliseconds to wait for the lock without progress: its holder may be copying a whole archive. */
const PATIENCE = 10 * 60_000;

/** The format of an archive: an OCI image layout in a tar, or the format of `docker save`. */
export type ArchiveFormat = 'oci' | 'docker';

/** An archive that was opened (open-archive.ts). */
export interface OpenedArchive {
  readonly name: string;
  readonly file: string;
  readonly format: ArchiveFormat;
  readonly content: ArchiveContent;
  readonly before?: DiskFile;
  readonly stamp?: string;
}

/** An archive as a target; open-archive.ts opens it. */
export class ArchiveTarget
  implements Target, TagLister, TagMerger, ImageLister, BlobSizer, ReferrerStore, LayoutContent
{
  readonly name: string;
  readonly #file: string;
  readonly #format: ArchiveFormat;
  /**
   * Every version of the archive that was opened: blobs are read from the version in which they were found or written.
   */
  readonly #versions: DiskFile[];
  /** The stamp of the file when it was last opened or committed; undefined: there was no file. */
  #stamp: string | undefined;
  readonly #blobs: Map<string, ArchiveBlob>;
  #index: IndexFile;
  /** Tags that were set since the last commit. */
  readonly #given = new Map<string, GivenTag>();
  #failed = false;
  #closed = false;
  #draft: Promise<ArchiveDraft> | undefined;
  /** A tar grows only at its end: one blob at a time, and none during a commit. */
  readonly #appending = new Limiter(1);

  constructor({ name, file, format, content, before, stamp }: OpenedArchive) {
    this.name = name;
    this.#file = file;
    this.#format = format;
    this.#versions = before === undefined ? [] : [before];
    this.#stamp = stamp;
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
      await this.#append(draft, descriptor, stream, options?.signal);
      return 'pushed';
    });
  }

  async resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted();
    return resolveInLayout(this, this.#index, tagOrDigest);
  }

  async tag(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<void> {
    this.#give({ descriptor }, tag, options);
  }

  async tagMerged(
    descriptor: Descriptor,
    { tag, merge }: Parameters<TagMerger['tagMerged']>[1],
    options?: ReadOptions,
  ): Promise<void> {
    this.#give({ descriptor, merge }, tag, options);
  }

  #give(given: GivenTag, tag: string, options?: ReadOptions): void {
    options?.signal?.throwIfAborted();
    assertImageName(tag);
    this.#stored(given.descriptor);
    this.#assertWritable();
    const index = retagged(this.#index, given.descriptor, tag);
    if (index === undefined) return;
    this.#index = index;
    this.#given.set(tag, given);
  }

  async tags(options?: ReadOptions): Promise<readonly string[]> {
    options?.signal?.throwIfAborted();
    return imageNames(this.#index.manifests);
  }

  async images(options?: ReadOptions): Promise<readonly Descriptor[]> {
    options?.signal?.throwIfAborted();
    return this.#index.manifests;
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
   * Writes the archive with its new tags, if there are any. Content and tags that another process wrote since then are
   * kept. Throws `io-error` if the file cannot be written, or is gone.
   */
  async commit(options?: ReadOptions): Promise<void> {
    if (this.#given.size === 0) return;
    try {
      await this.#appending.run(async () => this.#fill(await this.#begin(), options?.signal));
    } catch (error) {
      this.#failed = true;
      throw options?.signal?.aborted ? error : asAccelError(error);
    }
  }

  /** Commits, unless a commit failed before, and closes the files in any case. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (!this.#failed) await this.commit();
    } finally {
      // A failure to create the draft was already reported by the push.
      await (await this.#draft?.catch(() => undefined))?.discard();
      // They were only read: an error on close loses nothing.
      await Promise.allSettled(this.#versions.map((file) => file.close()));
    }
  }

  /** Completes the draft and renames it into place; later blobs go to another draft. */
  async #fill(draft: ArchiveDraft, signal: AbortSignal | undefined): Promise<void> {
    // Copies most of it before taking the lock.
    await this.#copyInto(draft, signal);
    const place = async (lock: HeldLock): Promise<void> => {
      if ((await stampOf(this.#file)) !== this.#stamp) {
        await this.#adopt();
        await this.#copyInto(draft, signal);
      }
      const index = encodeJson(this.#index);
      await draft.write({ name: 'index.json', size: index.length, stream: bytesSource(index).open() }, signal);
      await lock.confirm();
      const archive = await draft.commit();
      this.#stamp = await stampOf(this.#file);
      this.#versions.push(archive);
      this.#move(draft.file, archive);
    };
    await withLock(this.#file, place, { signal, patience: PATIENCE });
    this.#draft = undefined;
    this.#given.clear();
  }

  /** Copies the blobs that the draft does not have yet. */
  async #copyInto(draft: ArchiveDraft, signal: AbortSignal | undefined): Promise<void> {
    for (const [digest, { size, place }] of this.#blobs) {
      if (!(place instanceof Uint8Array) && place.file === draft.file) continue;
      const stream =
        place instanceof Uint8Array ? bytesSource(place).open() : place.file.pieces({ offset: place.offset, size });
      await this.#append(draft, { digest, size }, stream, signal);
    }
  }

  /** Appends a blob, which is read from the draft from now on. */
  async #append(
    draft: ArchiveDraft,
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    stream: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const offset = await draft.write({ name: blobName(digest), size, stream }, signal);
    this.#blobs.set(digest, { size, place: { file: draft.file, offset } });
  }

  /** Merges the archive that another process has written since this one was read. */
  async #adopt(): Promise<void> {
    const file = await DiskFile.open(this.#file).catch((error: unknown) => {
      if (!isAbsent(error)) throw error;
      throw new AccelError('io-error', 'another process removed the archive in the meantime', {
        where: { path: this.#file },
        hint: 'Run it again to make a new one.',
        cause: error,
      });
    });
    this.#versions.push(file);
    const { index, blobs } = await readOciArchive(file, await file.size(), { path: this.#file });
    for (const [digest, blob] of blobs) if (!this.#blobs.has(digest)) this.#blobs.set(digest, blob);
    const merged = await mergeTags(this, index, this.#given);
    for (const [digest, place] of merged.composed) this.#blobs.set(digest, { size: place.length, place });
    this.#index = merged.index;
  }

  /** Lets blobs of one file be read from another. */
  #move(from: DiskFile, to: DiskFile): void {
    for (const [digest, { size, place }] of this.#blobs) {
      if (place instanceof Uint8Array || place.file !== from) continue;
      this.#blobs.set(digest, { size, place: { file: to, offset: place.offset } });
    }
  }

  #begin(): Promise<ArchiveDraft> {
    this.#draft ??= sweepLeftovers(path.dirname(this.#file)).then(() => ArchiveDraft.create(this.#file));
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
    throw new AccelError('usage', 'an archive of docker save is read-only', {
      where: { target: this.name },
      expected: 'a registry, oci:DIR or oci-archive:FILE as target',
    });
  }
}

function blobName(digest: string): string {
  const { algorithm, hex } = splitDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}
