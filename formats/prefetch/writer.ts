/** Writes a binary trace. */
import { AccelError } from '../../base/error.ts';
import { crc32c } from '../checksum/crc32c.ts';
import { MAX_READ, MAX_RECORDS, OP_READ, TRACE_MAGIC, traceHeader, traceRecord } from './layout.ts';

/** A part of a layer that is read ahead. */
export interface TraceRead {
  /** Layer of the stack, 0 the lowest. */
  readonly layer: number;
  /** Byte of the layer's decompressed LSMT file. */
  readonly offset: number;
  /** Bytes, 1 to 1 MiB. */
  readonly length: number;
}

/** The reads as a trace. A read of more than 1 MiB is a defect of the caller; `limit-exceeded` past a million of them. */
export function encodeTrace(reads: readonly TraceRead[]): Uint8Array {
  if (reads.length > MAX_RECORDS)
    throw new AccelError('limit-exceeded', 'the prefetch list comes to too many reads', {
      expected: `at most ${MAX_RECORDS}`,
      found: reads.length,
      hint: 'List the files that are needed first, not all of the image.',
    });
  const bytes = new Uint8Array(traceHeader.size + reads.length * traceRecord.size);
  reads.forEach(({ layer, offset, length }, i) => {
    if (!(length > 0 && length <= MAX_READ))
      throw new AccelError('internal', 'a read of a trace has a wrong length', { expected: MAX_READ, found: length });
    const at = traceHeader.size + i * traceRecord.size;
    traceRecord.write(bytes, at, { op: OP_READ, layerIndex: layer, count: length, offset });
  });
  const records = bytes.subarray(traceHeader.size);
  traceHeader.write(bytes, 0, { magic: TRACE_MAGIC, dataSize: records.length, checksum: crc32c(records) });
  return bytes;
}
