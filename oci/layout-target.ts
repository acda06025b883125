/**
 * An OCI image layout on disk (image-spec, image-layout.md) as a target. Blobs are immutable files under their digest;
 * tags are the `org.opencontainers.image.ref.name` annotations of index.json. Every write goes to a temporary file of
 * the layout and is renamed, so a reader sees the old state or the new one.
 */
import { chmod, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import type { BlobSource } from '../base/byte-source.ts';
import { asAccelError, type ErrorPlace, withPlace } from '../base/error.ts';
import { DiskFile, readFile } from '../disk/disk-file.ts';
import { danglingLink, kindOf } from '../disk/file-kind.ts';
import { type HeldLock, withLock } from '../disk/lock.ts';
import { sweepLeftovers } from '../disk/sweep.ts';
import { inItsFolder, isAbsent, writeAtomically } from '../disk/write-atomically.ts';
import { assertRange } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { splitDigest, verified } from './digest.ts';
import { assertImageName, imageNames, refNameOf } from './image-names.ts';
import { assertLayout, createLayoutFiles, indexPath, readIndexFile, tagInIndexFile } from './layout-index.ts';
import { contentNotFound, type LayoutContent, resolveInLayout, wrongStoredSize } from './layout-resolve.ts';
import { pushReferrerByTag, type ReferrerPlace, referrersByTag } from './referrers.ts';
import type {
  BlobSizer,
  FetchOptions,
  FileTaker,
  ImageLister,
  ReadOptions,
  ReferrerLink,
  ReferrerStore,
  TagLister,
  TagMover,
  Target,
} from './storage.ts';

/** Options of {@link openLayout}. */
export interface LayoutOptions {
  /** Create an empty layout if the directory has none. */
  readonly create?: boolean;
}

/**
 * Opens the layout in `directory`. Throws `not-found` if it does not exist (unless `create`), `layout-invalid` if the
 * directory is not a layout.
 */
export async function openLayout(directory: string, options: LayoutOptions = {}): Promise<LayoutTarget> {
  if (options.create) await createLayoutFiles(directory);
  await assertLayout(directory);
  return new LayoutTarget(directory);
}

/** See {@link openLayout}. */
export class LayoutTarget
  implements Target, TagLister, ImageLister, BlobSizer, ReferrerStore, FileTaker, LayoutContent, TagMover
{
  readonly name: string;
  readonly directory: string;
  #swept: Promise<void> | undefined;

  constructor(directory: string) {
    this.directory = directory;
    this.name = `oci:${directory}`;
  }

  async exists(descriptor: Descriptor, options?: ReadOptions): Promise<boolean> {
    options?.signal?.throwIfAborted();
    return (await this.storedSize(descriptor.digest)) === descriptor.size;
  }

  async fetch(descriptor: Descriptor, options?: FetchOptions): Promise<AsyncIterable<Uint8Array>> {
    options?.signal?.throwIfAborted();
    await this.#assertStored(descriptor);
    const pieces = readFile(this.#blobPath(descriptor.digest), { ...options, offset: 0, size: descriptor.size });
    return verified(pieces, descriptor, this.#place(descriptor));
  }

  async fetchRange(descriptor: Descriptor, offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    options?.signal?.throwIfAborted();
    assertRange(descriptor, offset, length);
    await this.#assertStored(descriptor);
    const file = await DiskFile.open(this.#blobPath(descriptor.digest));
    try {
      return await file.read(offset, length);
    } catch (error) {
      throw withPlace(error, this.#place(descriptor));
    } finally {
      await file.close();
    }
  }

  async push(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<'pushed' | 'existed'> {
    if (await this.exists(descriptor, options)) return 'existed';
    await this.#sweep();
    const target = this.#blobPath(descriptor.digest);
    const stream = verified(content.open(), descriptor, this.#place(descriptor));
    await writeAtomically(target, stream, { signal: options?.signal });
    return 'pushed';
  }

  get scratch(): string {
    return this.directory;
  }

  async takeFile(descriptor: Descriptor, file: string): Promise<'pushed' | 'existed' | undefined> {
    if (await this.exists(descriptor)) return 'existed';
    await this.#sweep();
    const target = this.#blobPath(descriptor.digest);
    try {
      // The file was private to this process; a layout is readable by everyone who may read its folder.
      await chmod(file, 0o644);
      await inItsFolder(target, () => rename(file, target));
      return 'pushed';
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EXDEV') return undefined;
      throw asAccelError(error);
    }
  }

  async resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted();
    const index = await readIndexFile(this.directory);
    return resolveInLayout(this, index, tagOrDigest);
  }

  async tag(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<void> {
    options?.signal?.throwIfAborted();
    assertImageName(tag);
    await this.#assertStored(descriptor);
    await this.#sweep();
    await this.#locked((lock) => tagInIndexFile(this.directory, descriptor, tag, lock), options);
  }

  async moveTag(
    descriptor: Descriptor,
    { tag, previous }: Parameters<TagMover['moveTag']>[1],
    options?: ReadOptions,
  ): Promise<boolean> {
    assertImageName(tag);
    await this.#assertStored(descriptor);
    await this.#sweep();
    return this.#locked(async (lock) => {
      const { manifests } = await readIndexFile(this.directory);
      if (manifests.find((entry) => refNameOf(entry) === tag)?.digest !== previous) return false;
      await tagInIndexFile(this.directory, descriptor, tag, lock);
      return true;
    }, options);
  }

  async tags(options?: ReadOptions): Promise<readonly string[]> {
    options?.signal?.throwIfAborted();
    return imageNames((await readIndexFile(this.directory)).manifests);
  }

  async images(options?: ReadOptions): Promise<readonly Descriptor[]> {
    options?.signal?.throwIfAborted();
    return (await readIndexFile(this.directory)).manifests;
  }

  async pushReferrer(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<ReferrerLink> {
    await this.#sweep();
    // The list under the subject's tag is read, changed and written: as a whole under the lock.
    return this.#locked((lock) => {
      const place: ReferrerPlace = {
        name: this.name,
        fetch: (...args) => this.fetch(...args),
        push: (...args) => this.push(...args),
        resolve: (...args) => this.resolve(...args),
        tag: (named, tag) => tagInIndexFile(this.directory, named, tag, lock),
      };
      return pushReferrerByTag(place, descriptor, content, options);
    }, options);
  }

  async referrers(
    subject: Pick<Descriptor, 'digest'>,
    artifactType?: string,
    options?: ReadOptions,
  ): Promise<readonly Descriptor[]> {
    return referrersByTag(this, subject.digest, artifactType, options);
  }

  async blobSize(digest: string, options?: ReadOptions): Promise<number> {
    options?.signal?.throwIfAborted();
    const size = await this.storedSize(digest);
    if (size === undefined) throw contentNotFound(this.name, { digest });
    return size;
  }

  #locked<T>(body: (lock: HeldLock) => Promise<T>, options: ReadOptions | undefined): Promise<T> {
    return withLock(indexPath(this.directory), body, { signal: options?.signal });
  }

  /** Runs before the first write; a layout that is only read is not changed. */
  #sweep(): Promise<void> {
    this.#swept ??= (async () => {
      for (const folder of ['blobs/sha256', 'blobs/sha512', '.'])
        await sweepLeftovers(path.join(this.directory, folder));
    })();
    return this.#swept;
  }

  async #assertStored(descriptor: Descriptor): Promise<void> {
    const size = await this.storedSize(descriptor.digest);
    if (size === undefined) {
      const { digest, mediaType } = descriptor;
      throw contentNotFound(this.name, { digest, mediaType }, await this.#whatIsThere(digest));
    }
    if (size === descriptor.size) return;
    throw wrongStoredSize(this.name, descriptor, size);
  }

  /** Bytes of the file of a blob; undefined if it does not exist. */
  async storedSize(digest: string): Promise<number | undefined> {
    try {
      const info = await stat(this.#blobPath(digest));
      return info.isFile() ? info.size : undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw asAccelError(error);
    }
  }

  /** Describes whatever is in the place of a missing blob. */
  async #whatIsThere(digest: string): Promise<string | undefined> {
    const file = this.#blobPath(digest);
    const link = await danglingLink(file);
    if (link !== undefined) return `a link that leads nowhere: ${file} to ${link}`;
    const info = await stat(file).catch(() => undefined);
    return info === undefined ? undefined : `${kindOf(info)} in its place`;
  }

  #blobPath(digest: string): string {
    // splitDigest has checked the text: nothing of a hostile manifest gets into a path but hex digits.
    const { algorithm, hex } = splitDigest(digest);
    return path.join(this.directory, 'blobs', algorithm, hex);
  }

  #place(descriptor: Descriptor): ErrorPlace {
    return { target: this.name, digest: descriptor.digest };
  }
}
