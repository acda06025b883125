/**
 * The small tars that some artifacts are: a handful of files, packed the same everywhere, unpacked within bounds. The
 * layers of an image go through parser.ts instead.
 */
import { createHash } from 'node:crypto';
import { gunzipSync, constants as zlib } from 'node:zlib';
import { pack } from 'tar-stream';
import type { BlobSource } from '../../base/byte-source.ts';
import { AccelError, type AccelErrorCode } from '../../base/error.ts';
import { deflatePart, GzipEncoder, type PartDeflater } from '../gzip/writer.ts';
import { BLOCK_SIZE } from './layout.ts';
import { TarParser } from './parser.ts';

/** Bytes of a tar that are compressed at a time: bounds the memory and the time of a step, whatever the archive's size. */
const PIECE = 8 << 20;
/** Memory for a piece to begin with: most archives are small. */
const FIRST_PIECE = 64 << 10;

/** Content that is not in memory as a whole. */
export interface StreamedContent extends BlobSource {
  /** Bytes of the content. */
  readonly size: number;
}

/** A file of an archive. */
export interface ArchiveFile {
  readonly name: string;
  /** Its bytes, in one piece or in several, or what streams them. */
  readonly content: Uint8Array | readonly Uint8Array[] | StreamedContent;
  /** Permission bits; 0644 unless given. */
  readonly mode?: number;
  /** Whether packing it again would gain nothing: it is stored then. */
  readonly isPacked?: boolean;
}

/** An archive that was written. */
export interface WrittenArchive {
  /** Bytes of the gzip-compressed tar. */
  readonly size: number;
  /** `sha256:` and the hash of the uncompressed tar: a layer's entry in `rootfs.diff_ids`. */
  readonly diffId: string;
  /** Where the blob holds each file that is stored, in blocks that formats/gzip/stored.ts reads. */
  readonly stored: ReadonlyMap<string, number>;
}

/** A packed archive in memory. */
export interface PackedArchive extends WrittenArchive {
  /** The gzip-compressed tar. */
  readonly blob: Uint8Array;
}

/** An archive that was taken apart. */
export interface UnpackedArchive {
  /** The regular files by name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** See {@link WrittenArchive.diffId}. */
  readonly diffId: string;
}

/** The name of an archive for errors, and the bounds within which it is unpacked. */
export interface UnpackOptions {
  /** For messages, `the index-only layer`. */
  readonly name: string;
  /** Code of the errors about its form. */
  readonly code: AccelErrorCode;
  /** Bytes that it may unpack to. */
  readonly maxUnpacked: number;
  /** Whether a tar that is not compressed is taken as well. */
  readonly allowPlain?: boolean;
}

/** Packs files into a gzip-compressed tar: no times, owners or names of the machine. */
export async function packArchive(files: readonly ArchiveFile[]): Promise<PackedArchive> {
  const chunks: Uint8Array[] = [];
  const written = await writeArchive(files, async (bytes) => {
    chunks.push(bytes.slice());
  });
  return { ...written, blob: Buffer.concat(chunks) };
}

/**
 * Writes what {@link packArchive} packs, piece by piece; `write` gets the next piece when it is done with the last, which may be overwritten then. Rejects
 * with what `write` or reading a file rejects with. `deflate` may be in another thread; omitted: here.
 */
export async function writeArchive(
  files: readonly ArchiveFile[],
  write: (bytes: Uint8Array) => Promise<void>,
  deflate?: PartDeflater,
): Promise<WrittenArchive> {
  const tar = new PackedTar(write, deflate);
  const stored = new Map<string, number>();
  await tar.begin();
  for (const file of files) {
    const size = sizeOf(file);
    await tar.add(await headerOf(file, size));
    const pieces = piecesOf(file);
    if (pieces === undefined) await addStream(tar, file.content as StreamedContent, file.name);
    else if (file.isPacked === true) stored.set(file.name, await tar.store(pieces));
    else for (const piece of pieces) await tar.add(piece);
    await tar.add(new Uint8Array((BLOCK_SIZE - (size % BLOCK_SIZE)) % BLOCK_SIZE));
  }
  // The end of a tar: two blocks of zeros.
  await tar.add(new Uint8Array(2 * BLOCK_SIZE));
  return { ...(await tar.finish()), stored };
}

/** A tar on its way into a gzip member. */
class PackedTar {
  readonly #encoder = new GzipEncoder();
  readonly #hash = createHash('sha256');
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  readonly #deflate: PartDeflater;
  /** Bytes of the tar that are not compressed yet, in memory that is used again. */
  #pending = new Uint8Array(FIRST_PIECE);
  #pendingSize = 0;
  #written = 0;

  constructor(write: (bytes: Uint8Array) => Promise<void>, deflate: PartDeflater = deflateHere) {
    this.#write = write;
    this.#deflate = deflate;
  }

  async begin(): Promise<void> {
    await this.#emit([this.#encoder.header]);
  }

  /** Adds bytes of the tar. */
  async add(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const taken = bytes.subarray(from, from + PIECE - this.#pendingSize);
      this.#hash.update(taken);
      this.#reserve(this.#pendingSize + taken.length);
      this.#pending.set(taken, this.#pendingSize);
      this.#pendingSize += taken.length;
      from += taken.length;
      if (this.#pendingSize === PIECE) await this.#compress();
    }
  }

  /** Adds bytes of the tar that do not shrink; where in the blob their blocks begin. */
  async store(pieces: readonly Uint8Array[]): Promise<number> {
    for (const piece of pieces) this.#hash.update(piece);
    await this.#compress();
    const at = this.#written;
    await this.#emit(this.#encoder.store(pieces));
    return at;
  }

  async finish(): Promise<Omit<WrittenArchive, 'stored'>> {
    await this.#compress();
    await this.#emit(this.#encoder.end());
    return { size: this.#written, diffId: `sha256:${this.#hash.digest('hex')}` };
  }

  async #compress(): Promise<void> {
    if (this.#pendingSize === 0) return;
    const bytes = this.#pending.subarray(0, this.#pendingSize);
    this.#pendingSize = 0;
    await this.#emit(await this.#encoder.partBy(this.#deflate, bytes));
  }

  #reserve(size: number): void {
    if (size <= this.#pending.length) return;
    const wider = new Uint8Array(Math.min(PIECE, Math.max(size, this.#pending.length * 4)));
    wider.set(this.#pending.subarray(0, this.#pendingSize));
    this.#pending = wider;
  }

  async #emit(pieces: Iterable<Uint8Array>): Promise<void> {
    for (const piece of pieces) {
      this.#written += piece.length;
      await this.#write(piece);
    }
  }
}

async function deflateHere(bytes: Uint8Array): Promise<Uint8Array[]> {
  return deflatePart(bytes);
}

function sizeOf(file: ArchiveFile): number {
  const pieces = piecesOf(file);
  return pieces?.reduce((sum, piece) => sum + piece.length, 0) ?? (file.content as StreamedContent).size;
}

/** The content of a file that is in memory; undefined for one that streams. */
function piecesOf({ content }: ArchiveFile): readonly Uint8Array[] | undefined {
  if (content instanceof Uint8Array) return [content];
  return 'open' in content ? undefined : content;
}

async function addStream(tar: PackedTar, content: StreamedContent, name: string): Promise<void> {
  let size = 0;
  for await (const chunk of content.open()) {
    size += chunk.length;
    if (size <= content.size) await tar.add(chunk);
  }
  if (size !== content.size)
    throw new AccelError('internal', 'a file of an archive has another size than announced', {
      where: { name },
      expected: content.size,
      found: size,
    });
}

/** The header block of a file whose name fits into it. */
async function headerOf({ name, mode = 0o644 }: ArchiveFile, size: number): Promise<Uint8Array> {
  const archive = pack();
  // Only the header is wanted: the callback gets the error about the missing content.
  archive.entry({ name, mode, size, uid: 0, gid: 0, mtime: new Date(0), type: 'file' }, () => undefined);
  for await (const header of archive) return header as Uint8Array;
  throw new AccelError('internal', 'a tar header was not written', { where: { name } });
}

/**
 * Takes an archive apart. Throws an error of the given code for anything but a tar in which each file is present once, and
 * `limit-exceeded` for one that unpacks to too much.
 */
export async function unpackArchive(blob: Uint8Array, options: UnpackOptions): Promise<UnpackedArchive> {
  const isGzip = blob[0] === 0x1f && blob[1] === 0x8b;
  const tar = isGzip || options.allowPlain !== true ? gunzip(blob, options) : blob;
  return { files: filesOf(tar, options), diffId: diffIdOf(tar) };
}

/** The start of an archive: the files that it holds whole, and the one whose content comes next. */
export interface ArchiveFront {
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** The file of which there is the header and, of its `size` bytes of content, nothing yet. */
  readonly next?: { readonly name: string; readonly size: number };
}

/**
 * Takes the start of a gzip-compressed archive apart, up to a place where {@link WrittenArchive.stored} begins. Throws what
 * {@link unpackArchive} throws.
 */
export function unpackFront(blob: Uint8Array, options: UnpackOptions): ArchiveFront {
  const { files, open } = readFiles(gunzip(blob, options, { finishFlush: zlib.Z_SYNC_FLUSH }), options, false);
  return { files, ...(open === undefined || open.chunks.length > 0 ? {} : { next: open }) };
}

function gunzip(
  blob: Uint8Array,
  { name, code, maxUnpacked }: UnpackOptions,
  more: { readonly finishFlush?: number } = {},
): Uint8Array {
  try {
    return gunzipSync(blob, { ...more, maxOutputLength: maxUnpacked });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new AccelError('limit-exceeded', `${name} unpacks to too much`, { expected: maxUnpacked, cause });
    throw new AccelError(code, `${name} is not gzip-compressed or is damaged`, { cause });
  }
}

/** A file whose content has not all come. */
interface OpenFile {
  readonly name: string;
  readonly size: number;
  readonly chunks: Uint8Array[];
}

/** The regular files of a whole tar by name; other entries are passed over. */
function filesOf(tar: Uint8Array, options: UnpackOptions): Map<string, Uint8Array> {
  return readFiles(tar, options, true).files;
}

/** The files of a tar that ends here (`isWhole`) or goes on, and then the one that it is in. */
function readFiles(
  tar: Uint8Array,
  { name: what, code }: UnpackOptions,
  isWhole: boolean,
): { readonly files: Map<string, Uint8Array>; readonly open?: OpenFile } {
  const files = new Map<string, Uint8Array>();
  let open: OpenFile | undefined;
  const parser = new TarParser({
    entry({ name, type, size }) {
      if (type !== 'file') return;
      if (files.has(name)) throw new AccelError(code, `${what} has a file twice`, { where: { name } });
      open = { name, size, chunks: [] };
    },
    data(bytes) {
      open?.chunks.push(bytes);
    },
    entryEnd() {
      if (open !== undefined) files.set(open.name, Buffer.concat(open.chunks));
      open = undefined;
    },
  });
  try {
    parser.push(tar);
    if (isWhole) parser.end();
  } catch (cause) {
    if (cause instanceof AccelError && cause.code === code) throw cause;
    throw new AccelError(code, `the tar of ${what} is damaged`, { cause });
  }
  return { files, ...(open === undefined ? {} : { open }) };
}

function diffIdOf(tar: Uint8Array): string {
  return `sha256:${createHash('sha256').update(tar).digest('hex')}`;
}
