/**
 * The agent's API for programs of its own node, below `/api/v1/` of the clients' port: `prefetch`. Callers from other addresses
 * are refused, also where the port listens on all of them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isLoopbackUrl } from '../../../http/local-address.ts';
import { readText } from '../read-text.ts';
import { sendRegistryError } from '../registry-error.ts';
import type { FleetProgress, PrefetchFleet } from './prefetch-fleet.ts';
import { MAX_PREFETCH_REQUEST, parsePrefetchRequest } from './prefetch-request.ts';

const PREFIX = '/api/v1/prefetch';

/** See the head of the file. */
export class LocalApi {
  readonly #prefetch: PrefetchFleet;

  constructor(prefetch: PrefetchFleet) {
    this.#prefetch = prefetch;
  }

  /** Whether a request is for this API. */
  matches(rawUrl: string): boolean {
    return rawUrl === PREFIX || rawUrl.startsWith(`${PREFIX}/`) || rawUrl.startsWith(`${PREFIX}?`);
  }

  /** Answers one request. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isOfThisNode(request)) return sendRegistryError(response, 403, 'the API is for programs of this node');
    const { method, url = '' } = request;
    const [path = '', query = ''] = url.split('?', 2);
    if (path === PREFIX) {
      if (method !== 'POST')
        return sendRegistryError(response, 405, 'a prefetch is started by POST', { allow: 'POST' });
      return this.#start(request, response, new URLSearchParams(query).get('nodes') === 'all');
    }
    const id = /^\/([0-9a-f]{32})$/.exec(path.slice(PREFIX.length))?.[1];
    if (id === undefined) return sendRegistryError(response, 404, 'no such path');
    if (method !== 'GET' && method !== 'DELETE')
      return sendRegistryError(response, 405, 'a prefetch is read or ended', { allow: 'GET, DELETE' });
    const progress = await (method === 'GET' ? this.#prefetch.progress(id) : this.#prefetch.cancel(id));
    if (progress === undefined) return sendRegistryError(response, 404, 'no such prefetch');
    sendProgress(response, 200, progress);
  }

  async #start(request: IncomingMessage, response: ServerResponse, allNodes: boolean): Promise<void> {
    const text = await readText(request, MAX_PREFETCH_REQUEST);
    const asked =
      text === undefined ? `the body has more than ${MAX_PREFETCH_REQUEST} bytes` : parsePrefetchRequest(text);
    if (typeof asked === 'string') {
      // The rest of a body that is too long is not read.
      response.shouldKeepAlive = false;
      return sendRegistryError(response, 400, asked);
    }
    const progress = await this.#prefetch.start(asked, request.headers.authorization, allNodes);
    if (progress === undefined)
      return sendRegistryError(response, 429, 'too many prefetches run on this node', { 'retry-after': '5' });
    sendProgress(response, 202, progress);
  }
}

/** Whether a request comes from this machine, and by a name of it: a page in a browser has another one. */
export function isOfThisNode({ socket, headers }: IncomingMessage): boolean {
  if (headers.origin !== undefined) return false;
  const address = socket.remoteAddress ?? '';
  const host = `http://${headers.host ?? ''}/`;
  if (!URL.canParse(host) || !isLoopbackUrl(new URL(host))) return false;
  return /^(?:::ffff:)?127\.|^::1$/.test(address);
}

function sendProgress(response: ServerResponse, status: number, progress: FleetProgress): void {
  const body = Buffer.from(JSON.stringify(progress));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
}
