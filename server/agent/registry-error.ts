/** Errors as clients of a registry expect them (OCI distribution specification, "Error Codes"). */
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Writable } from 'node:stream';

const CODES: Readonly<Record<number, string>> = {
  400: 'NAME_INVALID',
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'NAME_UNKNOWN',
  405: 'UNSUPPORTED',
  408: 'UNSUPPORTED',
  416: 'BLOB_UPLOAD_INVALID',
  429: 'TOOMANYREQUESTS',
  431: 'UNSUPPORTED',
};

/** Answers with an error in the registry's form. `message` must hold no secret. */
export function sendRegistryError(
  response: ServerResponse,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = errorBody(status, message);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length, ...headers });
  // An answer to HEAD has the headers alone; node:http leaves the body out.
  response.end(body);
}

/** Writes an error, as {@link sendRegistryError} does, to a connection whose request could not be read; the connection is to end. */
export function writeRegistryError(socket: Writable, status: number, message: string): void {
  const body = errorBody(status, message);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${body.length}`,
  ];
  socket.end(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]));
}

function errorBody(status: number, message: string): Buffer {
  const code = CODES[status] ?? 'UNAVAILABLE';
  return Buffer.from(JSON.stringify({ errors: [{ code, message, detail: { from: 'accel agent' } }] }));
}

/** The status that a client gets for a failure of the origin: the origin's own where the client can act on it. */
export function clientStatus(originStatus: number): number {
  if ([401, 403, 404, 410, 429].includes(originStatus)) return originStatus;
  return originStatus === 0 ? 504 : 502;
}
