/** The pieces on disk by their keys, least recently used first, and the bytes that they take there. */

/** A piece on disk. */
export interface DiskEntry {
  /** Bytes of its file. */
  readonly size: number;
  /** This node is one of its owners: it is evicted for another such piece alone. */
  readonly owned: boolean;
  /** Date.now() of its last use. */
  used: number;
}

const OWNED = 'owned';
const RELAYED = 'relayed';

/** See the head of the file. */
export class CacheIndex {
  readonly #entries = { [OWNED]: new Map<string, DiskEntry>(), [RELAYED]: new Map<string, DiskEntry>() };
  #bytes = 0;

  /** Bytes of all files. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a piece is on disk. */
  has(key: string): boolean {
    return this.#entries[OWNED].has(key) || this.#entries[RELAYED].has(key);
  }

  /** Takes in a piece, as the one that was used last. */
  add(key: string, entry: DiskEntry): void {
    this.remove(key);
    this.#entries[entry.owned ? OWNED : RELAYED].set(key, entry);
    this.#bytes += entry.size;
  }

  /** Takes out a piece. */
  remove(key: string): void {
    for (const entries of Object.values(this.#entries)) {
      const entry = entries.get(key);
      if (entry === undefined) continue;
      entries.delete(key);
      this.#bytes -= entry.size;
    }
  }

  /** A piece is used. */
  touch(key: string): void {
    for (const entries of Object.values(this.#entries)) {
      const entry = entries.get(key);
      if (entry === undefined) continue;
      entries.delete(key);
      entry.used = Date.now();
      entries.set(key, entry);
    }
  }

  /** All pieces at this moment. */
  list(): (readonly [string, DiskEntry])[] {
    return Object.values(this.#entries).flatMap((entries) => [...entries]);
  }

  /** Whether this very piece is on disk still, and no later one of its name. */
  isSame(key: string, entry: DiskEntry): boolean {
    return this.#entries[entry.owned ? OWNED : RELAYED].get(key) === entry;
  }

  /** The piece to evict: a relayed one; one that is owned only for another that is. */
  oldest(forOwned: boolean): string | undefined {
    const relayed = this.#entries[RELAYED].keys().next().value;
    return relayed ?? (forOwned ? this.#entries[OWNED].keys().next().value : undefined);
  }

  /** Pieces that were not used since a time of Date.now(). */
  unusedSince(time: number): string[] {
    const found: string[] = [];
    for (const entries of Object.values(this.#entries)) {
      for (const [key, { used }] of entries) {
        if (used > time) break;
        found.push(key);
      }
    }
    return found;
  }
}
