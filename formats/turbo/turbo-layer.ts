/**
 * The blob of an index-only layer (docs/formats.md §5): a gzip-compressed tar of `ext4.fs.meta`, `.turbo.ociv1` and, for
 * a gzip source layer, `gzip.meta`.
 */
import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { gzipSync } from 'fflate';
import { pack } from 'tar-stream';
import { AccelError } from '../../base/error.ts';
import { TarParser } from '../tar/parser.ts';

/** Name of the metadata: a ZFile over a warp LSMT, without a tar of its own. */
export const FS_META_NAME = 'ext4.fs.meta';
/** Name of the empty file that marks the layer. */
export const MARKER_NAME = '.turbo.ociv1';
/** Name of the random-access index into a gzip source layer. */
export const GZIP_INDEX_NAME = 'gzip.meta';

/** What an index-only layer is made of. */
export interface TurboLayer {
  /** The ZFile. */
  readonly fsMeta: Uint8Array;
  /** The `ddgzidx` index; absent when the source layer is a plain tar. */
  readonly gzipIndex?: Uint8Array;
}

/** A packed index-only layer. */
export interface PackedTurboLayer {
  /** What is pushed. */
  readonly blob: Uint8Array;
  /** `sha256:` and the hash of the uncompressed tar: the layer's entry in `rootfs.diff_ids`. */
  readonly diffId: string;
}

/** fflate's level: past it the blob hardly shrinks, its parts are compressed already. */
const GZIP_LEVEL = 6;
/** What a blob may unpack to by default: the metadata of an image of some 100 GB. */
const DEFAULT_MAX_UNPACKED = 1 << 30;

/** Packs a layer. The same parts give the same bytes everywhere: no times, owners or names of the machine. */
export async function packTurboLayer(layer: {
  readonly fsMeta: Uint8Array | readonly Uint8Array[];
  readonly gzipIndex?: Uint8Array;
}): Promise<PackedTurboLayer> {
  const archive = pack();
  const add = (name: string, content: Buffer): void => {
    archive.entry({ name, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0), type: 'file' }, content);
  };
  add(FS_META_NAME, Buffer.concat(layer.fsMeta instanceof Uint8Array ? [layer.fsMeta] : layer.fsMeta));
  add(MARKER_NAME, Buffer.alloc(0));
  if (layer.gzipIndex !== undefined) add(GZIP_INDEX_NAME, Buffer.from(layer.gzipIndex));
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  const tar = Buffer.concat(chunks);
  return { blob: gzipSync(tar, { level: GZIP_LEVEL, mtime: 0 }), diffId: diffIdOf(tar) };
}

/**
 * Takes a layer's blob apart. Throws `turbo-invalid` for anything but a gzip-compressed tar of the expected files, and
 * `limit-exceeded` for one that unpacks to more than `maxUnpacked` bytes.
 */
export async function unpackTurboLayer(
  blob: Uint8Array,
  maxUnpacked = DEFAULT_MAX_UNPACKED,
): Promise<TurboLayer & { readonly diffId: string }> {
  const tar = gunzip(blob, maxUnpacked);
  const files = filesOf(tar);
  const fsMeta = files.get(FS_META_NAME);
  if (fsMeta === undefined || !files.has(MARKER_NAME))
    throw new AccelError('turbo-invalid', 'the index-only layer lacks a file', {
      expected: `${FS_META_NAME}, ${MARKER_NAME}`,
      found: [...files.keys()].join(', ') || 'nothing',
    });
  const gzipIndex = files.get(GZIP_INDEX_NAME);
  return { fsMeta, ...(gzipIndex === undefined ? {} : { gzipIndex }), diffId: diffIdOf(tar) };
}

function gunzip(blob: Uint8Array, maxOutputLength: number): Uint8Array {
  try {
    return gunzipSync(blob, { maxOutputLength });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new AccelError('limit-exceeded', 'the index-only layer unpacks to too much', {
        expected: maxOutputLength,
        cause,
      });
    throw new AccelError('turbo-invalid', 'the index-only layer is not gzip-compressed or is damaged', { cause });
  }
}

/** The regular files of a tar by name; what else stands in it is passed over. */
function filesOf(tar: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let open: { readonly name: string; readonly chunks: Uint8Array[] } | undefined;
  const parser = new TarParser({
    entry({ name, type }) {
      if (type !== 'file') return;
      if (files.has(name))
        throw new AccelError('turbo-invalid', 'the index-only layer has a file twice', { where: { name } });
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
    if (cause instanceof AccelError && cause.code === 'turbo-invalid') throw cause;
    throw new AccelError('turbo-invalid', 'the tar of the index-only layer is damaged', { cause });
  }
  return files;
}

function diffIdOf(tar: Uint8Array): string {
  return `sha256:${createHash('sha256').update(tar).digest('hex')}`;
}
