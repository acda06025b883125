/** Extended attributes: small ones behind the inode's fields, the others in one block (docs: Linux, ext4/attributes.rst). */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { viewOf } from '../bytes/struct.ts';
import { decodeAcl, encodeAcl } from './acl-codec.ts';
import { BLOCK_SIZE, INODE_SIZE, inodeStruct, XATTR_MAGIC, xattrEntry, xattrHeader } from './layout.ts';

/** Bytes for attributes behind an inode's fields, the magic included. */
const INLINE_SIZE = INODE_SIZE - inodeStruct.size;
const INLINE_HEADER = 4;
/** Entries end with four zero bytes. */
const TERMINATOR = 4;

const ACL_ACCESS = 2;
const ACL_DEFAULT = 3;

/** Name prefixes that have a number; the longer ones first, so that the first match is the right one. */
const PREFIXES: readonly { readonly prefix: string; readonly index: number; readonly whole?: true }[] = [
  { prefix: 'system.posix_acl_access', index: ACL_ACCESS, whole: true },
  { prefix: 'system.posix_acl_default', index: ACL_DEFAULT, whole: true },
  { prefix: 'system.richacl', index: 8, whole: true },
  { prefix: 'user.', index: 1 },
  { prefix: 'trusted.', index: 4 },
  { prefix: 'security.', index: 6 },
  { prefix: 'system.', index: 7 },
];

interface StoredXattr {
  readonly index: number;
  readonly name: string;
  readonly value: Uint8Array;
}

/** The attributes of an inode as they are stored. */
export interface EncodedXattrs {
  /** For the inode's tail; undefined when nothing lies there. */
  readonly inline: Uint8Array | undefined;
  /** For the attribute block; undefined when none is needed. */
  readonly block: Uint8Array | undefined;
}

/**
 * Checks that attributes can be stored, names in Latin-1 with their prefix (all of a known namespace). AccelError
 * `limit-exceeded` when they do not fit the inode and one block; `layer-unsupported` for a malformed ACL.
 */
export function checkXattrs(xattrs: ReadonlyMap<string, Uint8Array>): void {
  place(xattrs);
}

/** Encodes attributes. Throws what {@link checkXattrs} throws. */
export function encodeXattrs(xattrs: ReadonlyMap<string, Uint8Array>): EncodedXattrs {
  const { inline, rest } = place(xattrs);
  return {
    inline: inline.length > 0 ? encodeInline(inline) : undefined,
    block: rest.length > 0 ? encodeBlock(rest) : undefined,
  };
}

/** Divides attributes between the inode's tail and the block. */
function place(xattrs: ReadonlyMap<string, Uint8Array>): {
  readonly inline: readonly StoredXattr[];
  readonly rest: readonly StoredXattr[];
} {
  const stored = Array.from(xattrs, ([name, value]) => toStored(name, value)).sort(inKernelOrder);
  const inline: StoredXattr[] = [];
  const rest: StoredXattr[] = [];
  let room = INLINE_SIZE - INLINE_HEADER - TERMINATOR;
  for (const xattr of stored) {
    const size = storedSize(xattr);
    if (size <= room) {
      inline.push(xattr);
      room -= size;
    } else rest.push(xattr);
  }
  const needed = rest.reduce((sum, xattr) => sum + storedSize(xattr), xattrHeader.size + TERMINATOR);
  if (needed > BLOCK_SIZE) {
    throw new AccelError('limit-exceeded', 'the extended attributes of a file do not fit one block', {
      expected: `at most ${BLOCK_SIZE} bytes with names`,
      found: `${needed} bytes in ${rest.length} attributes, the largest ${printable(rest.reduce((a, b) => (a.value.length > b.value.length ? a : b)).name)}`,
    });
  }
  return { inline, rest };
}

function toStored(name: string, value: Uint8Array): StoredXattr {
  const known = PREFIXES.find((p) => (p.whole ? name === p.prefix : name.startsWith(p.prefix)));
  if (known === undefined) throw new AccelError('internal', `attribute ${name} has no namespace`);
  const isAcl = known.index === ACL_ACCESS || known.index === ACL_DEFAULT;
  const suffix = name.slice(known.prefix.length);
  if (suffix.length > 255)
    throw new AccelError('limit-exceeded', 'the name of an extended attribute is too long', {
      expected: 255,
      found: suffix.length,
    });
  return { index: known.index, name: suffix, value: isAcl ? encodeAcl(value) : value };
}

/** The order in which the kernel searches a block. */
function inKernelOrder(a: StoredXattr, b: StoredXattr): number {
  return a.index - b.index || a.name.length - b.name.length || (a.name < b.name ? -1 : 1);
}

const align = (size: number): number => (size + 3) & ~3;

function storedSize(xattr: StoredXattr): number {
  return align(xattrEntry.size + xattr.name.length) + align(xattr.value.length);
}

function encodeInline(xattrs: readonly StoredXattr[]): Uint8Array {
  const out = new Uint8Array(INLINE_SIZE);
  viewOf(out).setUint32(0, XATTR_MAGIC, true);
  // Offsets of values count from the first entry.
  writeEntries(out, INLINE_HEADER, INLINE_HEADER, xattrs);
  return out;
}

function encodeBlock(xattrs: readonly StoredXattr[]): Uint8Array {
  const out = new Uint8Array(BLOCK_SIZE);
  const hashes = writeEntries(out, xattrHeader.size, 0, xattrs);
  const hash = hashes.reduce((all, one) => ((all << 16) ^ (all >>> 16) ^ one) >>> 0, 0);
  xattrHeader.write(out, 0, { h_magic: XATTR_MAGIC, h_refcount: 1, h_blocks: 1, h_hash: hash });
  return out;
}

/** Entries from `first` on, values from the end of `out` down; returns the entries' hashes. */
function writeEntries(out: Uint8Array, first: number, base: number, xattrs: readonly StoredXattr[]): number[] {
  let at = first;
  let end = out.length;
  return xattrs.map((xattr) => {
    const hash = hashEntry(xattr);
    if (xattr.value.length > 0) {
      end -= align(xattr.value.length);
      out.set(xattr.value, end);
    }
    xattrEntry.write(out, at, {
      e_name_len: xattr.name.length,
      e_name_index: xattr.index,
      e_value_offs: xattr.value.length > 0 ? end - base : 0,
      e_value_size: xattr.value.length,
      e_hash: hash,
    });
    out.set(Buffer.from(xattr.name, 'latin1'), at + xattrEntry.size);
    at += align(xattrEntry.size + xattr.name.length);
    return hash;
  });
}

function hashEntry(xattr: StoredXattr): number {
  let hash = 0;
  for (let i = 0; i < xattr.name.length; i++) hash = ((hash << 5) ^ (hash >>> 27) ^ xattr.name.charCodeAt(i)) >>> 0;
  const words = new Uint8Array(align(xattr.value.length));
  words.set(xattr.value);
  const view = viewOf(words);
  for (let at = 0; at < words.length; at += 4) hash = ((hash << 16) ^ (hash >>> 16) ^ view.getUint32(at, true)) >>> 0;
  return hash;
}

/**
 * Reads the attributes of an inode from its tail and its attribute block (either may be absent). Names with prefix, in
 * Latin-1. AccelError `ext4-invalid` when an entry points outside.
 */
export function decodeXattrs(
  tail: Uint8Array,
  block: Uint8Array | undefined,
  where: { readonly inode: number },
): Map<string, Uint8Array> {
  const out = new Map<string, Uint8Array>();
  if (tail.length >= INLINE_HEADER && viewOf(tail).getUint32(0, true) === XATTR_MAGIC) {
    for (const [name, value] of readEntries(tail, INLINE_HEADER, INLINE_HEADER, where)) out.set(name, value);
  }
  if (block !== undefined) {
    const header = xattrHeader.read(block);
    if (header.h_magic !== XATTR_MAGIC) {
      throw new AccelError('ext4-invalid', 'a block of extended attributes is damaged', {
        where,
        expected: XATTR_MAGIC,
        found: header.h_magic,
      });
    }
    for (const [name, value] of readEntries(block, xattrHeader.size, 0, where)) out.set(name, value);
  }
  return out;
}

/** The entries from `first` on, by full name; offsets of values count from `base`. */
function* readEntries(
  bytes: Uint8Array,
  first: number,
  base: number,
  where: { readonly inode: number },
): Generator<readonly [name: string, value: Uint8Array]> {
  for (let at = first; at + TERMINATOR <= bytes.length && viewOf(bytes).getUint32(at, true) !== 0; ) {
    const fits = at + xattrEntry.size <= bytes.length;
    const entry = fits ? xattrEntry.read(bytes, at) : undefined;
    const start = base + (entry?.e_value_offs ?? 0);
    const nameEnd = at + xattrEntry.size + (entry?.e_name_len ?? 0);
    if (
      entry === undefined ||
      entry.e_value_inum !== 0 ||
      nameEnd > bytes.length ||
      start + entry.e_value_size > bytes.length
    ) {
      throw new AccelError('ext4-invalid', 'an extended attribute is damaged', { where: { ...where, byte: at } });
    }
    const suffix = Buffer.from(bytes.subarray(at + xattrEntry.size, nameEnd)).toString('latin1');
    const prefix = PREFIXES.find((p) => p.index === entry.e_name_index)?.prefix ?? `unknown-${entry.e_name_index}.`;
    const value = bytes.slice(start, start + entry.e_value_size);
    const isAcl = entry.e_name_index === ACL_ACCESS || entry.e_name_index === ACL_DEFAULT;
    yield [prefix + suffix, isAcl ? decodeAcl(value) : value];
    at = align(nameEnd);
  }
}
