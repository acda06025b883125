/** One header block, checked and decoded. The dialect that its magic names decides which fields count. */
import { AccelError } from '../../base/error.ts';
import { BLOCK_SIZE, dialectOf, gnuHeader, starHeader, type TarDialect, textField, ustarHeader } from './layout.ts';
import { parseNumber } from './number.ts';

/** The fields of a header block as they are there, before any extension header overrides them. */
export interface RawHeader {
  readonly dialect: TarDialect;
  /** The type flag as a Latin-1 character; `'\0'` is the regular file of old archives. */
  readonly typeflag: string;
  /** Name with the prefix in front, where the dialect has one. */
  readonly name: string;
  readonly linkName: string;
  /** Permission bits alone; some writers put the file type above them. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of data that the header announces. */
  readonly size: number;
  /** Seconds since 1970, may be negative. */
  readonly mtime: number;
  /** Device numbers; read for device nodes alone, other types may have anything there. */
  readonly devMajor: number;
  readonly devMinor: number;
}

const at = ustarHeader.offsets;
const CHECKSUM_END = at.chksum + 8;
const SPACE = 0x20;

/** True if the block at `start` is all zeros, as the end of an archive is. */
export function isZeroBlock(bytes: Buffer, start: number): boolean {
  for (let i = start; i < start + BLOCK_SIZE; i++) if (bytes[i] !== 0) return false;
  return true;
}

const WORD = Uint32Array.BYTES_PER_ELEMENT;
const CHECKSUM_WORD = at.chksum / WORD;

/** Decodes the headers of one archive. */
export class HeaderDecoder {
  /** The memory of the headers by words: a view for each header would cost more than to add its bytes up. */
  #words: Uint32Array = new Uint32Array(0);

  /**
   * Decodes the header block at `start`. Throws `tar-invalid` if the checksum does not match (it is the sum of the bytes
   * with the checksum field as spaces; some old writers took the bytes as signed) or a field is not what it must be.
   */
  decode(bytes: Buffer, start: number): RawHeader {
    this.#verifyChecksum(bytes, start);
    const dialect = dialectOf(bytes, start);
    const typeflag = String.fromCharCode(bytes[start + at.typeflag]!);
    const isDevice = dialect !== 'v7' && (typeflag === '3' || typeflag === '4');
    const name = textField(bytes, start + at.name, 100);
    const prefix = prefixOf(bytes, start, dialect);
    const size = parseNumber(bytes, start + at.size, 12, 'size');
    if (size < 0) throw new AccelError('tar-invalid', 'the size is negative', { expected: 'at least 0', found: size });
    return {
      dialect,
      typeflag,
      name: prefix === '' ? name : `${prefix}/${name}`,
      linkName: textField(bytes, start + at.linkname, 100),
      mode: permissionBits(parseNumber(bytes, start + at.mode, 8, 'mode')),
      uid: parseNumber(bytes, start + at.uid, 8, 'uid'),
      gid: parseNumber(bytes, start + at.gid, 8, 'gid'),
      size,
      mtime: parseNumber(bytes, start + at.mtime, 12, 'mtime'),
      devMajor: isDevice ? parseNumber(bytes, start + at.devmajor, 8, 'devmajor') : 0,
      devMinor: isDevice ? parseNumber(bytes, start + at.devminor, 8, 'devminor') : 0,
    };
  }

  #verifyChecksum(bytes: Buffer, start: number): void {
    const stated = parseNumber(bytes, start + at.chksum, 8, 'chksum');
    if (stated === this.#sumOfWords(bytes, start)) return;
    let unsigned = 8 * SPACE;
    let high = 0;
    for (let i = 0; i < BLOCK_SIZE; i++) {
      if (i === at.chksum) i = CHECKSUM_END;
      const byte = bytes[start + i]!;
      unsigned += byte;
      high += byte >> 7;
    }
    // As a signed byte, each one from 0x80 on counts 256 less.
    if (stated === unsigned || stated === unsigned - 256 * high) return;
    throw new AccelError('tar-invalid', 'the checksum of a tar header is wrong', {
      expected: unsigned,
      found: stated,
      hint: 'the layer is not a tar archive, or it is damaged: build or push the image again',
    });
  }

  /** The sum of a header's bytes, four at a time, with the checksum field as spaces; -1 where it is not at a whole word. */
  #sumOfWords(bytes: Buffer, start: number): number {
    const first = bytes.byteOffset + start;
    if (first % WORD !== 0) return -1;
    if (this.#words.buffer !== bytes.buffer)
      this.#words = new Uint32Array(bytes.buffer, 0, Math.floor(bytes.buffer.byteLength / WORD));
    const words = this.#words;
    const from = first / WORD;
    // Two sums side by side, of two bytes of each word: 16 bits hold either.
    let pairs = 0;
    for (let i = from; i < from + CHECKSUM_WORD; i++) {
      const word = words[i]!;
      pairs += (word & 0xff_00ff) + ((word >>> 8) & 0xff_00ff);
    }
    for (let i = from + CHECKSUM_WORD + 2; i < from + BLOCK_SIZE / WORD; i++) {
      const word = words[i]!;
      if (word !== 0) pairs = (pairs + (word & 0xff_00ff) + ((word >>> 8) & 0xff_00ff)) | 0;
    }
    return 8 * SPACE + (pairs & 0xffff) + (pairs >>> 16);
  }
}

function permissionBits(mode: number): number {
  if (mode < 0) throw new AccelError('tar-invalid', 'the mode is negative', { found: mode });
  return mode % 0o10000;
}

function prefixOf(bytes: Buffer, start: number, dialect: TarDialect): string {
  if (dialect === 'ustar') return textField(bytes, start + at.prefix, 155);
  if (dialect === 'star') return textField(bytes, start + starHeader.offsets.prefix, 131);
  if (dialect === 'gnu') return misplacedPrefix(bytes, start);
  return '';
}

/**
 * Go before 1.8 wrote a ustar prefix into GNU headers, where two times belong, and images of that age are still around.
 * Such a prefix differs from times in that it is not a number (golang/go#12594).
 */
function misplacedPrefix(bytes: Buffer, start: number): string {
  const { atime, ctime } = gnuHeader.offsets;
  if (isTime(bytes, start + atime) && isTime(bytes, start + ctime)) return '';
  const prefix = textField(bytes, start + at.prefix, 155);
  return /^[\x20-\x7e]*$/.test(prefix) ? prefix : '';
}

function isTime(bytes: Buffer, start: number): boolean {
  return (bytes[start]! & 0x80) !== 0 || /^[\0 ]*[0-7]*(?:[\0 ]|$)/.test(bytes.toString('latin1', start, start + 12));
}
