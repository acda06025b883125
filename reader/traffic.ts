/**
 * Fetches every byte from the target for the reader: bounds concurrent requests, counts them, and refuses short
 * answers.
 */
import { bytesSource } from '../base/byte-source.ts';
import { AccelError, withPlace } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { canFetchNamed, canSizeBlobs } from '../oci/powers.ts';
import type { NamedContent, Target } from '../oci/storage.ts';

/** Requests and bytes of reading an image so far. */
export interface TrafficStatistics {
  /** Calls to the target; retries inside of the target do not count. */
  readonly requests: number;
  /** Bytes of content that came. */
  readonly bytes: number;
}

/** Called for each part of a blob that is fetched. */
export type RangeListener = (digest: string, offset: number, length: number) => void;

/** Options of {@link Traffic}. */
export interface TrafficOptions {
  readonly signal?: AbortSignal | undefined;
  /** Requests under way at a time. */
  readonly parallel: number;
  readonly onRange?: RangeListener | undefined;
}

/** Reads from one target. */
export class Traffic {
  readonly target: Target;
  /** Resolves and fetches in one request, where the target does. */
  readonly fetchNamed?: (tagOrDigest: string) => Promise<NamedContent>;
  readonly #signal: AbortSignal | undefined;
  readonly #onRange: RangeListener | undefined;
  readonly #limiter: Limiter;
  #requests = 0;
  #bytes = 0;

  constructor(target: Target, options: TrafficOptions) {
    this.target = target;
    this.#signal = options.signal;
    this.#onRange = options.onRange;
    this.#limiter = new Limiter(options.parallel);
    if (canFetchNamed(target))
      this.fetchNamed = async (tagOrDigest) => {
        const named = await this.#count(() => target.fetchNamed(tagOrDigest, { signal: this.#signal }));
        this.#arrived(named.descriptor.digest, 0, named.bytes.length);
        return named;
      };
  }

  /** Statistics of everything fetched so far. */
  statistics(): TrafficStatistics {
    return { requests: this.#requests, bytes: this.#bytes };
  }

  /** Resolves a tag or digest. */
  resolve(tagOrDigest: string): Promise<Descriptor> {
    return this.#count(() => this.target.resolve(tagOrDigest, { signal: this.#signal }));
  }

  /**
   * Size in bytes of a blob that is known by its digest only. Throws `image-unsupported` if the target cannot determine
   * it.
   */
  blobSize(digest: string): Promise<number> {
    const { target } = this;
    if (!canSizeBlobs(target))
      throw new AccelError('image-unsupported', 'this target cannot determine the size of a source layer', {
        where: { target: target.name, digest },
      });
    return this.#count(() => target.blobSize(digest, { signal: this.#signal }));
  }

  /** All bytes of a piece of content, checked against its digest. Throws `limit-exceeded` past `limit` bytes. */
  async whole(descriptor: Descriptor, limit: number): Promise<Uint8Array> {
    const bytes = await this.#count(() => fetchBytes(this.target, descriptor, limit, { signal: this.#signal }));
    this.#arrived(descriptor.digest, 0, bytes.length);
    return bytes;
  }

  /** {@link whole} as a stream: the reader of documents bounds and checks it. */
  async fetch(descriptor: Descriptor): Promise<AsyncIterable<Uint8Array>> {
    return bytesSource(await this.whole(descriptor, descriptor.size)).open();
  }

  /** Exactly `length` bytes of a blob from `offset` on; a target that gives another number is an error. */
  async range(descriptor: Descriptor, offset: number, length: number): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    const where = { digest: descriptor.digest, offset };
    try {
      const options = { signal: this.#signal };
      const bytes = await this.#count(() => this.target.fetchRange(descriptor, offset, length, options));
      this.#arrived(descriptor.digest, offset, bytes.length);
      if (bytes.length === length) return bytes;
      throw new AccelError('size-mismatch', 'a part of a blob came with another number of bytes', {
        expected: length,
        found: bytes.length,
      });
    } catch (error) {
      throw withPlace(error, where);
    }
  }

  #count<T>(call: () => Promise<T>): Promise<T> {
    return this.#limiter.run(() => {
      this.#signal?.throwIfAborted();
      this.#requests++;
      return call();
    });
  }

  #arrived(digest: string, offset: number, length: number): void {
    this.#bytes += length;
    this.#onRange?.(digest, offset, length);
  }
}
