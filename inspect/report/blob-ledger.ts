/** Counts blobs once, by who refers to them. Digests are kept once each, so that thousands of manifests fit in memory. */
import type { BlobSum, StoredFacts } from './report-facts.ts';

/** Kinds of references to a blob. */
export const REFERRED = { base: 1, accelerated: 2, other: 4, document: 8, pieceList: 16 } as const;

/** A kind of reference. */
export type ReferredBy = keyof typeof REFERRED;

/** Blobs of a repository. */
export class BlobLedger {
  readonly #sizes = new Map<string, number>();
  readonly #kinds = new Map<string, number>();

  /** Adds a reference to a blob. */
  add(by: ReferredBy, { digest, size }: { readonly digest: string; readonly size: number }): void {
    this.#sizes.set(digest, size);
    this.#kinds.set(digest, (this.#kinds.get(digest) ?? 0) | REFERRED[by]);
  }

  /** The size of a blob; undefined where nothing that was read says it. */
  sizeOf(digest: string): number | undefined {
    return this.#sizes.get(digest);
  }

  /** The sums. */
  stored(): StoredFacts {
    const { base, accelerated, other, document, pieceList } = REFERRED;
    const images = base | accelerated;
    return {
      base: this.#sum((kinds) => (kinds & base) !== 0),
      accelerated: this.#sum((kinds) => (kinds & accelerated) !== 0),
      shared: this.#sum((kinds) => (kinds & images) === images),
      baseOwn: this.#sum((kinds) => (kinds & images) === base),
      acceleratedOwn: this.#sum((kinds) => (kinds & images) === accelerated),
      other: this.#sum((kinds) => (kinds & (images | other)) === other),
      total: this.#sum((kinds) => (kinds & (images | other)) !== 0),
      documents: this.#sum((kinds) => (kinds & document) !== 0),
      pieceLists: this.#sum((kinds) => kinds === pieceList),
    };
  }

  #sum(isCounted: (kinds: number) => boolean): BlobSum {
    let [bytes, blobs] = [0, 0];
    for (const [digest, kinds] of this.#kinds) {
      if (!isCounted(kinds)) continue;
      bytes += this.#sizes.get(digest)!;
      blobs += 1;
    }
    return { bytes, blobs };
  }
}
