/** The two ways a header field writes a number: octal text, and base-256 for what octal cannot hold. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';

const SPACE = 0x20;
const DIGIT_0 = 0x30;
const DIGIT_7 = 0x37;

/**
 * The number in `size` bytes at `at`; a field of spaces and NULs is 0. Octal digits may follow spaces and NULs and
 * end at a space, a NUL or the field's end; what follows that is ignored, as GNU tar does. With the top bit of the first
 * byte set, the field is a big-endian two's complement number (base-256) and may be negative. Throws `tar-invalid` for
 * anything else and for a value past ±(2^53-1).
 */
export function parseNumber(block: Buffer, at: number, size: number, field: string): number {
  if ((block[at]! & 0x80) !== 0) return parseBase256(block, at, size, field);
  const end = at + size;
  let position = at;
  while (position < end && (block[position] === SPACE || block[position] === 0)) position++;
  let value = 0;
  for (; position < end; position++) {
    const byte = block[position]!;
    if (byte === SPACE || byte === 0) break;
    // Twelve octal digits are 2^36 at most: no overflow to check for.
    if (byte < DIGIT_0 || byte > DIGIT_7) {
      throw new AccelError('tar-invalid', `the header field ${field} is not a number`, {
        expected: 'octal digits',
        found: printable(block.toString('latin1', at, end)),
      });
    }
    value = value * 8 + (byte - DIGIT_0);
  }
  return value;
}

function parseBase256(block: Buffer, at: number, size: number, field: string): number {
  const negative = (block[at]! & 0x40) !== 0;
  const flip = negative ? 0xff : 0;
  let value = (block[at]! ^ flip) & 0x3f;
  for (let i = 1; i < size; i++) {
    value = value * 256 + (block[at + i]! ^ flip);
    if (value > Number.MAX_SAFE_INTEGER - 1) {
      throw new AccelError('tar-invalid', `the header field ${field} is out of range`, {
        expected: 'a number of at most 53 bits',
        found: block.toString('hex', at, at + size),
      });
    }
  }
  return negative ? -value - 1 : value;
}

/** A number in decimal digits, as PAX records write them; throws `tar-invalid` for anything else and past 2^53-1. */
export function parseDecimal(digits: string, field: string): number {
  const value = /^\d{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(value)) {
    throw new AccelError('tar-invalid', `${field} is not a number`, {
      expected: 'decimal digits, at most 2^53-1',
      found: printable(digits),
    });
  }
  return value;
}
