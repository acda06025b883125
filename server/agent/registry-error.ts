/** Errors as clients of a registry expect them (OCI distribution specification, "Error Codes"). */
import type { ServerResponse } from 'node:http';

const CODES: Readonly<Record<number, string>> = {
  400: 'NAME_INVALID',
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'NAME_UNKNOWN',
  405: 'UNSUPPORTED',
  416: 'BLOB_UPLOAD_INVALID',
  429: 'TOOMANYREQUESTS',
};

/** Answers with an error in the registry's form. `message` must hold no secret. */
export function sendRegistryError(
  response: ServerResponse,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const code = CODES[status] ?? 'UNAVAILABLE';
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message, detail: { from: 'accel agent' } }] }));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length, ...headers });
  // An answer to HEAD has the headers alone; node:http leaves the body out.
  response.end(body);
}

/** The status that a client gets for a failure of the origin: the origin's own where the client can act on it. */
export function clientStatus(originStatus: number): number {
  if ([401, 403, 404, 410, 429].includes(originStatus)) return originStatus;
  return originStatus === 0 ? 504 : 502;
}
