/**
 * The messages of the NBD protocol: names, numbers and fields as its specification has them (README.md beside this
 * file). Everything is big-endian.
 */
import { bytes, type Field, struct } from '../../formats/bytes/struct.ts';

/** Unsigned 16-bit, big-endian. */
const be16: Field<number> = {
  size: 2,
  zero: 0,
  get: (view, offset) => view.getUint16(offset),
  set: (view, offset, value) => view.setUint16(offset, value),
};
/** Unsigned 32-bit, big-endian. */
const be32: Field<number> = {
  size: 4,
  zero: 0,
  get: (view, offset) => view.getUint32(offset),
  set: (view, offset, value) => view.setUint32(offset, value),
};
/** Unsigned 64-bit, big-endian. A value past 2^53 is read inexactly: offsets are only compared with a device's size. */
const be64: Field<number> = {
  size: 8,
  zero: 0,
  get: (view, offset) => Number(view.getBigUint64(offset)),
  set: (view, offset, value) => view.setBigUint64(offset, BigInt(value)),
};
/** A number that the other side only compares or hands back. */
const opaque64 = bytes(8);

/** `NBDMAGIC`, the first bytes of a server. */
export const NBD_MAGIC: Uint8Array = Buffer.from('NBDMAGIC', 'latin1');
/** `IHAVEOPT`, before the server's flags and before each option of a client. */
export const OPTION_MAGIC: Uint8Array = Buffer.from('IHAVEOPT', 'latin1');
/** Before each answer to an option. */
export const OPTION_REPLY_MAGIC: Uint8Array = Buffer.from('0003e889045565a9', 'hex');
/** Before each request. */
export const REQUEST_MAGIC = 0x25609513;
/** Before an answer of the simple kind. */
export const SIMPLE_REPLY_MAGIC = 0x67446698;
/** Before each chunk of an answer of the structured kind. */
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

/** Flags of the greeting; the client answers with the same bits. */
export const HANDSHAKE_FLAG = { fixedNewstyle: 1, noZeroes: 2 } as const;

/** Options of the negotiation. */
export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

/** Answers to an option; from 2^31 on they are errors. */
export const OPTION_REPLY = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: 0x8000_0001,
  invalid: 0x8000_0003,
  unknown: 0x8000_0006,
  tooBig: 0x8000_0009,
} as const;

/** Parts of the answer to `info` and `go`. */
export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

/** Flags of an export. */
export const EXPORT_FLAG = { hasFlags: 1, readOnly: 2, sendDf: 128, canMultiConn: 256 } as const;

/** Requests of the transmission. */
export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

/** Flags of a request: the answer to a read in one piece; one extent of a block status. */
export const COMMAND_FLAG = { df: 4, reqOne: 8 } as const;

/** Errors of the transmission. */
export const NBD_ERROR = { perm: 1, io: 5, invalid: 22 } as const;

/** An error of the transmission. */
export type NbdErrorNumber = (typeof NBD_ERROR)[keyof typeof NBD_ERROR];

/** Kinds of chunks in a structured answer. */
export const CHUNK = { none: 0, offsetData: 1, offsetHole: 2, blockStatus: 5, error: 0x8001 } as const;
/** Flag of the last chunk of an answer. */
export const CHUNK_DONE = 1;

/** The one metadata context that is served: where the device holds nothing. */
export const BASE_ALLOCATION = 'base:allocation';
/** State of a hole in {@link BASE_ALLOCATION}: not allocated, reads as zeros. */
export const ALLOCATION_HOLE = 3;

/** Bytes of zeros behind the answer to `exportName`, unless both sides left them out. */
export const EXPORT_NAME_PADDING = 124;

/** The server's first message. */
export const greeting = struct('greeting', 18, { magic: opaque64, optionMagic: opaque64, flags: be16 });
/** Head of an option; `length` bytes of data follow. */
export const optionHeader = struct('option', 16, { magic: opaque64, option: be32, length: be32 });
/** Head of an answer to an option; `length` bytes of data follow. */
export const optionReply = struct('option reply', 20, { magic: opaque64, option: be32, type: be32, length: be32 });
/** The answer to `exportName`. */
export const exportReply = struct('export', 10, { size: be64, flags: be16 });
/** Part `export` of the answer to `info` and `go`. */
export const infoExport = struct('info export', 12, { type: be16, size: be64, flags: be16 });
/** Part `blockSize` of the answer to `info` and `go`, in bytes. */
export const infoBlockSize = struct('info block size', 14, {
  type: be16,
  minimum: be32,
  preferred: be32,
  maximum: be32,
});

/** A request. */
export const request = struct('request', 28, {
  magic: be32,
  flags: be16,
  type: be16,
  cookie: opaque64,
  offset: be64,
  length: be32,
});
/** A simple answer; the data of a read follows. */
export const simpleReply = struct('simple reply', 16, { magic: be32, error: be32, cookie: opaque64 });
/** Head of a chunk of a structured answer; `length` bytes follow. */
export const chunkHeader = struct('chunk', 20, {
  magic: be32,
  flags: be16,
  type: be16,
  cookie: opaque64,
  length: be32,
});
/** Begin of an `offsetData` chunk; the data follows. */
export const offsetData = struct('offset data', 8, { offset: be64 });
/** An `offsetHole` chunk. */
export const offsetHole = struct('offset hole', 12, { offset: be64, length: be32 });
/** An extent of a `blockStatus` chunk. */
export const extentStatus = struct('extent', 8, { length: be32, state: be32 });
/** Begin of an `error` chunk; the message, UTF-8, follows. */
export const errorChunk = struct('error', 6, { error: be32, messageLength: be16 });
