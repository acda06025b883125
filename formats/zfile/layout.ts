/**
 * The structures of a ZFile (docs/formats.md §2, formats/zfile/README.md): header and trailer in 512 bytes each and the
 * rules that the index obeys. Pure: nothing here reads or writes a file.
 */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import { bytes, reserved, struct, u8, u32, u64 } from '../bytes/struct.ts';
import { crc32c } from '../checksum/crc32c.ts';

/** Bytes that the header takes, and the trailer: the structure, then zeros. */
export const ZFILE_SPACE = 512;
/** Bytes of the checksum after each compressed block. */
export const BLOCK_CHECKSUM_SIZE = 4;
/** Bytes of an index entry: the u32 length of one compressed block, checksum included. */
export const INDEX_ENTRY_SIZE = 4;
/** Smallest block size in bytes. */
export const MIN_BLOCK_SIZE = 4096;
/** Largest block size in bytes. */
export const MAX_BLOCK_SIZE = 65_536;
/** The runtime keeps one absolute position for the blocks of so many bytes, and 16-bit distances from it. */
const GROUP_BYTES = 65_536;
/** Distances inside a group stay below this. */
const GROUP_LIMIT = 65_535;
/** The buffer that the runtime reads a compressed block into, checksum included (zfile.h, MAX_READ_SIZE). */
const RUNTIME_BUFFER = 65_536;

/** Largest block size, in KiB, at which the compressed form of any content fits the runtime's buffer and its groups. */
const SAFE_BLOCK_KIB = 32;

/** First 8 bytes of header and trailer. */
export const ZFILE_MAGIC0: Uint8Array = Uint8Array.of(0x5a, 0x46, 0x69, 0x6c, 0x65, 0, 1, 0);
/** The 16 bytes behind {@link ZFILE_MAGIC0}. */
export const ZFILE_MAGIC1: Uint8Array = Buffer.from('tuji.yyf@Alibaba', 'latin1');

/** Flag bit: this is the header (clear: the trailer). */
export const FLAG_HEADER = 1;
/** Flag bit: a data file. */
export const FLAG_DATA_FILE = 2;
/** Flag bit: complete; the trailer carries it. */
export const FLAG_SEALED = 4;
/** Flag bit: the header was overwritten with the trailer's values (the published specification: info_valid). */
export const FLAG_OVERWRITTEN = 8;
/** Flag bit: the digest field counts. */
export const FLAG_DIGEST = 16;

/** Header and trailer: one structure, distinguished by {@link FLAG_HEADER}. */
export const zfileStruct = struct('ZFile header', 96, {
  magic0: bytes(8),
  magic1: bytes(16),
  size: u32,
  digest: u32,
  flags: u64,
  indexOffset: u64,
  indexSize: u64,
  originalFileSize: u64,
  indexCrc: u32,
  reserved0: reserved(4),
  blockSize: u32,
  algo: u8,
  level: u8,
  useDict: u8,
  reserved1: reserved(5),
  dictSize: u32,
  verify: u8,
  reserved2: reserved(7),
});

/** The compressions of blocks; the number is the `algo` field. */
export const algorithmNumber = { lz4: 1, zstd: 2 } as const;
/** An algorithm by its name. */
export type ZFileAlgorithm = keyof typeof algorithmNumber;

/** The fields of a header or trailer that differ between files. Offsets and sizes in bytes, `indexSize` in entries. */
export interface ZFileHeader {
  readonly flags: number;
  readonly indexOffset: number;
  readonly indexSize: number;
  readonly originalFileSize: number;
  readonly indexCrc: number;
  readonly blockSize: number;
  readonly algorithm: ZFileAlgorithm;
}

/** A header or trailer with its digest, as the {@link ZFILE_SPACE} bytes that stand in the file. */
export function encodeZFileHeader(header: ZFileHeader): Uint8Array {
  const out = new Uint8Array(ZFILE_SPACE);
  zfileStruct.write(out, 0, {
    ...header,
    magic0: ZFILE_MAGIC0,
    magic1: ZFILE_MAGIC1,
    size: zfileStruct.size,
    algo: algorithmNumber[header.algorithm],
    verify: 1,
  });
  new DataView(out.buffer).setUint32(zfileStruct.offsets.digest, crc32c(out), true);
  return out;
}

/**
 * Reads and checks a header (`part: 'header'`) or trailer. Throws `zfile-invalid` for a wrong magic, structure size,
 * digest, flag, block size, algorithm, and for what no known writer uses: dictionaries, blocks without checksums, a
 * compressed index.
 */
export function decodeZFileHeader(space: Uint8Array, part: 'header' | 'trailer'): ZFileHeader {
  const check = (what: string, found: string | number, expected: string | number): void => {
    if (found !== expected)
      throw new AccelError('zfile-invalid', `the ZFile ${part} has the wrong ${what}`, {
        where: { part },
        expected,
        found,
      });
  };
  check('length', space.length, ZFILE_SPACE);
  const magicEnd = ZFILE_MAGIC0.length + ZFILE_MAGIC1.length;
  check('magic', hex(space.subarray(0, magicEnd)), hex(ZFILE_MAGIC0) + hex(ZFILE_MAGIC1));
  const { digest: digestAt } = zfileStruct.offsets;
  const withoutDigest = Uint8Array.from(space).fill(0, digestAt, digestAt + 4);
  const stored = new DataView(space.buffer, space.byteOffset).getUint32(digestAt, true);
  check('digest', stored.toString(16), crc32c(withoutDigest).toString(16));
  const raw = readChecked(space, part);
  check('structure size', raw.size, zfileStruct.size);
  if (part === 'header') check('flags', raw.flags & ~FLAG_OVERWRITTEN, FLAG_HEADER | FLAG_DATA_FILE | FLAG_DIGEST);
  else check('flags', raw.flags & ~FLAG_OVERWRITTEN, FLAG_DATA_FILE | FLAG_SEALED | FLAG_DIGEST);
  check('dictionary', raw.useDict || raw.dictSize, 0);
  check('verify field', raw.verify, 1);
  if (!isBlockSize(raw.blockSize))
    check('block size', raw.blockSize, `a power of two, ${MIN_BLOCK_SIZE} to ${MAX_BLOCK_SIZE}`);
  const algorithm = raw.algo === algorithmNumber.lz4 ? 'lz4' : 'zstd';
  check('algorithm', raw.algo, algorithmNumber[algorithm]);
  const { flags, indexOffset, indexSize, originalFileSize, indexCrc, blockSize } = raw;
  return { flags, indexOffset, indexSize, originalFileSize, indexCrc, blockSize, algorithm };
}

/** Whether a ZFile may have blocks of `size` bytes. */
export function isBlockSize(size: number): boolean {
  return size >= MIN_BLOCK_SIZE && size <= MAX_BLOCK_SIZE && Number.isInteger(Math.log2(size));
}

/**
 * Checks the lengths of compressed blocks one after another, as the runtime's jump table does: each is more than its
 * checksum and fits the runtime's buffer, and the blocks of a group (65536 / block size) end within 16 bits of the
 * group's start, but for the group's last one.
 */
export class LengthRules {
  readonly #blockSize: number;
  readonly #perGroup: number;
  readonly #code: 'zfile-invalid' | 'limit-exceeded';
  #block: number;
  #inGroup = 0;

  /**
   * `code`: what to throw, `zfile-invalid` for a file that is read and `limit-exceeded` for one that is written.
   * `first`: number of the block that comes first, one that begins a group.
   */
  constructor(blockSize: number, code: 'zfile-invalid' | 'limit-exceeded', first = 0) {
    this.#block = first;
    this.#blockSize = blockSize;
    this.#code = code;
    this.#perGroup = GROUP_BYTES / blockSize;
  }

  /** Takes the length of the next block; throws if a node would refuse it. */
  next(length: number): void {
    if (length <= BLOCK_CHECKSUM_SIZE || length > RUNTIME_BUFFER) {
      throw this.#invalid(
        "a compressed block has a length that overlaybd's reader refuses",
        `${BLOCK_CHECKSUM_SIZE + 1} to ${RUNTIME_BUFFER} bytes with its checksum, the size of the reader's buffer`,
        length,
      );
    }
    this.#block++;
    if (this.#block % this.#perGroup === 0) {
      this.#inGroup = 0;
      return;
    }
    this.#inGroup += length;
    if (this.#inGroup >= GROUP_LIMIT) {
      throw this.#invalid(
        "the compressed blocks of a group take more than overlaybd's reader can address",
        `below ${GROUP_LIMIT} bytes, because its jump table has 16 bits for each block`,
        this.#inGroup,
      );
    }
  }

  #invalid(message: string, expected: string, found: number): AccelError {
    const at = this.#block * this.#blockSize;
    return new AccelError(this.#code, message, {
      where: { block: this.#block, bytes: `${at} to ${at + this.#blockSize} of the uncompressed layer` },
      expected,
      found,
      hint:
        this.#code === 'limit-exceeded'
          ? advise`Content that does not shrink grows by compression, at this block size past the limit: use ${option('blockSize')} ${SAFE_BLOCK_KIB} or less, whose blocks always fit.`
          : 'No node opens this layer: convert the image again.',
    });
  }
}

function readChecked(space: Uint8Array, part: string): ReturnType<typeof zfileStruct.read> {
  try {
    return zfileStruct.read(space);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new AccelError('zfile-invalid', `ZFile ${part}: ${cause.message}`, { where: { part }, cause });
  }
}

function hex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}
