/**
 * Writes one layer of a block device: data in the order it comes, the index in the order of the device
 * (docs/formats.md §3 and §5).
 */
import { AccelError } from '../../base/error.ts';
import { Discards } from './discards.ts';
import { CanonicalSegments, indexEntries, maxSegments } from './index-codec.ts';
import {
  DATA_START_SECTOR,
  encodeHeader,
  FLAG_DATA_FILE,
  FLAG_HEADER,
  FLAG_SEALED,
  LSMT_SPACE,
  NULL_UUID,
  SECTOR_SIZE,
  TAG_LOCAL,
  TAG_REMOTE,
} from './layout.ts';
import { SegmentTable } from './segment-table.ts';

/** Options of a layer, and the sink for its bytes. */
export interface LsmtWriterOptions {
  /** Bytes of the block device, a multiple of 512; the same in every layer of an image. */
  readonly virtualSize: number;
  /** 8-4-4-4-12 hex digits; written in upper case. Omitted: the null uuid, as index-only layers carry it. */
  readonly uuid?: string;
  /** The uuid of the layer below; omitted: the null uuid. */
  readonly parentUuid?: string;
  /** Pad the index to a multiple of 256 entries: true for a full layer, false for an index-only one. */
  readonly padIndex: boolean;
  /** Turn all-zero 4 KiB blocks into segments without data. Default: true. */
  readonly detectZeros?: boolean;
  /** Takes the bytes of the LSMT file in their order, followed by `zeros` zero bytes; a view is valid during the call alone. */
  readonly emit: (bytes: Uint8Array, zeros: number) => void;
}

/** Block in which zeros are looked for: what ext4 writes at a time. */
const ZERO_BLOCK = 4096;
const zeroBlock = Buffer.alloc(ZERO_BLOCK);

/**
 * Past so many mappings zero blocks go out as data: a layer that alternates zeros and data would otherwise run into
 * the limit of the index. It counts what was mapped before, in the order it came, so the same calls give the same bytes.
 */
export const ZERO_DETECTION_SEGMENTS = 500_000;
/** Mappings before they are put in order and joined; bounds the memory of a layer to under 100 MB. */
const MAX_RAW_SEGMENTS = 4_000_000;

/** One layer being written. Call {@link LsmtWriter.finish} once at the end. */
export class LsmtWriter {
  readonly #options: LsmtWriterOptions;
  readonly #emit: LsmtWriterOptions['emit'];
  readonly #virtualSectors: number;
  readonly #table = new SegmentTable(MAX_RAW_SEGMENTS);
  readonly #discards = new Discards();
  /** Rows below this one may not grow: a discard has been said about them. */
  #barrier = 0;
  #dataSectors = 0;
  #remote = false;
  #finished = false;

  /** Emits the header at once. Throws `usage` for a virtual size or uuid that the header cannot hold. */
  constructor(options: LsmtWriterOptions) {
    const { virtualSize } = options;
    if (!Number.isSafeInteger(virtualSize) || virtualSize <= 0 || virtualSize % SECTOR_SIZE !== 0)
      throw new AccelError('usage', 'the virtual size is no multiple of 512', { found: virtualSize });
    this.#options = options;
    this.#emit = options.emit;
    this.#virtualSectors = virtualSize / SECTOR_SIZE;
    this.#emit(this.#header(FLAG_HEADER, 0, 0), 0);
  }

  /** Bytes of the data section so far. */
  get dataSize(): number {
    return this.#dataSectors * SECTOR_SIZE;
  }

  /**
   * Appends `bytes`, followed by `zeros` zero bytes, to the data section and maps them at `deviceOffset`; it and their
   * number are multiples of 512. All-zero blocks of 4 KiB, aligned on the device and whole within this call, are mapped as
   * zeros instead.
   */
  writeBlocks(deviceOffset: number, bytes: Uint8Array, zeros = 0): void {
    const length = bytes.length + zeros;
    this.#check(deviceOffset, length);
    const detect = this.#options.detectZeros !== false;
    let dataFrom = 0;
    let at = detect ? toBoundary(deviceOffset) : length;
    while (at + ZERO_BLOCK <= length) {
      if (!isZeroBlock(bytes, at) || this.#table.count >= ZERO_DETECTION_SEGMENTS) {
        at += ZERO_BLOCK;
        continue;
      }
      if (at > dataFrom) this.#data(deviceOffset + dataFrom, bytes.subarray(dataFrom, at), 0);
      this.zero(deviceOffset + at, ZERO_BLOCK);
      at += ZERO_BLOCK;
      dataFrom = at;
    }
    if (dataFrom < length)
      this.#data(deviceOffset + dataFrom, dataFrom === 0 ? bytes : bytes.subarray(dataFrom), zeros);
  }

  /** Maps `length` bytes at `deviceOffset` as zeros, both multiples of 512. Hides what the layers below hold there. */
  zero(deviceOffset: number, length: number): void {
    this.#check(deviceOffset, length);
    // A zeroed segment needs a place in the data section all the same: a node checks it (lsmt/index.cpp, within).
    this.#map(deviceOffset, length, DATA_START_SECTOR, true, TAG_LOCAL);
  }

  /** Maps `length` bytes at `deviceOffset` to the uncompressed source tar from `tarOffset` on, all multiples of 512. */
  mapRemote(deviceOffset: number, tarOffset: number, length: number): void {
    this.#check(deviceOffset, length);
    if (!Number.isSafeInteger(tarOffset) || tarOffset < 0 || tarOffset % SECTOR_SIZE !== 0)
      throw new AccelError('internal', 'a tar offset is no multiple of 512', { found: tarOffset });
    this.#remote = true;
    this.#map(deviceOffset, length, tarOffset / SECTOR_SIZE, false, TAG_REMOTE);
  }

  /**
   * Drops the mappings of this range made so far; the layers below show through until it is mapped again. Data that
   * was written for it stays in the file unread.
   */
  discard(deviceOffset: number, length: number): void {
    this.#check(deviceOffset, length);
    if (length === 0 || this.#table.count === 0) return;
    this.#barrier = this.#table.count;
    this.#discards.add(deviceOffset / SECTOR_SIZE, (deviceOffset + length) / SECTOR_SIZE, this.#barrier);
  }

  /**
   * Emits index and trailer. Answers the entries without padding and the bytes of the whole file. Throws
   * `limit-exceeded` for a layer of more entries than a node opens, and `internal` where one sector was mapped twice
   * or an index-only layer has nothing of its own.
   */
  finish(): { segments: number; size: number } {
    const steps = this.finishSteps();
    for (let step = steps.next(); ; step = steps.next()) if (step.done === true) return step.value;
  }

  /** As {@link finish}, with an undefined wherever the caller may let others work: no step takes long. */
  *finishSteps(): Generator<undefined, { segments: number; size: number }> {
    if (this.#finished) throw new AccelError('internal', 'a layer was finished twice');
    this.#finished = true;
    const { padIndex } = this.#options;
    const segments = yield* this.#canonical(maxSegments(padIndex));
    if (segments.remote && !segments.local)
      throw new AccelError('internal', 'an index-only layer maps nothing of its own', {
        expected: 'at least one segment of metadata',
        hint: 'the runtime subtracts the smallest tag and would take the tar for metadata',
      });
    for (const piece of segments.encode(padIndex)) {
      this.#emit(piece, 0);
      yield;
    }
    const indexOffset = LSMT_SPACE + this.dataSize;
    const entries = indexEntries(segments.count, padIndex);
    this.#emit(this.#header(0, indexOffset, entries), 0);
    // Packing and hashing follow, and need memory of their own.
    this.#table.drop();
    return { segments: segments.count, size: indexOffset + entries * 16 + LSMT_SPACE };
  }

  *#canonical(limit: number): Generator<undefined, CanonicalSegments> {
    try {
      const live = yield* this.#discards.apply(this.#table, MAX_RAW_SEGMENTS);
      yield;
      const segments = new CanonicalSegments(live);
      yield* segments.survey(limit);
      return segments;
    } catch (error) {
      throw this.#tooMany(error);
    }
  }

  #map(deviceOffset: number, length: number, moffset: number, zeroed: boolean, tag: number): void {
    if (length === 0) return;
    const table = this.#table;
    const start = deviceOffset / SECTOR_SIZE;
    const sectors = length / SECTOR_SIZE;
    const last = table.count - 1;
    if (last >= this.#barrier && table.extend(last, start, sectors, moffset, zeroed, tag)) return;
    try {
      table.push(start, sectors, moffset, zeroed, tag);
    } catch (error) {
      throw this.#tooMany(error);
    }
  }

  #data(deviceOffset: number, bytes: Uint8Array, zeros: number): void {
    const length = bytes.length + zeros;
    this.#map(deviceOffset, length, DATA_START_SECTOR + this.#dataSectors, false, TAG_LOCAL);
    this.#dataSectors += length / SECTOR_SIZE;
    this.#emit(bytes, zeros);
  }

  #tooMany(error: unknown): unknown {
    if (!(error instanceof AccelError) || error.code !== 'limit-exceeded') return error;
    return new AccelError('limit-exceeded', 'the layer needs more segments than a node opens', {
      expected: `at most ${maxSegments(this.#options.padIndex)} segments`,
      hint: this.#remote
        ? 'convert it in full mode: there the data is laid out in fewer, longer pieces'
        : 'split the layer into several with fewer changes each',
      cause: error,
    });
  }

  #check(deviceOffset: number, length: number): void {
    if (this.#finished) throw new AccelError('internal', 'a finished layer was written to');
    const end = (deviceOffset + length) / SECTOR_SIZE;
    if (deviceOffset % SECTOR_SIZE === 0 && length % SECTOR_SIZE === 0 && deviceOffset >= 0 && length >= 0)
      if (end <= this.#virtualSectors) return;
    throw new AccelError('internal', 'a mapping is not in whole sectors of the device', {
      where: { deviceOffset, length },
      expected: `multiples of ${SECTOR_SIZE} below ${this.#options.virtualSize}`,
    });
  }

  #header(flag: number, indexOffset: number, indexSize: number): Uint8Array {
    return encodeHeader({
      // The header of the reference says "sealed" from the start, and its index fields stay zero.
      flags: flag | FLAG_DATA_FILE | FLAG_SEALED,
      indexOffset,
      indexSize,
      virtualSize: this.#options.virtualSize,
      uuid: checkedUuid(this.#options.uuid),
      parentUuid: checkedUuid(this.#options.parentUuid),
    });
  }
}

function checkedUuid(uuid: string | undefined): string {
  if (uuid === undefined) return NULL_UUID;
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid))
    throw new AccelError('usage', 'not a uuid', { expected: '8-4-4-4-12 hex digits', found: uuid });
  return uuid.toUpperCase();
}

/** Bytes from `deviceOffset` to the next 4 KiB boundary of the device. */
function toBoundary(deviceOffset: number): number {
  return (ZERO_BLOCK - (deviceOffset % ZERO_BLOCK)) % ZERO_BLOCK;
}

/** Whether the block at `at` is all zeros; what it has behind the end of `bytes` is zero. */
function isZeroBlock(bytes: Uint8Array, at: number): boolean {
  const end = Math.min(at + ZERO_BLOCK, bytes.length);
  // Most blocks hold data and show it at once: two looks spare the call into native code.
  if (at < end && (bytes[at] !== 0 || bytes[end - 1] !== 0)) return false;
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return whole.compare(zeroBlock, 0, end - at, at, end) === 0;
}
