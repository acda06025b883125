/** Entries of directory blocks, written and read. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { viewOf } from '../bytes/struct.ts';
import { BLOCK_SIZE, direntHeader } from './layout.ts';

const at = direntHeader.offsets;

/** Bytes of the entry for a name of `length` bytes, padded to 4. */
export function entrySize(length: number): number {
  return (direntHeader.size + length + 3) & ~3;
}

const NO_NAME = new Uint8Array(0);

/** The inode that an entry names, and the number of its type in `DIRENT_TYPE`. */
export interface EntryTarget {
  readonly inode: number;
  readonly type: number;
}

/** A block of entries in the making; the last one reaches to the end of the block. */
export class EntryBlock {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #next = 0;
  #last = -1;

  /** `memory`: a block's bytes to use again. */
  constructor(memory: Uint8Array = new Uint8Array(BLOCK_SIZE)) {
    this.bytes = memory.fill(0);
    this.#view = viewOf(memory);
  }

  /** Appends an entry whose name is `length` bytes of `memory` from `start` on. */
  add(memory: Uint8Array, start: number, length: number, { inode, type }: EntryTarget): void {
    const offset = this.#next;
    const { bytes } = this;
    this.#view.setUint32(offset + at.inode, inode, true);
    bytes[offset + at.name_len] = length;
    bytes[offset + at.file_type] = type;
    // A loop: for so few bytes a view and a call into native code would take longer.
    for (let i = 0, to = offset + direntHeader.size; i < length; i++) bytes[to + i] = memory[start + i]!;
    this.#next += entrySize(length);
    if (this.#last >= 0) this.#setLength(this.#last, offset - this.#last);
    this.#last = offset;
    this.#setLength(offset, BLOCK_SIZE - offset);
  }

  /** Appends an entry that names nothing, so that all of the block is covered by entries. */
  addUnused(): void {
    this.add(NO_NAME, 0, 0, { inode: 0, type: 0 });
  }

  #setLength(offset: number, length: number): void {
    this.#view.setUint16(offset + at.rec_len, length, true);
  }
}

/** An entry of a directory as it was read. `type` is the number of `DIRENT_TYPE`. */
export interface RawDirent {
  readonly name: string;
  readonly inode: number;
  readonly type: number;
}

/** The used entries of a directory block, `.` and `..` included. AccelError `ext4-invalid` for broken lengths. */
export function decodeDirectoryBlock(bytes: Uint8Array, where: { readonly inode: number }): RawDirent[] {
  const view = viewOf(bytes);
  const out: RawDirent[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const fits = offset + direntHeader.size <= bytes.length;
    const length = fits ? view.getUint16(offset + at.rec_len, true) || 0x1_0000 : 0;
    const nameLength = fits ? bytes[offset + at.name_len]! : 0;
    if (length < direntHeader.size + nameLength || length % 4 !== 0 || offset + length > bytes.length) {
      throw new AccelError('ext4-invalid', 'a directory entry is damaged', {
        where: { ...where, byte: offset },
        found: `length ${length}`,
      });
    }
    const inode = view.getUint32(offset + at.inode, true);
    if (inode !== 0 && nameLength > 0) {
      const start = offset + direntHeader.size;
      const name = Buffer.from(bytes.buffer, bytes.byteOffset + start, nameLength).toString('latin1');
      // Whoever copies a tree out of a hostile image may trust that a name is one component of a path.
      if (name.includes('/') || name.includes('\0')) {
        throw new AccelError('ext4-invalid', 'invalid name of a directory entry', {
          where: { ...where, byte: offset },
          found: printable(name),
        });
      }
      out.push({ name, inode, type: bytes[offset + at.file_type]! });
    }
    offset += length;
  }
  return out;
}
