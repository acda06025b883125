import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../checksum/crc32c.ts';
import { MAX_READ, traceHeader } from './layout.ts';
import { decodePrefetch, decodeTrace, isTrace } from './reader.ts';
import { encodeTrace, type TraceRead } from './writer.ts';

const READS: readonly TraceRead[] = [
  { layer: 0, offset: 4096, length: 4096 },
  { layer: 2, offset: 2 ** 33 + 512, length: MAX_READ },
];
/** The same two reads by Python's struct and a CRC of its own. */
const BYTES = Buffer.from(
  '2018efc2000000003000000000000000cd4844c100000000' +
    '520000000000000000100000000000000010000000000000' +
    '520000000200000000001000000000000002000002000000',
  'hex',
);

/** The bytes with `change` made and the checksum put right again. */
function resealed(change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(BYTES);
  change(bytes);
  bytes.writeUInt32LE(crc32c(bytes.subarray(traceHeader.size)), traceHeader.offsets.checksum);
  return bytes;
}

describe('a trace', () => {
  it('has the bytes that another program gives it', () => {
    expect(Buffer.from(encodeTrace(READS)).toString('hex')).toBe(BYTES.toString('hex'));
    expect(decodeTrace(BYTES)).toEqual(READS);
    expect(decodePrefetch(BYTES)).toEqual({ form: 'trace', reads: READS });
  });

  it('is read as it was written', () => {
    const read = fc.record({
      layer: fc.nat(254),
      offset: fc.maxSafeNat(),
      length: fc.integer({ min: 1, max: MAX_READ }),
    });
    fc.assert(
      fc.property(fc.array(read, { maxLength: 50 }), (reads) => {
        expect(decodeTrace(encodeTrace(reads))).toEqual(reads);
      }),
      { numRuns: 100 },
    );
  });

  it.each([0, MAX_READ + 1])('of a read of %i bytes is not written', (length) => {
    expect(() => encodeTrace([{ layer: 0, offset: 0, length }])).toThrow(expect.objectContaining({ code: 'internal' }));
  });

  it.each([
    ['another_magic', Buffer.concat([Buffer.from([0x21]), BYTES.subarray(1)])],
    ['one_byte_short', BYTES.subarray(0, -1)],
    ['one_record_short', BYTES.subarray(0, -24)],
    ['one_byte_more', Buffer.concat([BYTES, Buffer.alloc(1)])],
    ['no_header', BYTES.subarray(0, 23)],
    ['checksum', Buffer.concat([BYTES.subarray(0, 16), Buffer.from([0]), BYTES.subarray(17)])],
    ['padding_of_a_record', Buffer.concat([BYTES.subarray(0, 25), Buffer.from([1]), BYTES.subarray(26)])],
    ['a_write', resealed((bytes) => bytes.writeUInt8(0x57, 24))],
    ['count_0', resealed((bytes) => bytes.writeUInt32LE(0, 32))],
    ['count_1_MiB_and_1', resealed((bytes) => bytes.writeUInt32LE(MAX_READ + 1, 32))],
    ['offset_negative', resealed((bytes) => bytes.writeBigInt64LE(-1n, 40))],
    ['data_size_past_2^53', Buffer.concat([BYTES.subarray(0, 8), Buffer.alloc(8, 0xff), BYTES.subarray(16)])],
  ])('damaged: %s is prefetch-invalid', (_name, bytes) => {
    expect(() => decodeTrace(bytes)).toThrow(expect.objectContaining({ code: 'prefetch-invalid' }));
  });

  it('is distinguished from a list by its first word', () => {
    expect(isTrace(BYTES)).toBe(true);
    expect(isTrace(Buffer.from('/usr/bin/app\n'))).toBe(false);
    expect(decodePrefetch(Buffer.from('/usr/bin/app\n'))).toMatchObject({ form: 'list' });
  });
});
