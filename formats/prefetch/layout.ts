/** The structures of a binary trace, and the numbers that the runtime holds an acceleration layer to (docs/formats.md §7). */
import { i64, reserved, struct, u8, u32, u64 } from '../bytes/struct.ts';

/** Name of the one file of an acceleration layer. */
export const TRACE_NAME = 'trace';
/** First word of a trace; what begins otherwise is a list. */
export const TRACE_MAGIC = 3_270_449_184;
/** The one operation that is replayed: a read, the letter `R`. */
export const OP_READ = 0x52;
/** Bytes of one read at most: the buffer that the runtime reads into. */
export const MAX_READ = 1 << 20;
/** Bytes of a list at most; the runtime reads nothing of a longer one. */
export const MAX_LIST_SIZE = 65_536;
/** Records of a trace that accel reads: a terabyte in pieces of 1 MiB. */
export const MAX_RECORDS = 1_000_000;

/** Head of a trace. */
export const traceHeader = struct('TraceHeader', 24, {
  magic: u32,
  pad0: reserved(4),
  dataSize: u64,
  checksum: u32,
  pad1: reserved(4),
});

/** One read of the replay. */
export const traceRecord = struct('TraceFormat', 24, {
  op: u8,
  pad: reserved(3),
  layerIndex: u32,
  count: u64,
  offset: i64,
});
