/** PAX extended headers: `LENGTH KEY=VALUE\n` records with values of any bytes. Source: POSIX.1-2017 pax. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import type { TarTime } from './entry.ts';

/**
 * Records by key; a record that came twice holds its last value. Keys and values are Latin-1 strings, one character a
 * byte: any bytes survive, and unlike views they do not keep the header's memory alive.
 */
export type PaxRecords = Map<string, string>;

/** Prefix of the records that carry extended attributes, in the kernel's binary form. */
export const XATTR_PREFIX = 'SCHILY.xattr.';

/**
 * Key under which {@link parsePaxRecords} gathers the repeated `GNU.sparse.offset` and `GNU.sparse.numbytes` records of
 * sparse format 0.0, as the comma-separated list that format 0.1 has under the same key.
 */
export const SPARSE_MAP = 'GNU.sparse.map';

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;
const DIGIT_0 = 0x30;
/** Digits of a record length; 1 MiB has 7. */
const LENGTH_DIGITS = 10;

/** Parses the body of an extended header; throws `tar-invalid` where a record is not well-formed. */
export function parsePaxRecords(body: Buffer): PaxRecords {
  const records: PaxRecords = new Map();
  const sparseMap: string[] = [];
  for (let at = 0; at < body.length; ) {
    const space = endOfDigits(body, at);
    const end = at + recordLength(body, at, space);
    let equals = space + 1;
    while (equals < end && body[equals] !== EQUALS) equals++;
    if (equals === space + 1 || equals >= end) throw malformed(body, at, 'a record KEY=VALUE');
    if (body[end - 1] !== NEWLINE) throw malformed(body, at, 'a newline at the end of the record');
    const key = body.toString('latin1', space + 1, equals);
    if (key.includes('\0')) throw malformed(body, at, 'a key without a NUL');
    const value = body.toString('latin1', equals + 1, end - 1);
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      const wanted = sparseMap.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes';
      if (key !== wanted) throw malformed(body, at, `a record ${wanted}`);
      sparseMap.push(value);
    } else {
      records.set(key, value);
    }
    at = end;
  }
  if (sparseMap.length > 0) records.set(SPARSE_MAP, sparseMap.join(','));
  return records;
}

/** Where the digits that begin at `at` end: at a space, or the record is malformed. */
function endOfDigits(body: Buffer, at: number): number {
  let end = at;
  while (end - at < LENGTH_DIGITS && body[end]! >= DIGIT_0 && body[end]! <= DIGIT_0 + 9) end++;
  if (end === at || body[end] !== SPACE) throw malformed(body, at, 'a decimal length and a space');
  return end;
}

/** The length that the digits from `at` to `space` state, which counts them, too; checked to end inside the body. */
function recordLength(body: Buffer, at: number, space: number): number {
  let length = 0;
  for (let i = at; i < space; i++) length = length * 10 + (body[i]! - DIGIT_0);
  if (length <= body.length - at) return length;
  throw malformed(body, at, `a length of at most ${body.length - at}`);
}

function malformed(body: Buffer, at: number, expected: string): AccelError {
  return new AccelError('tar-invalid', `the PAX header is malformed at its byte ${at}`, {
    expected,
    found: printable(body.toString('latin1', at, at + 40)),
  });
}

/** The text of a record that must not be empty and must not hold a NUL; `undefined` if the record is absent or empty. */
export function paxText(records: PaxRecords, key: string): string | undefined {
  const value = records.get(key);
  // An empty value takes the record back: the header field counts again (POSIX).
  if (value === undefined || value === '') return undefined;
  if (value.includes('\0')) {
    throw new AccelError('tar-invalid', `the PAX record ${key} holds a NUL`, { found: printable(value) });
  }
  return value;
}

/**
 * A time record: seconds in decimal with a sign and a fraction (`-1.25` is 1.25 s before 1970). Digits behind the ninth
 * are dropped. `undefined` if the record is absent or empty; throws `tar-invalid` if it is not a time.
 */
export function paxTime(records: PaxRecords, key: string): TarTime | undefined {
  const text = paxText(records, key);
  if (text === undefined) return undefined;
  const match = /^(-?)(\d{1,16})(?:\.(\d*))?$/.exec(text);
  const whole = Number(match?.[2] ?? Number.NaN);
  if (match === null || !Number.isSafeInteger(whole + 1)) {
    throw new AccelError('tar-invalid', `the PAX record ${key} is not a time`, {
      expected: 'decimal seconds, at most 2^53-2',
      found: printable(text),
    });
  }
  const fraction = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { seconds: whole, nanoseconds: fraction };
  if (fraction === 0) return { seconds: 0 - whole, nanoseconds: 0 };
  return { seconds: -whole - 1, nanoseconds: 1_000_000_000 - fraction };
}

/** Adds the extended attributes of `records` to `target`; throws `tar-invalid` for one without a name. */
export function collectXattrs(records: PaxRecords, target: Map<string, Uint8Array>): void {
  for (const [key, value] of records) {
    if (!key.startsWith(XATTR_PREFIX)) continue;
    const name = key.slice(XATTR_PREFIX.length);
    if (name === '') throw new AccelError('tar-invalid', 'an extended attribute has no name', { found: key });
    target.set(name, Uint8Array.from(Buffer.from(value, 'latin1')));
  }
}
