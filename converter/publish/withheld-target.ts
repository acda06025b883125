/**
 * The target of a run without upload: a layer over the real target that keeps what would be pushed and reads everything
 * else from the real one. The conversion itself does not know the difference.
 */
import { rename } from 'node:fs/promises';
import { type BlobSource, collect } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { DiskFile, fileSource } from '../../disk/disk-file.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { verified } from '../../oci/digest.ts';
import { canConfirm, canRefer, canSizeBlobs } from '../../oci/powers.ts';
import type {
  BlobSizer,
  Confirmer,
  FetchOptions,
  FileTaker,
  Mounter,
  ReadOptions,
  ReferrerLink,
  ReferrerStore,
  Target,
} from '../../oci/storage.ts';
import type { Endpoints } from '../endpoints.ts';

/** Options of {@link withhold}. */
export interface WithholdOptions {
  /** Directory of the files that are handed over; they stay in it. */
  readonly scratch: string;
  /** Whether full layers are read again in this run; otherwise they are dropped to save disk space. */
  readonly keepsFiles: () => boolean;
}

/** Endpoints with the target replaced by one that withholds. */
export function withhold(endpoints: Endpoints, options: WithholdOptions): Endpoints {
  const { source } = endpoints;
  // Source layers are not copied: the target mounts them from the source, wherever that is.
  return { source, target: new WithheldTarget(endpoints, options), mountFrom: source.name };
}

/** Content that was pushed and can be read back. */
interface Kept {
  readonly descriptor: Descriptor;
  readonly content: BlobSource;
  /** The file that holds the content, if one does. */
  readonly path?: string;
}

/** See the module's comment. */
class WithheldTarget implements Target, BlobSizer, Confirmer, FileTaker, Mounter, ReferrerStore {
  readonly name: string;
  readonly scratch: string;
  readonly #real: Target;
  readonly #source: Target;
  readonly #keepsFiles: () => boolean;
  readonly #kept = new Map<string, Kept>();
  /** Digests that were pushed and dropped. */
  readonly #dropped = new Set<string>();
  /** Digests that the source has. */
  readonly #mounted = new Set<string>();
  /** Digests that the real target has. */
  readonly #found = new Set<string>();
  readonly #tags = new Map<string, Descriptor>();

  constructor({ source, target }: Endpoints, { scratch, keepsFiles }: WithholdOptions) {
    this.name = target.name;
    this.scratch = scratch;
    this.#real = target;
    this.#source = source;
    this.#keepsFiles = keepsFiles;
  }

  async push(descriptor: Descriptor, content: BlobSource): Promise<'pushed' | 'existed'> {
    if (this.#kept.has(descriptor.digest)) return 'existed';
    this.#kept.set(descriptor.digest, { descriptor, content });
    return 'pushed';
  }

  async takeFile(descriptor: Descriptor, path: string): Promise<'pushed' | 'existed'> {
    const { digest } = descriptor;
    if (this.#kept.has(digest)) return 'existed';
    if (this.#keepsFiles()) {
      // The caller removes the file at `path` once it is taken over.
      const kept = `${path}.withheld`;
      await rename(path, kept);
      this.#kept.set(digest, { descriptor, content: fileSource(kept), path: kept });
    } else {
      this.#dropped.add(digest);
    }
    return 'pushed';
  }

  async mount(descriptor: Descriptor): Promise<boolean> {
    this.#mounted.add(descriptor.digest);
    return true;
  }

  /** Whether the content can be read; a layer that was dropped cannot. */
  async exists(descriptor: Descriptor, options?: ReadOptions): Promise<boolean> {
    if (this.#isReadable(descriptor)) return true;
    const exists = await this.#real.exists(descriptor, options);
    if (exists) this.#found.add(descriptor.digest);
    return exists;
  }

  /** Whether the content would be in the target if this run uploaded. */
  async confirm(descriptor: Descriptor, options?: ReadOptions): Promise<boolean> {
    if (this.#isReadable(descriptor) || this.#dropped.has(descriptor.digest)) return true;
    return canConfirm(this.#real) ? this.#real.confirm(descriptor, options) : this.#real.exists(descriptor, options);
  }

  async fetch(descriptor: Descriptor, options?: FetchOptions): Promise<AsyncIterable<Uint8Array>> {
    const kept = this.#kept.get(descriptor.digest);
    if (kept !== undefined) return verified(kept.content.open(), descriptor, { target: this.name });
    return this.#placeOf(descriptor).fetch(descriptor, options);
  }

  async fetchRange(descriptor: Descriptor, offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    const kept = this.#kept.get(descriptor.digest);
    if (kept !== undefined) return rangeOf(kept, offset, length);
    return this.#placeOf(descriptor).fetchRange(descriptor, offset, length, options);
  }

  async resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor> {
    const known = this.#tags.get(tagOrDigest) ?? this.#kept.get(tagOrDigest)?.descriptor;
    return known ?? this.#real.resolve(tagOrDigest, options);
  }

  async tag(descriptor: Descriptor, tag: string): Promise<void> {
    this.#tags.set(tag, descriptor);
  }

  async pushReferrer(descriptor: Descriptor, content: BlobSource): Promise<ReferrerLink> {
    return { outcome: await this.push(descriptor, content), via: 'api' };
  }

  async referrers(
    subject: Pick<Descriptor, 'digest'>,
    artifactType?: string,
    options?: ReadOptions,
  ): Promise<readonly Descriptor[]> {
    return canRefer(this.#real) ? this.#real.referrers(subject, artifactType, options) : [];
  }

  async blobSize(digest: string, options?: ReadOptions): Promise<number> {
    const kept = this.#kept.get(digest);
    if (kept !== undefined) return kept.descriptor.size;
    for (const place of [this.#source, this.#real]) if (canSizeBlobs(place)) return place.blobSize(digest, options);
    throw new AccelError('image-unsupported', 'this source cannot report the size of a layer', {
      where: { target: this.#source.name },
    });
  }

  #isReadable({ digest }: Descriptor): boolean {
    return this.#kept.has(digest) || this.#mounted.has(digest) || this.#found.has(digest);
  }

  #placeOf({ digest }: Descriptor): Target {
    return this.#mounted.has(digest) ? this.#source : this.#real;
  }
}

async function rangeOf({ descriptor, content, path }: Kept, offset: number, length: number): Promise<Uint8Array> {
  if (path === undefined) {
    return (await collect(content.open(), descriptor.size)).subarray(offset, offset + length);
  }
  const file = await DiskFile.open(path);
  try {
    return await file.read(offset, length);
  } finally {
    await file.close();
  }
}
