/**
 * Answers overlaybd when a device needs a credential (its `credentialConfig` in mode `http`): `GET PATH?remote_url=URL`, the URL
 * of a blob as it is, not encoded. The answer is `{traceId, success, data: {auths: {HOST: {username, password}}}}`, always 200
 * where the request is understood; without a credential `auths` is empty and the device asks as nobody
 * (containerd/overlaybd, src/image_service.cpp: load_cred_from_http, parse_auths).
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { repositoryIn, type Upstreams } from '../pieces/upstreams.ts';
import { sendRegistryError } from '../registry-error.ts';
import { isOfThisNode } from '../warm/local-api.ts';
import type { CredentialSource } from './credential-sources.ts';

/** Path of the endpoint on the clients' port. */
export const CREDENTIALS_PATH = '/api/v1/credentials';

/** See the head of the file. */
export class CredentialEndpoint {
  readonly #source: CredentialSource;
  readonly #upstreams: Upstreams;

  constructor(source: CredentialSource, upstreams: Upstreams) {
    this.#source = source;
    this.#upstreams = upstreams;
  }

  /** Whether a request is for the endpoint. */
  matches(rawUrl: string): boolean {
    return rawUrl === CREDENTIALS_PATH || rawUrl.startsWith(`${CREDENTIALS_PATH}?`);
  }

  /** Answers one request of this node. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isOfThisNode(request))
      return sendRegistryError(response, 403, 'credentials are given to programs of this node alone');
    if (request.method !== 'GET') return sendRegistryError(response, 405, 'credentials are read', { allow: 'GET' });
    const url = remoteUrl(request.url ?? '');
    if (url === undefined) return sendRegistryError(response, 400, 'remote_url is not the URL of a blob');
    const upstream = this.#upstreams.byUrl(url);
    const found = upstream === undefined ? undefined : await this.#source.find(upstream.host, repositoryIn(url) ?? '');
    // The name must be the URL's own: overlaybd compares texts.
    const auths = found === undefined ? {} : { [url.host]: { username: found.username, password: found.password } };
    const body = Buffer.from(
      JSON.stringify({ traceId: randomBytes(8).toString('hex'), success: true, data: { auths } }),
    );
    response
      .writeHead(200, {
        'content-type': 'application/json',
        'content-length': body.length,
        'cache-control': 'no-store',
      })
      .end(body);
  }
}

/** The blob's URL in a request: everything after `remote_url=`, which may hold `&` and `?` of its own. */
function remoteUrl(rawUrl: string): URL | undefined {
  const text = /[?&]remote_url=(.*)$/s.exec(rawUrl)?.[1] ?? '';
  for (const candidate of [text, decoded(text)])
    if (/^https?:\/\//i.test(candidate) && URL.canParse(candidate)) return new URL(candidate);
  return undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not encoded, and not a URL either.
    return '';
  }
}
