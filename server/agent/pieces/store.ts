/**
 * The pieces that this node has: a ring in memory, and files on disk below a capacity. Every read from disk is checked, and
 * whatever the disk does, pieces go on being served from memory.
 */
import { mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Occurrence } from '../../telemetry/activity.ts';
import { CacheDisk, type CacheDiskOptions } from './cache-disk.ts';
import { findPieces, folderOf, makeFolder } from './cache-folder.ts';
import { CacheIndex } from './cache-index.ts';
import type { Piece, PieceId } from './piece.ts';
import { pieceIdOf, pieceKey } from './piece.ts';
import { encodePieceFile, readPieceFile } from './piece-file.ts';
import { PIECE_MEMORY } from './piece-memory.ts';
import type { StoreStatistics } from './store-statistics.ts';

/** The space that a store may use. */
export interface StoreOptions extends Pick<CacheDiskOptions, 'onProblem' | 'retryAfter'> {
  /** Folder of the files, which belongs to the store. */
  readonly directory: string;
  /** Most bytes on disk. */
  readonly capacity: number;
  /** Most bytes of pieces in memory. */
  readonly memory: number;
  /** Milliseconds after its last use at which a piece is removed. */
  readonly ttl: number;
  /** Share of the file system to keep free, 0 to 1. */
  readonly keepFree: number;
  /** The store opens before it has looked through its folder: pieces are read from there meanwhile, and none are written. */
  readonly opensAtOnce?: boolean;
  /** Hears of each piece that was read from disk or written to it. */
  readonly onDisk?: (
    operation: 'disk-read' | 'disk-write',
    id: PieceId,
    use: Pick<Occurrence, 'bytes' | 'started'>,
  ) => void;
}

/** Pieces that wait to be written; past it they stay in memory alone. */
const MOST_QUEUED = 64;
/** Milliseconds without a new piece after which relayed pieces are written. */
const IDLE_AFTER = 500;

/** See the head of the file. */
export class PieceStore {
  readonly #options: StoreOptions;
  readonly #ring: LRUCache<string, Piece>;
  readonly #disk = new CacheIndex();
  /** Indexes of the pieces of each blob, in memory or on disk. */
  readonly #blobs = new Map<string, Set<number>>();
  readonly #queue = new Map<string, { readonly id: PieceId; readonly owned: boolean }>();
  #damaged = 0;
  #unwritten = 0;
  #lastPut = 0;
  #writing: Promise<void> | undefined;
  /** The piece that is being written now. */
  #current: { readonly digest: string; readonly written: Promise<void> } | undefined;
  #closing = false;
  #rebuilt: Promise<void> = Promise.resolve();
  #isRebuilt = false;
  /** Another process uses the folder: nothing is written or removed. */
  #frozen = false;
  readonly #file: CacheDisk;
  readonly #timer: NodeJS.Timeout;

  private constructor(options: StoreOptions) {
    this.#options = options;
    this.#ring = new LRUCache({
      maxSize: Math.max(1, options.memory),
      sizeCalculation: ({ bytes }) => Math.max(1, bytes.length),
      dispose: (piece, key, reason) => {
        PIECE_MEMORY.letGo(piece);
        // A piece that takes the place of itself is still here.
        if (reason !== 'set' && !this.#disk.has(key)) this.#forget(key);
      },
    });
    this.#file = new CacheDisk({ ...options, isFrozen: () => this.#frozen, onBack: () => this.#takeStock() });
    this.#timer = setInterval(() => this.#expire(), Math.max(1000, Math.min(60_000, options.ttl / 4)));
    this.#timer.unref();
  }

  /** Opens the folder, makes it if needed, and takes in the pieces that are there. Rejects with the system's error. */
  static async open(options: StoreOptions): Promise<PieceStore> {
    const store = new PieceStore(options);
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    store.#rebuilt = store.#rebuild().finally(() => {
      store.#isRebuilt = true;
    });
    if (options.opensAtOnce === true) store.#rebuilt = store.#rebuilt.catch(() => undefined);
    else await store.#rebuilt;
    return store;
  }

  /** Figures at this moment. */
  get statistics(): StoreStatistics {
    return {
      allocated: this.#options.capacity,
      used: this.#disk.bytes,
      memory: this.#ring.calculatedSize ?? 0,
      pieces: [...this.#blobs.values()].reduce((sum, { size }) => sum + size, 0),
      queued: this.#queue.size,
      damaged: this.#damaged,
      unwritten: this.#unwritten,
    };
  }

  /** Why nothing can be written now; undefined when it can. */
  get problem(): string | undefined {
    return this.#file.problem;
  }

  /** Whether a piece is here, as far as is known without reading it. */
  has({ digest, index }: PieceId): boolean {
    return this.#blobs.get(digest)?.has(index) === true;
  }

  /** The number of pieces of a blob that are here. */
  count(digest: string): number {
    return this.#blobs.get(digest)?.size ?? 0;
  }

  /** Blobs with pieces here: digest and number of pieces. */
  *blobs(): Iterable<readonly [string, number]> {
    for (const [digest, { size }] of this.#blobs) yield [digest, size];
  }

  /** A piece, checked, to let go of ({@link PIECE_MEMORY}); undefined when it is not here or was damaged. */
  async get(id: PieceId): Promise<Piece | undefined> {
    const key = pieceKey(id);
    const inMemory = this.#ring.get(key);
    if (inMemory !== undefined) {
      this.#disk.touch(key);
      return PIECE_MEMORY.share(inMemory);
    }
    const known = this.#disk.has(key);
    if (!known && this.#isRebuilt) return undefined;
    this.#disk.touch(key);
    const started = performance.now();
    try {
      const piece = await readPieceFile(this.#path(id));
      // Removed while it was read: it may have been removed because it is wrong.
      if ((known || this.#isRebuilt) && !this.#disk.has(key)) return undefined;
      this.#remember(id);
      this.#keep(key, piece);
      this.#options.onDisk?.('disk-read', id, { bytes: piece.bytes.length, started });
      return PIECE_MEMORY.pass(piece);
    } catch {
      if (!known) return undefined;
      this.#options.onDisk?.('disk-read', id, { bytes: undefined, started });
      // Gone, unreadable or damaged: whatever it is, the piece can be had elsewhere.
      this.#damaged += 1;
      await Promise.all([this.#removeFile(id, key), this.#file.look()]);
      return undefined;
    }
  }

  /** Takes in a checked piece. Pieces that this node owns reach the disk at once, relayed ones when it is idle. */
  put(id: PieceId, piece: Piece, { owned }: { readonly owned: boolean }): void {
    const key = pieceKey(id);
    this.#lastPut = performance.now();
    // Known before the ring may evict others, or this piece itself where it is larger than the ring.
    this.#remember(id);
    this.#keep(key, piece);
    if (!this.#ring.has(key)) this.#forget(key);
    if (this.#disk.has(key) || this.#options.capacity === 0 || this.#closing || this.#frozen) return;
    if (this.#queue.size >= MOST_QUEUED && !this.#queue.has(key)) {
      this.#unwritten += 1;
      return;
    }
    this.#queue.set(key, { id, owned });
    this.#startWriting();
  }

  #keep(key: string, piece: Piece): void {
    const kept = PIECE_MEMORY.share(piece);
    this.#ring.set(key, kept);
    if (this.#ring.peek(key) !== kept) PIECE_MEMORY.letGo(kept);
  }

  #startWriting(): void {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
      // A piece that came between the last look at the queue and now.
      if (this.#queue.size > 0 && !this.#frozen) this.#startWriting();
    });
  }

  /** Resolves when the folder has been looked through. */
  get rebuilt(): Promise<void> {
    return this.#rebuilt;
  }

  /** Removes all pieces of a blob: one of them is wrong. */
  async drop(digest: string): Promise<void> {
    await this.#rebuilt;
    for (const index of this.#blobs.get(digest) ?? []) {
      const key = pieceKey({ digest, index });
      this.#queue.delete(key);
      this.#ring.delete(key);
    }
    if (this.#current?.digest === digest) await this.#current.written;
    for (const index of [...(this.#blobs.get(digest) ?? [])]) {
      const id = { digest, index };
      const key = pieceKey(id);
      this.#queue.delete(key);
      this.#ring.delete(key);
      await this.#removeFile(id, key);
    }
  }

  /** Leaves the folder to another process, or takes it back. Resolves when nothing is being written any more. */
  async setFrozen(frozen: boolean): Promise<void> {
    this.#frozen = frozen;
    if (frozen) await this.#current?.written;
    else this.#startWriting();
  }

  /** Writes what waits, and stops. */
  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#timer);
    this.#file.close();
    await this.#rebuilt;
    await this.#writing;
  }

  async #write(): Promise<void> {
    await this.#rebuilt;
    for (;;) {
      const next = this.#frozen ? undefined : this.#next();
      if (next === undefined) return;
      const [key, { id, owned }] = next;
      if (!owned && !this.#closing) {
        const wait = this.#lastPut + IDLE_AFTER - performance.now();
        if (wait > 0) {
          await sleep(wait, undefined, { ref: false });
          continue;
        }
      }
      this.#queue.delete(key);
      const piece = this.#ring.peek(key);
      if (piece === undefined) continue;
      const written = this.#writeFile(id, piece, owned);
      this.#current = { digest: id.digest, written };
      await written;
      this.#current = undefined;
    }
  }

  /** The next piece to write: one that this node owns before the others. */
  #next() {
    for (const entry of this.#queue) if (entry[1].owned) return entry;
    return this.#queue.entries().next().value;
  }

  async #writeFile(id: PieceId, piece: Piece, owned: boolean): Promise<void> {
    const key = pieceKey(id);
    const path = this.#path(id);
    const temporary = `${path}.tmp`;
    const started = performance.now();
    // The ring may let go of it meanwhile.
    const letGo = PIECE_MEMORY.hold(piece.bytes);
    try {
      const parts = encodePieceFile(piece);
      const size = parts.reduce((sum, part) => sum + part.length, 0);
      if (this.problem !== undefined || !(await this.#makeRoom(size, owned))) {
        this.#unwritten += 1;
        return;
      }
      await makeFolder(join(path, '..'));
      await writeFile(temporary, parts, { mode: 0o600 });
      await rename(temporary, path);
      this.#disk.add(key, { size, owned, used: Date.now() });
      this.#file.took(size);
      this.#remember(id);
      this.#options.onDisk?.('disk-write', id, { bytes: piece.bytes.length, started });
    } catch (error) {
      // A full or failing disk: the piece stays in memory, and the figure says so.
      this.#file.failed(error);
      this.#unwritten += 1;
      this.#options.onDisk?.('disk-write', id, { bytes: undefined, started });
      await rm(temporary, { force: true }).catch(() => undefined);
    } finally {
      letGo();
    }
  }

  /** Evicts until a piece fits below the capacity and leaves the file system its share; false if it cannot. */
  async #makeRoom(needed: number, owned: boolean): Promise<boolean> {
    while (this.#disk.bytes + needed > this.#options.capacity || (await this.#file.free()) < needed) {
      const oldest = this.#disk.oldest(owned);
      if (oldest === undefined) return false;
      await this.#removeFile(pieceIdOf(oldest), oldest);
      this.#file.gave();
    }
    return true;
  }

  #expire(): void {
    if (this.#frozen) return;
    void this.#file.look();
    void this.#forgetMissing().catch(() => undefined);
    for (const key of this.#disk.unusedSince(Date.now() - this.#options.ttl))
      void this.#removeFile(pieceIdOf(key), key);
  }

  /** Forgets the pieces of blobs whose folder somebody removed: they take no room any more. */
  async #forgetMissing(): Promise<void> {
    // A piece that is written from now on may come after the look at the folder.
    const before = this.#disk.list();
    if (before.length === 0) return;
    const folders = new Set(await readdir(this.#options.directory));
    for (const [key, entry] of before)
      if (!folders.has(folderOf(pieceIdOf(key))) && this.#disk.isSame(key, entry)) this.#forgetFile(key);
  }

  #forgetFile(key: string): void {
    this.#disk.remove(key);
    if (!this.#ring.has(key)) this.#forget(key);
  }

  async #removeFile(id: PieceId, key: string): Promise<void> {
    this.#forgetFile(key);
    const path = this.#path(id);
    await rm(path, { force: true }).catch(() => undefined);
    // Fails while the folder holds other pieces.
    if (!this.#blobs.has(id.digest)) await rmdir(join(path, '..')).catch(() => undefined);
  }

  /** Forgets what was on disk, and takes in what is there now. */
  async #takeStock(): Promise<void> {
    for (const [key] of this.#disk.list()) this.#forgetFile(key);
    await this.#rebuild();
  }

  /** Takes in the files of an earlier run. */
  async #rebuild(): Promise<void> {
    const found = await findPieces(this.#options.directory, () => this.#closing);
    for (const { id, size, used } of found) {
      // A piece that was read meanwhile is known already.
      if (this.#disk.has(pieceKey(id))) continue;
      // Who owned what is not kept: the members may have changed since.
      this.#disk.add(pieceKey(id), { size, owned: false, used });
      this.#remember(id);
    }
    for (let key = this.#disk.oldest(true); this.#disk.bytes > this.#options.capacity; key = this.#disk.oldest(true)) {
      if (key === undefined) break;
      await this.#removeFile(pieceIdOf(key), key);
    }
  }

  #remember({ digest, index }: PieceId): void {
    const known = this.#blobs.get(digest);
    if (known === undefined) this.#blobs.set(digest, new Set([index]));
    else known.add(index);
  }

  #forget(key: string): void {
    const { digest, index } = pieceIdOf(key);
    const known = this.#blobs.get(digest);
    known?.delete(index);
    if (known?.size === 0) this.#blobs.delete(digest);
  }

  #path(id: PieceId): string {
    return join(this.#options.directory, folderOf(id), String(id.index));
  }
}
