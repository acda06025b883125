/** The requests of one upload (distribution-spec, "Pushing blobs"): begin, send a part, ask how far it got, cancel. */

import type { BlobSource } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { redactUrl } from '../../http/redact.ts';
import { resolveLocation } from '../../http/redirects.ts';
import type { HttpResponse } from '../../http/transport.ts';
import type { Descriptor } from '../descriptor.ts';
import type { Connection, Exchange } from './connection.ts';

/** Milliseconds for a cancellation, which only cleans up, often while the user waits after Ctrl-C. */
const CANCEL_TIMEOUT = 1000;

const EMPTY: BlobSource = { async *open() {} };

/** An upload that the registry has begun. Each answer may name another place for the next request. */
export interface UploadSession {
  readonly url: URL;
  /** Bytes that the registry has: those that it accepted, or what it said after a failure. */
  readonly offset: number;
  /** Smallest part that it takes, but for the last one, in bytes (OCI-Chunk-Min-Length); 0 if it did not say. */
  readonly leastChunk: number;
}

/** Bytes of a blob on their way: from `start` (inclusive) to `end` (exclusive). */
export interface UploadPart {
  readonly start: number;
  readonly end: number;
  readonly source: BlobSource;
}

/** The request that begins an upload. */
export function startExchange(descriptor: Descriptor, signal: AbortSignal | undefined): Exchange {
  return {
    action: 'begin an upload',
    method: 'POST',
    to: 'blobs/uploads/',
    expect: [202],
    write: true,
    body: { source: EMPTY, size: 0 },
    signal,
    where: { digest: descriptor.digest },
  };
}

/** Begins an upload. Throws `registry-error` if the registry does not say where. */
export async function startSession(
  connection: Connection,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<UploadSession> {
  const exchange = startExchange(descriptor, signal);
  const response = await connection.exchange(exchange);
  await response.discard();
  const url = locationOf(response, exchange);
  if (url !== undefined) return { url, offset: 0, leastChunk: leastChunk(response) };
  throw new AccelError('registry-error', 'the registry began an upload without saying where', {
    where: { ...exchange.where, url: redactUrl(response.url) },
    expected: 'a Location header',
    found: `HTTP ${response.status} without one`,
  });
}

/** Begins an upload of nothing and cancels it. Throws what a push to this repository would. */
export async function probeUpload(connection: Connection, signal: AbortSignal | undefined): Promise<void> {
  const nothing: Descriptor = { mediaType: 'application/octet-stream', digest: '', size: 0 };
  const exchange: Exchange = { ...startExchange(nothing, signal), where: {} };
  const response = await connection.exchange(exchange);
  await response.discard();
  const url = locationOf(response, exchange);
  if (url !== undefined) await cancelSession(connection, url, nothing);
}

/** The request that sends a part: PATCH, or for the last one the PUT that also closes the upload. */
export function partExchange(
  session: UploadSession,
  descriptor: Descriptor,
  part: UploadPart,
  signal: AbortSignal | undefined,
): Exchange {
  const last = part.end === descriptor.size;
  const whole = last && part.start === 0;
  // Without a unit and with an inclusive end: so the distribution-spec wants it, unlike RFC 9110.
  const range = whole || part.start === part.end ? {} : { 'content-range': `${part.start}-${part.end - 1}` };
  return {
    action: 'store a blob',
    method: last ? 'PUT' : 'PATCH',
    to: last ? withDigest(session.url, descriptor.digest) : session.url,
    // Some registries answer 201 or 204 to a PATCH, as they do to a PUT.
    expect: last ? [201, 200, 204] : [202, 200, 201, 204],
    write: true,
    headers: { 'content-type': 'application/octet-stream', ...range },
    body: { source: part.source, size: part.end - part.start },
    signal,
    where: { digest: descriptor.digest, ...(whole ? {} : { offset: part.start }) },
  };
}

/**
 * The session after a PATCH that was accepted with the bytes before `sent`. Its Range is ignored: some registries
 * (ECR) repeat the first chunk's there, and one that did lose bytes answers the next chunk with 416.
 */
export function advanced(
  session: UploadSession,
  exchange: Exchange,
  response: HttpResponse,
  sent: number,
): UploadSession {
  return { ...session, url: locationOf(response, exchange) ?? session.url, offset: sent };
}

/** Whether an accepted PATCH was answered with a Range that ends before the bytes that were sent. */
export function liesBehind(response: HttpResponse, sent: number): boolean {
  const reported = reportedOffset(response.header('range'));
  return reported !== undefined && reported < sent;
}

/**
 * Asks how much of an interrupted upload has arrived. Undefined if the registry does not report it: then the blob is
 * sent from its start, in a new session.
 */
export async function askProgress(
  connection: Connection,
  session: UploadSession,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<UploadSession | undefined> {
  const { body: _, ...exchange } = startExchange(descriptor, signal);
  const request: Exchange = { ...exchange, action: 'ask for an upload', method: 'GET', to: session.url };
  try {
    const response = await connection.once(request);
    await response.discard();
    const offset = reportedOffset(response.header('range'));
    if (response.status > 204 || offset === undefined || offset > descriptor.size) return undefined;
    return { ...session, url: locationOf(response, request) ?? session.url, offset };
  } catch (error) {
    if (signal?.aborted) throw error;
    return undefined; // Without an answer the offset is unknown.
  }
}

/** Cancels an upload and ignores the answer: not every registry supports that. */
export async function cancelSession(connection: Connection, url: URL, descriptor: Descriptor): Promise<void> {
  const { body: _, ...exchange } = startExchange(descriptor, AbortSignal.timeout(CANCEL_TIMEOUT));
  await connection.once({ ...exchange, action: 'cancel an upload', method: 'DELETE', to: url }).then(
    (response) => response.discard(),
    () => undefined,
  );
}

/**
 * The Location of an answer, if it has one. Throws `registry-error` where it leads from HTTPS to another host's HTTP.
 */
export function locationOf(response: HttpResponse, exchange: Exchange): URL | undefined {
  const location = response.header('location');
  if (location === undefined) return undefined;
  const url = resolveLocation(location, response.url);
  // Behind a proxy that terminates TLS some registries build http URLs of themselves: keep the scheme of the request.
  if (response.url.protocol === 'https:' && url.protocol === 'http:') {
    if (url.hostname !== response.url.hostname) {
      throw new AccelError(
        'registry-error',
        'the registry leads an upload from HTTPS to plain HTTP, which is refused',
        {
          where: { ...exchange.where, url: redactUrl(response.url) },
          expected: 'an https location',
          found: redactUrl(url),
        },
      );
    }
    url.protocol = 'https:';
    url.port = response.url.port;
  }
  return url;
}

/** The number of bytes in the Range header of an upload: `0-1023` is 1024; some registries put a unit before. */
export function reportedOffset(range: string | undefined): number | undefined {
  const match = /^(?:bytes[ =])?0-(\d{1,15})$/.exec(range?.trim() ?? '');
  if (match === null) return undefined;
  // docker-registry writes 0-0 for no byte as it does for one; parts of a single byte are not sent.
  return match[1] === '0' ? 0 : Number(match[1]) + 1;
}

function leastChunk(response: HttpResponse): number {
  const text = response.header('oci-chunk-min-length') ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : 0;
}

/** The session's own query stays byte for byte: some registries sign it. */
function withDigest(session: URL, digest: string): URL {
  const url = new URL(session);
  url.search = `${url.search}${url.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`;
  return url;
}
