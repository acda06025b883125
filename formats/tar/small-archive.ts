/**
 * The small tars that some artifacts are: a handful of files, packed the same everywhere, unpacked within bounds. The
 * layers of an image go through parser.ts instead.
 */
import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { AccelError, type AccelErrorCode } from '../../base/error.ts';
import { type GzipPart, gzipDeterministic } from '../gzip/writer.ts';
import { BLOCK_SIZE } from './layout.ts';
import { TarParser } from './parser.ts';

const LEVEL = 6;

/** A file of an archive. */
export interface ArchiveFile {
  readonly name: string;
  readonly content: Uint8Array;
  /** Permission bits; 0644 unless given. */
  readonly mode?: number;
  /** Whether packing it again would gain nothing: it is stored then. */
  readonly isPacked?: boolean;
}

/** A packed archive. */
export interface PackedArchive {
  /** The gzip-compressed tar. */
  readonly blob: Uint8Array;
  /** `sha256:` and the hash of the uncompressed tar: a layer's entry in `rootfs.diff_ids`. */
  readonly diffId: string;
}

/** An archive that was taken apart. */
export interface UnpackedArchive {
  /** The regular files by name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** See {@link PackedArchive.diffId}. */
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
  const archive = pack();
  for (const { name, content, mode = 0o644 } of files) {
    const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
    archive.entry({ name, mode, uid: 0, gid: 0, mtime: new Date(0), type: 'file' }, bytes);
  }
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  const tar = Buffer.concat(chunks);
  return { blob: gzipDeterministic(partsOf(tar, files)), diffId: diffIdOf(tar) };
}

/** The parts of a tar of these files, whose names are so short that each header is one block. */
function partsOf(tar: Uint8Array, files: readonly ArchiveFile[]): GzipPart[] {
  const parts: GzipPart[] = [];
  let packed = 0;
  let at = 0;
  for (const { content, isPacked } of files) {
    const start = at + BLOCK_SIZE;
    at = start + Math.ceil(content.length / BLOCK_SIZE) * BLOCK_SIZE;
    if (isPacked !== true) continue;
    const end = start + content.length;
    parts.push({ bytes: tar.subarray(packed, start), level: LEVEL }, { bytes: tar.subarray(start, end), level: 0 });
    packed = end;
  }
  return [...parts, { bytes: tar.subarray(packed), level: LEVEL }];
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

function gunzip(blob: Uint8Array, { name, code, maxUnpacked }: UnpackOptions): Uint8Array {
  try {
    return gunzipSync(blob, { maxOutputLength: maxUnpacked });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new AccelError('limit-exceeded', `${name} unpacks to too much`, { expected: maxUnpacked, cause });
    throw new AccelError(code, `${name} is not gzip-compressed or is damaged`, { cause });
  }
}

/** The regular files of a tar by name; other entries are passed over. */
function filesOf(tar: Uint8Array, { name: what, code }: UnpackOptions): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let open: { readonly name: string; readonly chunks: Uint8Array[] } | undefined;
  const parser = new TarParser({
    entry({ name, type }) {
      if (type !== 'file') return;
      if (files.has(name)) throw new AccelError(code, `${what} has a file twice`, { where: { name } });
      open = { name, chunks: [] };
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
    parser.end();
  } catch (cause) {
    if (cause instanceof AccelError && cause.code === code) throw cause;
    throw new AccelError(code, `the tar of ${what} is damaged`, { cause });
  }
  return files;
}

function diffIdOf(tar: Uint8Array): string {
  return `sha256:${createHash('sha256').update(tar).digest('hex')}`;
}
