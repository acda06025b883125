/** Reads the file of an acceleration layer: a trace or a list. */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { crc32c } from '../checksum/crc32c.ts';
import { MAX_READ, MAX_RECORDS, OP_READ, TRACE_MAGIC, traceHeader, traceRecord } from './layout.ts';
import { type RuntimeList, readList } from './list.ts';
import type { TraceRead } from './writer.ts';

/** The content of an acceleration layer, by its form. */
export type PrefetchContent =
  | { readonly form: 'trace'; readonly reads: readonly TraceRead[] }
  | { readonly form: 'list'; readonly list: RuntimeList };

/** Whether these bytes are a trace, as the runtime decides it: by the first word, where there is room for a header. */
export function isTrace(bytes: Uint8Array): boolean {
  return bytes.length >= traceHeader.size && viewOf(bytes).getUint32(0, true) === TRACE_MAGIC;
}

/** Reads either form; a list is never wrong. Throws `prefetch-invalid` for a trace that the runtime would refuse. */
export function decodePrefetch(bytes: Uint8Array): PrefetchContent {
  return isTrace(bytes) ? { form: 'trace', reads: decodeTrace(bytes) } : { form: 'list', list: readList(bytes) };
}

/** The reads of a trace. Throws `prefetch-invalid` for wrong sizes, a wrong checksum, or a record that is no read. */
export function decodeTrace(bytes: Uint8Array): TraceRead[] {
  if (!isTrace(bytes)) throw invalid('this is no trace', `magic ${TRACE_MAGIC}`, `${bytes.length} other bytes`);
  const header = within(() => traceHeader.read(bytes));
  const records = bytes.subarray(traceHeader.size);
  if (header.dataSize !== records.length || records.length % traceRecord.size !== 0)
    throw invalid('the trace has another size than its header says', header.dataSize, records.length);
  const checksum = crc32c(records);
  if (checksum !== header.checksum) throw invalid('the checksum of the trace is wrong', header.checksum, checksum);
  const count = records.length / traceRecord.size;
  if (count > MAX_RECORDS)
    throw new AccelError('limit-exceeded', 'the trace has more records than accel reads', {
      expected: MAX_RECORDS,
      found: count,
    });
  return Array.from({ length: count }, (_, i) => decodeRecord(records, i));
}

function decodeRecord(records: Uint8Array, i: number): TraceRead {
  const { op, layerIndex, count, offset } = within(() => traceRecord.read(records, i * traceRecord.size));
  if (op !== OP_READ) throw invalid(`record ${i} of the trace is no read`, OP_READ, op);
  if (count === 0 || count > MAX_READ)
    throw invalid(`record ${i} of the trace has a wrong length`, `1 to ${MAX_READ} bytes`, count);
  return { layer: layerIndex, offset, length: count };
}

/** A 64-bit field past 2^53 names no byte of any file. */
function within<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new AccelError('prefetch-invalid', 'a number of the trace is too large', { cause });
  }
}

function invalid(message: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('prefetch-invalid', message, { expected, found });
}
