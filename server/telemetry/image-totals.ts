/** Bytes by image repository: what a node gave to clients and other agents, and where it had it from. Bounded: the least recently used repository is left out first. */
import { LRUCache } from 'lru-cache';

/** Ways of bytes. */
export type Way = 'toClients' | 'toPeers' | 'fromPeers' | 'fromOrigin' | 'fromEngine';

/** Bytes of one repository since the start, and when it was last used. */
export interface ImageTotal {
  readonly registry: string;
  readonly repository: string;
  readonly toClients: number;
  readonly toPeers: number;
  readonly fromPeers: number;
  readonly fromOrigin: number;
  readonly fromEngine: number;
  /** Blobs of the repository that were read or passed on, as far as they are remembered. */
  readonly blobs: number;
  /** RFC 3339. */
  readonly lastUsed: string;
}

/** The place of a blob. */
export interface BlobName {
  readonly registry: string;
  readonly repository: string;
  /** Of the blob at its registry, without query. */
  readonly path: string;
}

/** Repositories and blobs that are remembered. */
const MOST_IMAGES = 500;
const MOST_BLOBS = 10_000;

interface KnownName extends BlobName {
  readonly isConfirmed: boolean;
}

interface Entry extends Record<Way, number> {
  readonly registry: string;
  readonly repository: string;
  readonly blobs: Set<string>;
  lastUsed: number;
}

/** See the head of the file. */
export class ImageTotals {
  readonly #images = new LRUCache<string, Entry>({ max: MOST_IMAGES });
  readonly #names = new LRUCache<string, KnownName>({
    max: MOST_BLOBS,
    dispose: (name, digest) => this.#images.peek(keyOf(name))?.blobs.delete(digest),
  });

  /** Learns where a blob is said to be: the name counts until a registry has confirmed one, and no image is listed by it. */
  learn(digest: string, name: BlobName): void {
    const known = this.#names.get(digest);
    if (known?.isConfirmed !== true && known?.path !== name.path)
      this.#names.set(digest, { ...name, isConfirmed: false });
  }

  /** Learns where a blob is: its registry has just said so to somebody who may read it. */
  confirm(digest: string, name: BlobName): void {
    const known = this.#names.get(digest);
    if (known?.isConfirmed !== true || known.path !== name.path)
      this.#names.set(digest, { ...name, isConfirmed: true });
  }

  /** Where a blob is, as far as that is known. */
  nameOf(digest: string): BlobName | undefined {
    return this.#names.get(digest);
  }

  /** Counts bytes of a blob; those of one whose place no registry has confirmed count for no image. */
  add(digest: string, way: Way, bytes: number): void {
    const name = this.#names.get(digest);
    if (name?.isConfirmed !== true) return;
    const key = keyOf(name);
    let entry = this.#images.get(key);
    if (entry === undefined) {
      const { registry, repository } = name;
      entry = {
        registry,
        repository,
        blobs: new Set(),
        lastUsed: 0,
        toClients: 0,
        toPeers: 0,
        fromPeers: 0,
        fromOrigin: 0,
        fromEngine: 0,
      };
      this.#images.set(key, entry);
    }
    entry[way] += bytes;
    entry.blobs.add(digest);
    entry.lastUsed = Date.now();
  }

  /** All repositories, the one that was used last first. */
  list(): ImageTotal[] {
    return [...this.#images.values()].map(({ blobs, lastUsed, ...rest }) => ({
      ...rest,
      blobs: blobs.size,
      lastUsed: new Date(lastUsed).toISOString(),
    }));
  }
}

function keyOf({ registry, repository }: BlobName): string {
  return `${registry}/${repository}`;
}
