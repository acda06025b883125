/**
 * Blobs that this node has whole in the container runtime's own content store (containerd's
 * `io.containerd.content.v1.content/blobs`). They are read, never written; a blob's digest is checked before its first byte
 * is served, and again when its file has changed.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { PIECE_BYTES, pieceBytes } from '../../../formats/piece-list/piece-list.ts';
import { atMost } from '../at-most.ts';
import { PIECE_MEMORY } from '../pieces/piece-memory.ts';
import { SingleFlight } from '../pieces/single-flight.ts';

/** Blobs whose check is remembered, and blobs that are announced at most. */
const MOST_BLOBS = 50_000;
/** Milliseconds for which the absence of a blob is believed. */
const ABSENT_FOR = 2_000;

interface Checked {
  readonly size: number;
  readonly changed: number;
  readonly good: boolean;
}

/** See the head of the file. */
export class ContentStore {
  readonly #directory: string;
  readonly #checked = new LRUCache<string, Checked>(atMost(MOST_BLOBS));
  readonly #absent = new LRUCache<string, true>({ ...atMost(MOST_BLOBS), ttl: ABSENT_FOR });
  readonly #checking = new SingleFlight<Checked | undefined>();

  /** `directory`: the folder `blobs` of the content store; it need not exist. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Digests of the blobs that are there, at most 50,000. */
  async list(): Promise<string[]> {
    const names = await readdir(join(this.#directory, 'sha256')).catch(() => []);
    return names
      .filter((name) => /^[0-9a-f]{64}$/.test(name))
      .slice(0, MOST_BLOBS)
      .map((name) => `sha256:${name}`);
  }

  /** Bytes of a blob whose digest is right; undefined when it is not here, or is not what its name says. */
  async size(digest: string): Promise<number | undefined> {
    if (this.#absent.has(digest)) return undefined;
    const checked = await this.#check(digest);
    if (checked === undefined) this.#absent.set(digest, true);
    return checked?.good === true ? checked.size : undefined;
  }

  /** A piece of a blob whose digest is right; undefined where {@link size} is, or the piece is outside of it. */
  async piece(
    digest: string,
    index: number,
  ): Promise<{ readonly bytes: Buffer; readonly blobBytes: number } | undefined> {
    const blobBytes = await this.size(digest);
    if (blobBytes === undefined) return undefined;
    const length = pieceBytes(blobBytes, index);
    if (length <= 0) return undefined;
    const file = await open(this.#path(digest)).catch(() => undefined);
    if (file === undefined) return undefined;
    try {
      const bytes = PIECE_MEMORY.take(length);
      const { bytesRead } = await file.read(bytes, 0, length, index * PIECE_BYTES);
      return bytesRead === length ? { bytes, blobBytes } : undefined;
    } catch {
      // A file that cannot be read is one that this node does not have.
      return undefined;
    } finally {
      await file.close();
    }
  }

  async #check(digest: string): Promise<Checked | undefined> {
    const facts = await stat(this.#path(digest)).catch(() => undefined);
    if (facts?.isFile() !== true) return undefined;
    const known = this.#checked.get(digest);
    if (known !== undefined && known.size === facts.size && known.changed === facts.mtimeMs) return known;
    return this.#checking.run(digest, async () => {
      const hash = createHash('sha256');
      try {
        for await (const chunk of createReadStream(this.#path(digest), { highWaterMark: 1 << 20 }))
          hash.update(chunk as Buffer);
      } catch {
        // Removed or unreadable meanwhile.
        return undefined;
      }
      const good = `sha256:${hash.digest('hex')}` === digest;
      const checked = { size: facts.size, changed: facts.mtimeMs, good };
      this.#checked.set(digest, checked);
      return checked;
    });
  }

  #path(digest: string): string {
    return join(this.#directory, digest.replace(':', '/'));
  }
}
