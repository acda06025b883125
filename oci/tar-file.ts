/** Reads a tar on disk in place: indexes its members by their headers, once, and never unpacks them. */
import { Readable } from 'node:stream';
import { extract, type Header, pack } from 'tar-stream';
import { AccelError, asAccelError, type ErrorPlace } from '../base/error.ts';
import type { DiskFile } from '../disk/disk-file.ts';

/** A member of a tar, with the position of its content in the file. Offsets and sizes are in bytes. */
export interface TarMember {
  readonly name: string;
  /** `link` covers hard and symbolic links. */
  readonly kind: 'file' | 'link' | 'other';
  readonly offset: number;
  readonly size: number;
  /** Target of a link, as a name of the archive. */
  readonly linkName?: string;
  /** The kind in messages, if it is neither a file nor a link. */
  readonly what?: string;
}

const BLOCK = 512;
/** Largest headers of one member in bytes, PAX records included. */
const MAX_HEAD = 1 << 20;
/** Largest number of members; an archive of images has some hundreds. */
const MAX_MEMBERS = 100_000;

/**
 * Reads the headers of a tar of `size` bytes; of several members with one name the last one counts. Throws `layout-invalid`
 * if the file is not a tar, is compressed or is cut off.
 */
export async function readMembers(
  file: DiskFile,
  size: number,
  where: ErrorPlace,
): Promise<ReadonlyMap<string, TarMember>> {
  const members = new Map<string, TarMember>();
  for (let at = 0, count = 0; at < size; count += 1) {
    const head = await file.read(at, Math.min(BLOCK, size - at));
    if (at === 0) refuseCompressed(head, where);
    if (head.every((byte) => byte === 0)) break;
    if (count >= MAX_MEMBERS) {
      throw new AccelError('limit-exceeded', 'the archive has too many members', { where, expected: MAX_MEMBERS });
    }
    const { header, contentAt } = await readHeader(file, at, size, where);
    const length = header.type === 'file' || header.type === 'contiguous-file' ? (header.size ?? 0) : 0;
    if (contentAt + length > size) {
      throw broken({ ...where, member: header.name, offset: at }, `${length} bytes of content`, 'the end of the file');
    }
    const name = plainName(header.name);
    if (header.type === 'file' || header.type === 'contiguous-file') {
      members.set(name, { name, kind: 'file', offset: contentAt, size: length });
    } else if (header.type === 'link' || header.type === 'symlink') {
      const base = header.type === 'symlink' ? name.slice(0, name.lastIndexOf('/') + 1) : '';
      const linkName = plainName(`${base}${header.linkname ?? ''}`);
      members.set(name, { name, kind: 'link', offset: contentAt, size: 0, linkName });
    } else {
      const what = header.type === 'directory' ? 'a directory' : `a special file (${header.type})`;
      members.set(name, { name, kind: 'other', offset: contentAt, size: 0, what });
    }
    at = contentAt + Math.ceil(length / BLOCK) * BLOCK;
  }
  return members;
}

/** A member to write: a file of `size` bytes. */
export interface NewMember {
  readonly name: string;
  readonly size: number;
  readonly stream: AsyncIterable<Uint8Array>;
}

/**
 * Writes a member to a tar at offset `at`, followed by an end of archive. Returns the offset of that end, where the next
 * member goes. If the stream fails, rejects with its error and leaves garbage after `at`.
 */
export async function writeMember(
  file: DiskFile,
  at: number,
  { name, size, stream }: NewMember,
  signal?: AbortSignal,
): Promise<number> {
  const packer = pack();
  let end = at;
  const writing = (async () => {
    for await (const chunk of packer as AsyncIterable<Uint8Array>) {
      await file.write(chunk, end);
      end += chunk.length;
    }
  })();
  // Awaited below; until then a failure must not count as unhandled.
  writing.catch(() => undefined);
  try {
    // Fixed owner, mode and time: the same content, the same header.
    const entry = packer.entry({ name, size, type: 'file', mode: 0o644, mtime: new Date(0) });
    for await (const chunk of stream) {
      signal?.throwIfAborted();
      if (chunk.length > 0 && !entry.write(chunk)) {
        await Promise.race([new Promise<void>((resolve) => entry.once('drain', () => resolve())), writing]);
      }
    }
    entry.end(undefined);
    packer.finalize();
    await writing;
  } catch (error) {
    packer.destroy();
    await writing.catch(() => undefined);
    throw signal?.aborted ? error : asAccelError(error);
  }
  return end - 2 * BLOCK;
}

/** Reads one member's header with the PAX and GNU records before it, and finds the offset of its content. */
async function readHeader(
  file: DiskFile,
  at: number,
  size: number,
  where: ErrorPlace,
): Promise<{ readonly header: Header; readonly contentAt: number }> {
  const limit = Math.min(size - at, MAX_HEAD);
  let found: { header: Header; contentAt: number } | undefined;
  const blocks = async function* () {
    const step = 4 * BLOCK;
    for (let offset = 0; offset < limit && found === undefined; offset += step) {
      yield await file.read(at + offset, Math.min(step, limit - offset));
    }
  };
  // Names are bytes, which latin1 preserves.
  const parser = extract({ filenameEncoding: 'latin1' } as Parameters<typeof extract>[0]);
  const source = Readable.from(blocks());
  try {
    await new Promise<void>((resolve, reject) => {
      parser.on('entry', (header) => {
        // tar-stream counts the bytes before the content, though its types do not say so.
        const { byteOffset } = header as Header & { byteOffset: number };
        found = { header, contentAt: at + byteOffset };
        resolve();
      });
      parser.on('error', reject);
      parser.on('finish', resolve);
      source.on('error', reject);
      source.pipe(parser);
    });
  } catch (error) {
    if (error instanceof AccelError) throw error;
    throw broken({ ...where, offset: at }, 'a tar header', error instanceof Error ? error.message : String(error));
  } finally {
    source.unpipe(parser);
    source.destroy();
    parser.on('error', () => undefined);
    parser.destroy();
  }
  if (found === undefined) throw broken({ ...where, offset: at }, 'a tar header', 'no header within its bounds');
  return found;
}

/** Throws for a compressed archive, which cannot be read in place. */
function refuseCompressed(head: Uint8Array, where: ErrorPlace): void {
  const magic = Buffer.from(head.subarray(0, 4)).toString('hex');
  const tool = magic.startsWith('1f8b') ? 'gzip' : magic === '28b52ffd' ? 'zstd' : undefined;
  if (tool === undefined) return;
  throw new AccelError('layout-invalid', 'the archive is compressed; accel reads archives in place', {
    where,
    expected: 'a plain tar',
    found: tool,
    hint: `Unpack it first: ${tool} -dc FILE > FILE.tar`,
  });
}

/** Removes ./ and / at the start, and resolves . and .. within the archive. */
function plainName(name: string): string {
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

function broken(where: ErrorPlace, expected: string, found: string): AccelError {
  return new AccelError('layout-invalid', 'the archive cannot be read as a tar', {
    where,
    expected,
    found,
    hint: 'Check that it was copied whole.',
  });
}
