/** Downloads that survive a broken connection: what is missing is asked for by Range (distribution-spec, "Pulling blobs"). */
import { AccelError } from '../../base/error.ts';
import { isTransientError } from '../../http/failure.ts';
import { Backoff } from '../../http/retry.ts';
import type { HttpResponse } from '../../http/transport.ts';
import type { Descriptor } from '../descriptor.ts';
import type { Connection, Exchange } from './connection.ts';

/** A part of a piece of content: bytes `start` (inclusive) to `end` (exclusive). */
export interface Part {
  readonly start: number;
  readonly end: number;
}

/** A download: a part of a piece of content, and the request for all of it. */
export interface Download {
  readonly connection: Connection;
  readonly exchange: Exchange;
  readonly descriptor: Descriptor;
  readonly part: Part;
  readonly signal: AbortSignal | undefined;
}

/** A download that has begun. */
interface BegunDownload extends Download {
  /** Entity tag of the first answer, for If-Match; undefined if the answer has no tag that can be trusted. */
  readonly validator?: string | undefined;
}

/**
 * Begins to download a part. Awaits the first answer, so that missing content is an error here and not in the middle of a
 * stream. The stream ends after `part.end`, or with an error: `size-mismatch` if the registry holds another number of bytes,
 * `registry-unreachable` if consecutive tries bring next to nothing, or are slow.
 */
export async function download(wanted: Download): Promise<AsyncIterable<Uint8Array>> {
  const { exchange, signal } = wanted;
  const task = { ...wanted, exchange: { ...exchange, signal } };
  const first = await ask(task, task.part.start);
  return resumed({ ...task, validator: validatorOf(task, first) }, first);
}

async function* resumed(task: BegunDownload, first: HttpResponse): AsyncGenerator<Uint8Array, void, undefined> {
  const { connection, part, signal } = task;
  const backoff = new Backoff(connection.patience, signal);
  let response = first;
  let offset = part.start;
  for (;;) {
    let broken: unknown;
    const from = offset;
    // A registry that ignores ranges answers with the whole content: skip the bytes that were received before.
    let skip = response.status === 200 ? offset : 0;
    try {
      for await (const chunk of response.body) {
        const fresh = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - fresh.length;
        if (fresh.length === 0) continue;
        const wanted = fresh.subarray(0, part.end - offset);
        offset += wanted.length;
        yield wanted;
        if (offset >= part.end) return;
      }
    } catch (error) {
      if (signal?.aborted) throw error;
      if (!isTransientError(error)) throw connection.asError(task.exchange, error);
      broken = error;
    }
    if (offset >= part.end) return;
    // Otherwise a server that sends one byte per connection would be asked once for each byte.
    if (offset - from >= connection.leastProgress) backoff.reset();
    if (!backoff.failed(broken)) {
      if (broken !== undefined) throw connection.asError(task.exchange, broken);
      throw wrongSize(task, `the stream ended after ${offset} bytes`);
    }
    await backoff.wait();
    response = await ask(task, offset);
  }
}

async function ask(task: BegunDownload, offset: number): Promise<HttpResponse> {
  const { connection, exchange, descriptor, part, validator } = task;
  const whole = offset === 0 && part.end === descriptor.size;
  const range = whole ? {} : { range: `bytes=${offset}-${part.end - 1}` };
  const match = validator === undefined ? {} : { 'if-match': validator };
  const response = await connection.exchange({
    ...exchange,
    headers: { ...exchange.headers, ...range, ...match },
    expect: [200, ...(whole ? [] : [206, 416]), ...(validator === undefined ? [] : [412])],
  });
  try {
    assertFits(task, response, offset);
  } catch (error) {
    await response.discard();
    throw error;
  }
  return response;
}

/** Throws if the headers do not match the request, so that a body of the wrong size is not waited for. */
function assertFits(task: Download, response: HttpResponse, offset: number): void {
  const { descriptor, part } = task;
  if (response.status === 412) throw changed(task, offset);
  if (response.status === 416) throw wrongSize(task, `no bytes at offset ${offset} (HTTP 416)`);
  if (response.status === 200) {
    const length = response.header('content-length');
    if (length !== undefined && Number(length) !== descriptor.size) throw wrongSize(task, `${length} bytes`);
    return;
  }
  const header = response.header('content-range') ?? '';
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/i.exec(header.trim());
  if (!match || Number(match[1]) !== offset || Number(match[2]) >= part.end) {
    throw new AccelError('registry-error', 'the registry answered with another range than was asked for', {
      where: { digest: descriptor.digest, offset },
      expected: `Content-Range: bytes ${offset}-${part.end - 1}/${descriptor.size}`,
      found: header === '' ? 'no Content-Range' : header,
    });
  }
  if (match[3] !== '*' && Number(match[3]) !== descriptor.size) throw wrongSize(task, `${match[3]} bytes`);
}

/**
 * The strong entity tag of an answer from the registry itself. After a redirect to a storage the tag is the storage's, and
 * the registry, which sees If-Match first, might take it for a wrong one of its own.
 */
function validatorOf({ exchange }: Download, { url, header }: HttpResponse): string | undefined {
  const tag = header('etag');
  const isOwn = exchange.to instanceof URL ? url.href === exchange.to.href : url.pathname.endsWith(`/${exchange.to}`);
  return isOwn && tag?.startsWith('"') ? tag : undefined;
}

function changed({ descriptor, exchange }: Download, offset: number): AccelError {
  return new AccelError('digest-mismatch', 'the registry changed a piece of content while it was read', {
    where: { ...exchange.where, digest: descriptor.digest, offset },
    expected: 'the same bytes for one digest at all times',
    found: 'HTTP 412 for the entity tag of the first answer',
    hint: 'Run it again; if it stays, the registry or a cache before it is at fault.',
  });
}

function wrongSize(task: Download, found: string): AccelError {
  return new AccelError('size-mismatch', 'the registry does not hold as many bytes as the descriptor names', {
    where: { ...task.exchange.where, digest: task.descriptor.digest },
    expected: `${task.descriptor.size} bytes`,
    found,
  });
}
