/** Manifests by digest, kept in memory, and what they say about blobs: sizes, and lists of piece hashes. */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { isRecord } from '../../base/is-record.ts';
import { PIECE_LIST_ANNOTATION } from '../../formats/piece-list/piece-list.ts';
import { atMost } from './at-most.ts';

/** Largest manifest that is kept, in bytes; registries refuse larger ones. */
export const MAX_MANIFEST = 4 * 1024 * 1024;
/** Bytes of manifests kept, and blobs whose size is. */
const MOST_BYTES = 64 * 1024 * 1024;
const MOST_BLOBS = 50_000;

/** A manifest or index as the registry gave it. */
export interface KeptManifest {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** A manifest's statements about a blob. */
export interface BlobFacts {
  /** Bytes. */
  readonly size: number;
  /** Digest of the converter's list of piece hashes. */
  readonly pieceList: string | undefined;
  /** Its position among the layers of its image; -1 for the config, which runtimes want first. */
  readonly position: number;
}

/** See the head of the file. */
export class Manifests {
  readonly #kept = new LRUCache<string, KeptManifest>({
    maxSize: MOST_BYTES,
    sizeCalculation: ({ bytes }) => Math.max(1, bytes.length),
  });
  /** By repository and digest: what a manifest says of a blob counts in its own repository alone. */
  readonly #blobs = new LRUCache<string, BlobFacts>(atMost(MOST_BLOBS));
  /** By digest: to know whether all pieces are here. */
  readonly #sizes = new LRUCache<string, number>(atMost(MOST_BLOBS));

  /** The manifest with this digest. */
  get(digest: string): KeptManifest | undefined {
    return this.#kept.get(digest);
  }

  /** The facts that are known of a blob of a repository, `host/name`. */
  blob(repository: string, digest: string): BlobFacts | undefined {
    return this.#blobs.get(`${repository}@${digest}`);
  }

  /** Bytes of a blob by the newest word of any repository. */
  size(digest: string): number | undefined {
    return this.#sizes.get(digest);
  }

  /** Notes the size of a blob by the registry's answer, unless a manifest has given it. */
  noteSize(repository: string, digest: string, size: number): void {
    const key = `${repository}@${digest}`;
    if (!this.#blobs.has(key)) this.#blobs.set(key, { size, pieceList: undefined, position: 0 });
    this.#sizes.set(digest, size);
  }

  /** Takes in a manifest; its digest, or undefined where the bytes are not those of `expected`. */
  take(
    bytes: Buffer,
    { mediaType, repository, expected }: { mediaType: string; repository: string; expected: string | undefined },
  ): string | undefined {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    if (expected !== undefined && digest !== expected) return undefined;
    this.#kept.set(digest, { mediaType, bytes });
    this.#learn(bytes, repository);
    return digest;
  }

  #learn(bytes: Buffer, repository: string): void {
    let document: unknown;
    try {
      document = JSON.parse(bytes.toString('utf8'));
    } catch {
      // Whoever asked for it gets what the registry has; nothing is learnt from it.
      return;
    }
    if (!isRecord(document)) return;
    const layers = Array.isArray(document.layers) ? document.layers : [];
    for (const [index, descriptor] of ([document.config, ...layers] as unknown[]).entries()) {
      if (!isRecord(descriptor)) continue;
      const { digest, size, annotations } = descriptor;
      if (typeof digest !== 'string' || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) continue;
      const list = isRecord(annotations) ? annotations[PIECE_LIST_ANNOTATION] : undefined;
      this.#sizes.set(digest, size);
      this.#blobs.set(`${repository}@${digest}`, {
        size,
        pieceList: typeof list === 'string' ? list : undefined,
        position: index - 1,
      });
    }
  }
}
