/**
 * The four ways in which GNU tar writes the map of a sparse file: in the header and blocks after it (type `S`), in PAX
 * records (0.0 and 0.1), and as text in front of the data (1.0). Source: GNU tar manual, "Sparse Formats".
 */
import { AccelError } from '../../base/error.ts';
import type { SparseRun } from './entry.ts';
import { gnuSparseElement } from './layout.ts';
import { parseDecimal, parseNumber } from './number.ts';
import { type PaxRecords, paxText, SPARSE_MAP } from './pax.ts';

/** Gathers the runs of one file and checks each by the file's size, its predecessor and the limit. */
export class SparseRuns {
  readonly #runs: SparseRun[] = [];
  readonly #fileSize: number;
  readonly #limit: number;
  #end = 0;
  #total = 0;

  constructor(fileSize: number, limit: number) {
    this.#fileSize = fileSize;
    this.#limit = limit;
  }

  /** The runs so far. */
  get runs(): readonly SparseRun[] {
    return this.#runs;
  }

  /** Sum of the lengths in bytes. */
  get total(): number {
    return this.#total;
  }

  /**
   * Adds a run. One without data (GNU tar closes every map with one) is checked and left out. Throws `tar-invalid` if
   * it is out of order or outside of the file, `limit-exceeded` if there are too many.
   */
  add(offset: number, length: number): void {
    if (offset < this.#end || length < 0 || offset + length > this.#fileSize) {
      throw new AccelError('tar-invalid', 'the map of a sparse file is wrong', {
        expected: `a run between byte ${this.#end} and ${this.#fileSize}`,
        found: `${length} bytes at byte ${offset}`,
      });
    }
    this.#end = offset + length;
    this.#total += length;
    if (length === 0) return;
    if (this.#runs.length >= this.#limit) throw tooManyRuns(this.#limit);
    this.#runs.push({ offset, length });
  }
}

function tooManyRuns(limit: number): AccelError {
  return new AccelError('limit-exceeded', 'a sparse file has too many data runs', {
    expected: `at most ${limit}`,
    hint: 'rebuild the layer without sparse files (tar without --sparse)',
  });
}

/** Reads up to `count` elements of an old GNU map at `at`; an element whose offset field is empty ends the map. */
export function readGnuElements(block: Buffer, at: number, count: number, runs: SparseRuns): void {
  const { offsets, size } = gnuSparseElement;
  for (let i = 0; i < count; i++) {
    const element = at + i * size;
    if (block[element] === 0) return;
    const offset = parseNumber(block, element + offsets.offset, 12, 'sparse offset');
    runs.add(offset, parseNumber(block, element + offsets.numbytes, 12, 'sparse length'));
  }
}

/** The facts about a sparse file in its PAX records. */
export interface PaxSparse {
  /** True for format 1.0, whose map comes before the data. */
  readonly mapInData: boolean;
  /** The file's true name, where the formats 0.1 and 1.0 put a stand-in into the header. */
  readonly name: string | undefined;
  /** Logical size of the file, if stated. */
  readonly size: number | undefined;
}

/** Recognises a sparse file by its records; `undefined` for any other file. Throws `tar-invalid` for an unknown version. */
export function paxSparse(records: PaxRecords): PaxSparse | undefined {
  const major = paxText(records, 'GNU.sparse.major');
  const minor = paxText(records, 'GNU.sparse.minor');
  const version = major === undefined && minor === undefined ? undefined : `${major ?? ''}.${minor ?? ''}`;
  if (version === undefined && !records.has(SPARSE_MAP) && !records.has('GNU.sparse.numblocks')) return undefined;
  if (version !== undefined && version !== '0.0' && version !== '0.1' && version !== '1.0') {
    throw new AccelError('tar-invalid', 'the format of a sparse file is not known', {
      expected: 'GNU sparse format 0.0, 0.1 or 1.0',
      found: version.slice(0, 40),
    });
  }
  const size = paxText(records, 'GNU.sparse.realsize') ?? paxText(records, 'GNU.sparse.size');
  return {
    mapInData: version === '1.0',
    name: paxText(records, 'GNU.sparse.name'),
    size: size === undefined ? undefined : parseDecimal(size, 'the size of a sparse file'),
  };
}

/** Reads the map of formats 0.0 and 0.1 from the records. */
export function readPaxMap(records: PaxRecords, runs: SparseRuns): void {
  const text = paxText(records, SPARSE_MAP);
  const numbers = text === undefined ? [] : text.split(',');
  const stated = paxText(records, 'GNU.sparse.numblocks');
  const count = stated === undefined ? numbers.length / 2 : parseDecimal(stated, 'GNU.sparse.numblocks');
  if (numbers.length % 2 !== 0 || numbers.length !== 2 * count) {
    throw new AccelError('tar-invalid', 'the map of a sparse file is not complete', {
      expected: `${2 * Math.ceil(count)} numbers`,
      found: numbers.length,
    });
  }
  for (let i = 0; i < numbers.length; i += 2) {
    const offset = parseDecimal(numbers[i]!, 'a sparse offset');
    runs.add(offset, parseDecimal(numbers[i + 1]!, 'a sparse length'));
  }
}

const NEWLINE = 0x0a;
const DIGIT_0 = 0x30;

/**
 * Reads the map of format 1.0, block by block: the number of runs, then offset and length of each, every number in
 * decimal and followed by a newline, the whole padded to a block. Holds no text, only the number being read.
 */
export class SparseMapReader {
  readonly #runs: SparseRuns;
  readonly #limit: number;
  /** Numbers still to come; unknown until the first has been read. */
  #expected = -1;
  #offset = -1;
  #number = 0;
  #digits = 0;

  constructor(runs: SparseRuns, limit: number) {
    this.#runs = runs;
    this.#limit = limit;
  }

  /** Takes the block at `at`; true when the map is complete and the data begins behind this block. */
  push(block: Buffer, at: number, size: number): boolean {
    for (let i = at; i < at + size; i++) {
      const byte = block[i]!;
      if (byte === NEWLINE) {
        if (this.#digits === 0) throw notANumber('');
        this.#take(this.#number);
        this.#number = 0;
        this.#digits = 0;
        if (this.#expected === 0) return true;
        continue;
      }
      const digit = byte - DIGIT_0;
      // 16 digits: the largest integer that a number holds exactly has as many.
      if (digit < 0 || digit > 9 || ++this.#digits > 16) throw notANumber(String.fromCharCode(byte));
      this.#number = this.#number * 10 + digit;
    }
    return false;
  }

  #take(value: number): void {
    if (this.#expected < 0) {
      // One more than the limit for the empty run that closes the map.
      if (value > this.#limit + 1) throw tooManyRuns(this.#limit);
      this.#expected = 2 * value;
      return;
    }
    if (this.#expected % 2 === 0) this.#offset = value;
    else this.#runs.add(this.#offset, value);
    this.#expected--;
  }
}

function notANumber(found: string): AccelError {
  return new AccelError('tar-invalid', 'the map of a sparse file is not made of numbers', {
    expected: 'decimal digits and newlines',
    found: JSON.stringify(found),
  });
}
