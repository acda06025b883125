/** A target in memory: for tests, and for callers that want the result as bytes. */

import { type BlobSource, collect } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import { assertRange } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { digestOf, verified } from './digest.ts';
import { bareMediaType } from './media-types.ts';
import { assertTag } from './reference.ts';
import { pushReferrerByTag, referrersByTag } from './referrers.ts';
import type { BlobSizer, ReadOptions, ReferrerLink, ReferrerStore, TagLister, Target } from './storage.ts';

/** Keeps all pushed content in memory. */
export class MemoryTarget implements Target, TagLister, BlobSizer, ReferrerStore {
  readonly name: string;
  readonly #blobs = new Map<string, { readonly bytes: Uint8Array; readonly mediaType: string }>();
  readonly #tags = new Map<string, Descriptor>();

  constructor(name = 'memory') {
    this.name = name;
  }

  /** Number of pieces of content that are stored. */
  get blobCount(): number {
    return this.#blobs.size;
  }

  /** Stores bytes as they are and returns their descriptor. */
  put(mediaType: string, bytes: Uint8Array): Descriptor {
    const digest = digestOf(bytes);
    this.#blobs.set(digest, { bytes, mediaType });
    return { mediaType, digest, size: bytes.length };
  }

  async exists(descriptor: Descriptor, options?: ReadOptions): Promise<boolean> {
    options?.signal?.throwIfAborted();
    return this.#blobs.get(descriptor.digest)?.bytes.length === descriptor.size;
  }

  async fetch(descriptor: Descriptor, options?: ReadOptions): Promise<AsyncIterable<Uint8Array>> {
    options?.signal?.throwIfAborted();
    const bytes = this.#bytes(descriptor);
    return verified(pieces(bytes, options?.signal), descriptor, { target: this.name });
  }

  async fetchRange(descriptor: Descriptor, offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    options?.signal?.throwIfAborted();
    assertRange(descriptor, offset, length);
    const bytes = this.#bytes(descriptor);
    if (bytes.length !== descriptor.size) {
      throw new AccelError('size-mismatch', 'the stored content has another size than the descriptor', {
        where: { target: this.name, digest: descriptor.digest },
        expected: descriptor.size,
        found: bytes.length,
      });
    }
    return bytes.slice(offset, offset + length);
  }

  async push(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<'pushed' | 'existed'> {
    if (await this.exists(descriptor, options)) return 'existed';
    const stream = verified(content.open(), descriptor, { target: this.name });
    const bytes = await collect(abortable(stream, options?.signal), descriptor.size);
    this.#blobs.set(descriptor.digest, { bytes, mediaType: bareMediaType(descriptor.mediaType) });
    return 'pushed';
  }

  async resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted();
    const tagged = this.#tags.get(tagOrDigest);
    if (tagged !== undefined) return tagged;
    const blob = this.#blobs.get(tagOrDigest);
    if (blob !== undefined) return { mediaType: blob.mediaType, digest: tagOrDigest, size: blob.bytes.length };
    throw new AccelError('not-found', 'there is no such image', {
      where: { target: this.name, reference: tagOrDigest },
      expected: tagOrDigest,
      found: `the tags ${[...this.#tags.keys()].sort().join(', ') || '(none)'}`,
    });
  }

  async tag(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<void> {
    options?.signal?.throwIfAborted();
    assertTag(tag);
    this.#bytes(descriptor);
    this.#tags.set(tag, descriptor);
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

  async blobSize(digest: string, options?: ReadOptions): Promise<number> {
    options?.signal?.throwIfAborted();
    return this.#bytes({ digest, mediaType: 'a blob', size: 0 }).length;
  }

  async tags(options?: ReadOptions): Promise<readonly string[]> {
    options?.signal?.throwIfAborted();
    return [...this.#tags.keys()].sort();
  }

  #bytes(descriptor: Descriptor): Uint8Array {
    const blob = this.#blobs.get(descriptor.digest);
    if (blob !== undefined) return blob.bytes;
    throw new AccelError('not-found', 'there is no such content', {
      where: { target: this.name, digest: descriptor.digest, mediaType: descriptor.mediaType },
    });
  }
}

async function* pieces(bytes: Uint8Array, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const step = 64 * 1024;
  for (let offset = 0; offset < bytes.length; offset += step) {
    signal?.throwIfAborted();
    // A copy: a reader that writes into a chunk must not change what is stored.
    yield bytes.slice(offset, offset + step);
  }
}

async function* abortable(
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    signal?.throwIfAborted();
    yield chunk;
  }
}
