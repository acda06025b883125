/** The answers to requests that fail. All are one document, `{error: {code, message, …}}`, also where HTTP itself is broken. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { AccelError, type AccelErrorCode } from '../../base/error.ts';
import { redact } from '../../base/secrets.ts';
import { QueueError, type QueueRefusal } from './queue.ts';
import { isAccelctl } from './routes/accelctl.ts';

const STATUS: Readonly<Partial<Record<AccelErrorCode, number>>> = {
  usage: 400,
  'reference-invalid': 400,
  'tag-too-long': 400,
  'not-found': 404,
  unauthorized: 401,
  aborted: 503,
  'timed-out': 504,
  'registry-unreachable': 502,
  'registry-error': 502,
};
const REFUSAL_STATUS: Readonly<Record<QueueRefusal, number>> = { full: 507, busy: 503, unavailable: 503, invalid: 400 };
/** Seconds after which a sender may ask again. */
const RETRY_AFTER = 10;
/** Characters of a text of the request that an error shows. */
const SHOWN_TEXT = 500;
/** Characters of a path that an error shows. */
const SHOWN_PATH = 200;

/** Codes of the failures that Fastify itself finds. */
const CODES: Readonly<Record<number, string>> = {
  403: 'forbidden',
  404: 'not-found',
  405: 'method-not-allowed',
  408: 'timed-out',
  413: 'too-large',
  414: 'too-large',
  415: 'media-type',
  431: 'too-large',
};

/** The answer to a body of another type. */
const MEDIA_TYPE = {
  code: 'media-type',
  message: 'this address takes JSON',
  expected: 'the header Content-Type: application/json',
};

/** A request that is known and not allowed: HTTP 403. */
export class Forbidden extends Error {
  readonly statusCode = 403;
}

/** A conversion that its caller waited for has failed: HTTP 500, as goharbor/acceleration-service answers it. */
export class ConversionFailed extends Error {}

/** Answers a request that failed. */
export function sendError(error: unknown, _: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof QueueError) {
    const status = REFUSAL_STATUS[error.refusal];
    if (status !== 400) reply.header('Retry-After', String(RETRY_AFTER));
    return send(reply, status, documentOf(error, `queue-${error.refusal}`));
  }
  if (error instanceof AccelError) return send(reply, STATUS[error.code] ?? 500, documentOf(error));
  if (error instanceof ConversionFailed) {
    return send(reply, 500, plainDocument('conversion-failed', redact(error.message)));
  }
  const { statusCode = 500, message } = error as FastifyError;
  // The text of an unforeseen error may quote anything.
  if (statusCode >= 500) return send(reply, 500, plainDocument('internal', 'internal error'));
  if (statusCode === 415) return send(reply, 415, { error: { ...MEDIA_TYPE } });
  return send(reply, statusCode, plainDocument(CODES[statusCode] ?? 'usage', redact(message)));
}

/** Answers a path or a method that is not there. */
export function sendMissing(request: FastifyRequest, reply: FastifyReply, allowed: readonly string[]): FastifyReply {
  const { status, document } = missing(request.method, request.url, allowed);
  if (status === 405) reply.header('Allow', allowed.join(', '));
  return send(reply, status, document);
}

function missing(method: string, url: string, allowed: readonly string[]) {
  if (allowed.length > 0) {
    return { status: 405, document: plainDocument('method-not-allowed', `this address takes ${allowed.join(', ')}`) };
  }
  const found = `${method} ${pathOf(url)}`.slice(0, SHOWN_PATH);
  return {
    status: 404,
    document: documentOf(new AccelError('not-found', 'there is nothing at this address', { found })),
  };
}

/** The path of a request's target. */
export function pathOf(url: string): string {
  return url.split('?', 1)[0] ?? '';
}

/** An error of Node's HTTP parser, with the bytes that it could not read: a Buffer, which Fastify declares as something else. */
interface ParserError extends Error {
  readonly code?: string;
  readonly rawPacket?: unknown;
}

/** The request line of a method that HTTP's parser does not know; RFC 9112, section 3. */
const REQUEST_LINE = /^([\w!#$%&'*+.^`|~-]+) (\S+) HTTP\/1\.[01]\r?\n/;

/**
 * Answers bytes that are no request, methods that nobody knows, headers that are too long, and requests that take too long; the connection
 * ends. `methodsOf` names the methods of a path.
 */
export function answerBrokenRequest(
  error: ParserError,
  socket: Socket,
  methodsOf: (path: string) => readonly string[],
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { code, rawPacket } = error;
  const line = code === 'HPE_INVALID_METHOD' && Buffer.isBuffer(rawPacket) ? rawPacket.toString('latin1') : undefined;
  const [, method, url] = REQUEST_LINE.exec(line ?? '') ?? [];
  if (method !== undefined && url !== undefined) {
    const allowed = methodsOf(pathOf(url));
    const { status, document } = missing(method, url, allowed);
    answerRaw(socket, status, document, status === 405 ? [`Allow: ${allowed.join(', ')}`] : []);
    return;
  }
  const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[code ?? ''] ?? 400;
  answerRaw(socket, status, plainDocument(CODES[status] ?? 'usage', STATUS_CODES[status]!));
}

/** Answers CONNECT, which has no path: this is no proxy. */
export function answerConnect(socket: Duplex): void {
  answerRaw(socket, 405, plainDocument('method-not-allowed', 'this server is no proxy'), ['Allow: ']);
}

function answerRaw(socket: Duplex, status: number, document: object, more: readonly string[] = []): void {
  const body = JSON.stringify(document);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...more,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

/** The document of an error. */
interface ErrorDocument {
  readonly error: { readonly code: string; readonly message: string };
}

function send(reply: FastifyReply, status: number, document: ErrorDocument): FastifyReply {
  const { code, message } = document.error;
  const answer = isAccelctl(reply.request) ? { ...document, code, message } : document;
  return reply.status(status).type('application/json; charset=utf-8').send(answer);
}

function plainDocument(code: string, message: string): ErrorDocument {
  return { error: { code, message } };
}

function documentOf(error: AccelError, code: string = error.code): ErrorDocument {
  const { message, where, expected, found, hint } = error;
  return {
    error: {
      code,
      message,
      ...(Object.keys(where).length === 0 ? {} : { where: shortened(where) }),
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found: shortText(found) }),
      ...(hint === undefined ? {} : { hint }),
    },
  };
}

/** Quotes the beginning of texts: a sender's may be as long as its request. */
function shortened(where: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(where).map(([name, value]) => [name, shortText(value)]));
}

function shortText(value: unknown): unknown {
  return typeof value === 'string' && value.length > SHOWN_TEXT ? `${value.slice(0, SHOWN_TEXT)}…` : value;
}
