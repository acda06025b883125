/** Sends a piece to another agent, a part at a time: TLS copies what it encrypts, and would hold a whole piece for each connection. */
import type { ServerResponse } from 'node:http';
import { drained } from '../drained.ts';

/** Bytes that are encrypted at once: what the system's buffers of a connection take, about. */
const PART = 256 * 1024;

/**
 * Sends the body of a response, whose head has left, and ends it. Resolves when the bytes have left or the connection has gone, and
 * nothing reads them any more. The connection is cut after so many milliseconds.
 */
export async function sendBody(response: ServerResponse, bytes: Buffer, milliseconds: number): Promise<void> {
  if (response.destroyed) return;
  const closed = new Promise<void>((resolve) => response.once('close', resolve));
  const timer = setTimeout(() => response.destroy(), milliseconds).unref();
  let at = 0;
  for (; bytes.length - at > PART && !response.destroyed; at += PART)
    if (!response.write(bytes.subarray(at, at + PART))) await drained(response, milliseconds);
  if (!response.destroyed) response.end(bytes.subarray(at));
  await closed;
  clearTimeout(timer);
}
