/**
 * Uploads of blobs (distribution-spec, "Pushing blobs"): a session by POST, then one PUT that streams the whole blob.
 * A broken upload begins again with a session of its own: not every registry keeps the half that arrived.
 */
import { AccelError, asAccelError } from '../../base/error.ts';
import type { Descriptor } from '../descriptor.ts';
import { verified } from '../digest.ts';
import type { BlobSource, ReadOptions } from '../storage.ts';
import type { Connection, Exchange } from './connection.ts';
import { redactUrl } from './errors.ts';
import { resolveLocation } from './redirects.ts';
import { isTransientError, isTransientStatus, retrying } from './retry.ts';
import type { HttpResponse } from './transport.ts';

/**
 * Uploads a blob that is known to be missing. `exists` is asked before every further try: the registry may have taken
 * the blob though its answer was lost. Content that is not what the descriptor says ends the upload with
 * `digest-mismatch` or `size-mismatch`, before its last byte is sent.
 */
export async function uploadBlob(
  connection: Connection,
  descriptor: Descriptor,
  content: BlobSource,
  exists: () => Promise<boolean>,
  options?: ReadOptions,
): Promise<void> {
  const signal = options?.signal;
  const watched = watch(content, descriptor);
  let exchange = startExchange(descriptor, signal);
  let tries = 0;
  const send = async (): Promise<HttpResponse | undefined> => {
    tries += 1;
    if (tries > 1 && (await exists())) return undefined;
    const session = await startSession(connection, startExchange(descriptor, signal));
    exchange = {
      action: 'store a blob',
      method: 'PUT',
      to: withDigest(session, descriptor.digest),
      expect: [201, 200, 204],
      write: true,
      headers: { 'content-type': 'application/octet-stream' },
      body: { source: watched.source, size: descriptor.size },
      signal,
      where: { digest: descriptor.digest },
    };
    return connection.once(exchange);
  };
  let response: HttpResponse | undefined;
  try {
    response = await retrying(send, connection.runtime, {
      signal,
      // 404: the session is gone, as after a restart of the registry.
      passingStatus: (status) => status === 404 || isTransientStatus(status),
      passingError: (error) => watched.failure() === undefined && isTransientError(error),
    });
  } catch (error) {
    // Cutting the body makes undici report a broken socket; what broke it is the better story.
    throw watched.failure() ?? connection.asError(exchange, error);
  }
  if (response === undefined) return;
  await (await connection.accept(exchange, response)).discard();
}

/**
 * Asks the registry to take a blob over from another of its repositories (distribution-spec, "Mounting a blob").
 * False if it offers an upload instead, or refuses.
 */
export async function mountBlob(
  connection: Connection,
  descriptor: Descriptor,
  fromRepository: string,
  options?: ReadOptions,
): Promise<boolean> {
  const query = new URLSearchParams({ mount: descriptor.digest, from: fromRepository });
  const exchange: Exchange = {
    ...startExchange(descriptor, options?.signal),
    action: `mount a blob from ${fromRepository}`,
    to: `blobs/uploads/?${query}`,
    // Registries that do not mount, or not from there, say so in many ways: then the blob is uploaded.
    expect: [201, 202, 400, 401, 403, 404, 405],
    scopes: [`repository:${fromRepository}:pull`],
  };
  const response = await connection.exchange(exchange);
  const location = response.header('location');
  await response.discard();
  if (response.status === 202 && location !== undefined) await cancel(connection, exchange, response, location);
  return response.status === 201;
}

function startExchange(descriptor: Descriptor, signal: AbortSignal | undefined): Exchange {
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

const EMPTY: BlobSource = { async *open() {} };

async function startSession(connection: Connection, exchange: Exchange): Promise<URL> {
  const response = await connection.exchange(exchange);
  await response.discard();
  const location = response.header('location');
  if (location === undefined) {
    throw new AccelError('registry-error', 'the registry began an upload without saying where', {
      where: { ...exchange.where, url: redactUrl(response.url) },
      expected: 'a Location header',
      found: `HTTP ${response.status} without one`,
    });
  }
  const url = resolveLocation(location, response.url);
  // Behind a proxy that ends TLS some registries build http URLs of themselves: the way back is the way we came.
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

/** The session's own query stays byte for byte: some registries sign it. */
function withDigest(session: URL, digest: string): URL {
  const url = new URL(session);
  url.search = `${url.search}${url.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`;
  return url;
}

/** An offered session that is not used would stay in the registry's store until it is swept. */
async function cancel(
  connection: Connection,
  exchange: Exchange,
  offer: HttpResponse,
  location: string,
): Promise<void> {
  const { body: _, ...rest } = exchange;
  const request: Exchange = {
    ...rest,
    action: 'cancel an upload',
    method: 'DELETE',
    to: resolveLocation(location, offer.url),
  };
  // Not every registry knows how to cancel, and nothing depends on it.
  await connection.once(request).then(
    (response) => response.discard(),
    () => undefined,
  );
}

/** The content with its check; remembers why it failed, since HTTP only sees a body that stopped. */
function watch(content: BlobSource, descriptor: Descriptor) {
  let failure: AccelError | undefined;
  const source: BlobSource = {
    async *open() {
      try {
        yield* verified(content.open(), descriptor);
      } catch (error) {
        failure = asAccelError(error);
        throw error;
      }
    },
  };
  return { source, failure: () => failure };
}
