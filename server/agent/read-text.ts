/** Reads the body of a request, bounded. */
import type { IncomingMessage } from 'node:http';

/** The body as UTF-8; undefined where it has more than `limit` bytes. Rejects when the connection breaks. */
export async function readText(request: IncomingMessage, limit: number): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
