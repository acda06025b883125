/** The requests of one client: bounded in size, in number and in the memory that their answers take. */
import { AccelError, asAccelError } from '../../base/error.ts';
import type { BlockDevice } from '../../formats/ext4/reader.ts';
import type { MappedDevice } from '../block-device.ts';
import { type Extent, extentsOf } from '../device-extents.ts';
import { Budget } from './budget.ts';
import type { NbdSession } from './negotiation.ts';
import { COMMAND, COMMAND_FLAG, NBD_ERROR, REQUEST_MAGIC, request } from './protocol.ts';
import { Replies } from './replies.ts';
import type { ByteInput } from './socket-input.ts';
import type { ByteOutput } from './socket-output.ts';

/** Bytes of the largest read, which is also the limit of clients that do not ask for one. */
export const MAXIMUM_READ = 32 << 20;

/** A request of a client. */
interface NbdRequest {
  readonly flags: number;
  readonly type: number;
  readonly cookie: Uint8Array;
  readonly offset: number;
  readonly length: number;
}

/** Called when the device could not be read; the client received an input/output error. */
export type ReadErrorListener = (offset: number, length: number, error: AccelError) => void;

/** A device that is served, and the listener for its errors. */
export interface ServedDevice {
  readonly device: BlockDevice | MappedDevice;
  readonly onReadError: ReadErrorListener;
}

/** Requests of a client under way at a time; further ones wait in its socket. */
const MAX_REQUESTS = 32;
/** Bytes of answers of a client in memory at a time. */
const MAX_ANSWERS = 32 << 20;
/** Bytes of a structured answer that are read and sent at a time. */
const PIECE = 1 << 20;
/** A shorter hole is sent as zeros: a message of its own would cost more. */
const MINIMAL_HOLE = 4096;
/** Extents of one block status; the client asks again for the rest. */
const MAX_EXTENTS = 1024;

/**
 * Serves requests until the client ends it. Resolves when all are answered or can no longer be; rejects with `io-error`
 * when the client breaks the protocol.
 */
export async function transmit(
  input: ByteInput,
  output: ByteOutput,
  session: NbdSession,
  served: ServedDevice,
): Promise<void> {
  const budget = new Budget(MAX_REQUESTS, MAX_ANSWERS);
  const running = new Set<Promise<void>>();
  try {
    for (;;) {
      const head = await input.read(request.size);
      if (head === undefined) return;
      const { magic, ...asked } = request.read(head);
      if (magic !== REQUEST_MAGIC)
        throw new AccelError('io-error', 'the client breaks the NBD protocol in a request', {
          expected: `0x${REQUEST_MAGIC.toString(16)}`,
          found: `0x${magic.toString(16)}`,
        });
      if (asked.type === COMMAND.disconnect) return;
      if (asked.type === COMMAND.write) await skipPayload(input, asked.length);
      const weight = weightOf(asked, session);
      await budget.enter(weight);
      const replies = new Replies(output, session.structured, asked.cookie);
      const answered = answer(asked, replies, session, served)
        // Only sending can fail here, after the client has gone; reading then ends as well.
        .catch(() => undefined)
        .finally(() => {
          budget.leave(weight);
          running.delete(answered);
        });
      running.add(answered);
    }
  } catch (error) {
    // Nobody reads further answers.
    output.destroy();
    throw error;
  } finally {
    await Promise.all(running);
  }
}

/** Skips the data of a write, so that a client that writes to the read-only export gets an answer and can go on. */
async function skipPayload(input: ByteInput, length: number): Promise<void> {
  if (length > MAXIMUM_READ)
    throw new AccelError('io-error', 'the client breaks the NBD protocol in a write', {
      expected: `at most ${MAXIMUM_READ} bytes`,
      found: length,
    });
  await input.skip(length);
}

/** Bytes that the answer to a request has in memory at a time. */
function weightOf({ type, flags, length }: NbdRequest, { structured }: NbdSession): number {
  if (type === COMMAND.blockStatus) return MAX_EXTENTS * 8;
  if (type !== COMMAND.read || length > MAXIMUM_READ) return 0;
  return structured && (flags & COMMAND_FLAG.df) === 0 ? Math.min(length, PIECE) : length;
}

async function answer(asked: NbdRequest, replies: Replies, session: NbdSession, served: ServedDevice): Promise<void> {
  const { device } = served;
  switch (asked.type) {
    case COMMAND.read:
      if ((asked.flags & ~(session.structured ? COMMAND_FLAG.df : 0)) !== 0) return refuseFlags(replies);
      if (asked.length > MAXIMUM_READ)
        return replies.error(NBD_ERROR.invalid, `a read has at most ${MAXIMUM_READ} bytes`);
      if (!isInside(asked, device)) return refusePlace(replies);
      return answerRead(asked, replies, session, served);
    case COMMAND.blockStatus:
      if (!session.allocation) return replies.error(NBD_ERROR.invalid, 'no context was negotiated');
      if ((asked.flags & ~COMMAND_FLAG.reqOne) !== 0) return refuseFlags(replies);
      if (asked.length === 0 || !isInside(asked, device)) return refusePlace(replies);
      return replies.blockStatus(statusOf(asked, device));
    case COMMAND.write:
    case COMMAND.trim:
    case COMMAND.writeZeroes:
      return replies.error(NBD_ERROR.perm, 'the export is read-only');
    default:
      return replies.error(NBD_ERROR.invalid, 'this request was not offered');
  }
}

function refuseFlags(replies: Replies): Promise<void> {
  return replies.error(NBD_ERROR.invalid, 'flags that were not offered');
}

function refusePlace(replies: Replies): Promise<void> {
  return replies.error(NBD_ERROR.invalid, 'this is not a part of the device');
}

function isInside({ offset, length }: NbdRequest, { size }: BlockDevice): boolean {
  return offset <= size && length <= size - offset;
}

async function answerRead(
  asked: NbdRequest,
  replies: Replies,
  { structured }: NbdSession,
  { device, onReadError }: ServedDevice,
): Promise<void> {
  const { offset, length } = asked;
  const inPieces = structured && (asked.flags & COMMAND_FLAG.df) === 0 && length > 0;
  if (!inPieces) {
    const data = await readDevice(offset, length);
    if (data !== undefined) await replies.wholeRead(offset, data);
    return;
  }
  for (const extent of extentsOf(device, offset, length, MINIMAL_HOLE)) {
    const end = extent.offset + extent.length;
    if (extent.hole) {
      await replies.hole(extent.offset, extent.length, end === offset + length);
      continue;
    }
    for (let at = extent.offset; at < end; at += PIECE) {
      const data = await readDevice(at, Math.min(PIECE, end - at));
      if (data === undefined) return;
      await replies.data(at, data, at + data.length === offset + length);
    }
  }

  /** Reads the device; on failure reports it to the client and the listener, and returns undefined. */
  async function readDevice(at: number, count: number): Promise<Uint8Array | undefined> {
    try {
      return await device.read(at, count);
    } catch (error) {
      const known = asAccelError(error);
      onReadError(at, count, known);
      await replies.error(NBD_ERROR.io, known.message);
      return undefined;
    }
  }
}

function statusOf({ offset, length, flags }: NbdRequest, device: BlockDevice | MappedDevice): Extent[] {
  const limit = (flags & COMMAND_FLAG.reqOne) === 0 ? MAX_EXTENTS : 1;
  const extents: Extent[] = [];
  for (const extent of extentsOf(device, offset, length)) {
    extents.push(extent);
    if (extents.length >= limit) break;
  }
  return extents;
}
