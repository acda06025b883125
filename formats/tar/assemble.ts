/** From a header block and the extensions before it to the entry that they mean together. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import type { TarEntry, TarEntryType, TarTime } from './entry.ts';
import type { RawHeader } from './header.ts';
import { parseDecimal } from './number.ts';
import { collectXattrs, type PaxRecords, paxText, paxTime } from './pax.ts';
import { type PaxSparse, paxSparse } from './sparse.ts';
import type { TarLimits } from './tar-limits.ts';

/** Extensions that came before a header and belong to it. */
export interface Extensions {
  /** Byte of the tar of the first extension header, or of the header itself if it has no extension. */
  readonly headerOffset: number;
  /** Records of the PAX header for this entry. */
  readonly records: PaxRecords;
  /** Name of a GNU `L` header. */
  readonly longName: string | undefined;
  /** Link target of a GNU `K` header. */
  readonly longLink: string | undefined;
}

/** An entry in the making: `packedSize`, `dataOffset` and `sparse` are filled in when a sparse map has been read. */
export type OpenEntry = { -readonly [K in keyof TarEntry]: TarEntry[K] };

/** An entry whose sparse map, if it has one, is still to be read. */
export interface Draft {
  readonly entry: OpenEntry;
  /** Bytes that follow the header, without padding; for a sparse file of format 1.0 the map is among them. */
  readonly storedSize: number;
  /** Where the sparse map is: in GNU headers, in PAX records, in front of the data, or nowhere. */
  readonly sparseMap: 'gnu' | 'records' | 'data' | 'none';
  /** Bytes behind the header of an entry that is no file: skipped (the name list of a GNU dump directory). */
  readonly skippedSize: number;
}

const TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
  // A file whose author wished for contiguous storage.
  '7': 'file',
  // A directory of a GNU incremental dump, with the list of its names as data.
  D: 'directory',
  S: 'file',
};

const NO_XATTRS: ReadonlyMap<string, Uint8Array> = new Map();
const LARGEST_U32 = 2 ** 32 - 1;

/** Applies the extensions to a header. `realSize` is the logical size that a GNU `S` header states. */
export function assemble(header: RawHeader, extensions: Extensions, realSize: number, limits: TarLimits): Draft {
  const { records } = extensions;
  const known = TYPES[header.typeflag];
  if (known === undefined) throw unknownType(header);
  const pax = records.size === 0 ? undefined : paxSparse(records);
  const name = extensions.longName ?? pax?.name ?? paxText(records, 'path') ?? header.name;
  if (name === '') throw new AccelError('tar-invalid', 'an entry has no name', { expected: 'a path' });
  // Archives older than ustar have no type for directories.
  const type = header.typeflag === '\0' && name.endsWith('/') ? 'directory' : known;
  const sparseMap = sparseMapOf(header, type, pax);
  // Types without data have none whatever their size field says (POSIX; Go and libarchive read it so, too).
  const hasData = type === 'file' || header.typeflag === 'D';
  const storedSize = hasData ? (number(records, 'size') ?? header.size) : 0;
  const size = type !== 'file' ? 0 : sparseMap === 'gnu' ? realSize : (pax?.size ?? storedSize);
  if (size > limits.fileSize || storedSize > limits.fileSize) throw tooLarge(Math.max(size, storedSize), limits);
  const isLink = type === 'link' || type === 'symlink';
  const linkName = isLink ? (extensions.longLink ?? paxText(records, 'linkpath') ?? header.linkName) : '';
  if (isLink && linkName === '') throw new AccelError('tar-invalid', `a ${type} has no target`);
  return {
    entry: {
      name,
      type,
      linkName,
      mode: header.mode,
      uid: unsigned32('uid', number(records, 'uid') ?? header.uid),
      gid: unsigned32('gid', number(records, 'gid') ?? header.gid),
      mtime: mtimeOf(records, header),
      size,
      packedSize: 0,
      devMajor: unsigned32('devmajor', header.devMajor),
      devMinor: unsigned32('devminor', header.devMinor),
      xattrs: xattrsOf(records),
      sparse: undefined,
      headerOffset: extensions.headerOffset,
      dataOffset: 0,
    },
    storedSize: type === 'file' ? storedSize : 0,
    sparseMap,
    skippedSize: header.typeflag === 'D' ? storedSize : 0,
  };
}

function sparseMapOf(header: RawHeader, type: TarEntryType, pax: PaxSparse | undefined): Draft['sparseMap'] {
  if (header.typeflag === 'S') {
    if (header.dialect === 'gnu' && pax === undefined) return 'gnu';
    throw new AccelError('tar-invalid', 'a sparse file in a form that is not known', {
      expected: 'type S in an archive of GNU tar',
      found: pax === undefined ? `type S in the ${header.dialect} dialect` : 'type S with PAX sparse records',
      hint: 'rebuild the layer without sparse files (tar without --sparse)',
    });
  }
  if (pax === undefined) return 'none';
  if (type !== 'file') throw new AccelError('tar-invalid', `a ${type} is marked as a sparse file`);
  return pax.mapInData ? 'data' : 'records';
}

function number(records: PaxRecords, key: string): number | undefined {
  const text = paxText(records, key);
  return text === undefined ? undefined : parseDecimal(text, `the PAX record ${key}`);
}

/** An owner, a group or a device number: 32 bits without a sign. */
function unsigned32(field: string, value: number): number {
  if (value >= 0 && value <= LARGEST_U32) return value;
  throw new AccelError('tar-invalid', `the ${field} is out of range`, {
    expected: `0 to ${LARGEST_U32}`,
    found: value,
  });
}

function mtimeOf(records: PaxRecords, header: RawHeader): TarTime {
  return paxTime(records, 'mtime') ?? { seconds: header.mtime, nanoseconds: 0 };
}

/** Attributes by the records they came in: entries under one global header share the records and so the attributes. */
const xattrsByRecords = new WeakMap<PaxRecords, ReadonlyMap<string, Uint8Array>>();

function xattrsOf(records: PaxRecords): ReadonlyMap<string, Uint8Array> {
  if (records.size === 0) return NO_XATTRS;
  const before = xattrsByRecords.get(records);
  if (before !== undefined) return before;
  const xattrs = new Map<string, Uint8Array>();
  collectXattrs(records, xattrs);
  const found = xattrs.size === 0 ? NO_XATTRS : xattrs;
  xattrsByRecords.set(records, found);
  return found;
}

function tooLarge(size: number, limits: TarLimits): AccelError {
  return new AccelError('limit-exceeded', 'a file is too large', {
    expected: `at most ${limits.fileSize} bytes`,
    found: size,
  });
}

function unknownType(header: RawHeader): AccelError {
  return new AccelError('tar-invalid', 'an entry of a type that a container layer cannot hold', {
    expected: 'a file, link, symlink, device, directory or fifo',
    found: `type '${printable(header.typeflag)}'`,
    hint:
      header.typeflag === 'M' || header.typeflag === 'N'
        ? 'multi-volume and very old GNU archives are no container layers: build the layer again'
        : 'build the layer with a tar that writes ustar, GNU or PAX archives',
  });
}
