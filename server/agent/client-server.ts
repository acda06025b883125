/** The server of the port that container runtimes and block devices ask: it hands requests to their parts, and cuts off slow callers. */
import http from 'node:http';
import type { Socket } from 'node:net';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { boundConnections } from '../telemetry/bound-connections.ts';
import { answerTelemetry, type ExposedState, isForTelemetry } from '../telemetry/exposition.ts';
import type { BlockProxy } from './block-proxy.ts';
import type { CredentialEndpoint } from './device-credentials/credential-endpoint.ts';
import type { Mirror } from './mirror.ts';
import { sendRegistryError, writeRegistryError } from './registry-error.ts';
import type { LocalApi } from './warm/local-api.ts';

/** Parts of {@link createClientServer}. */
export interface ClientServerParts {
  readonly mirror: Mirror;
  readonly block: BlockProxy;
  readonly api: LocalApi;
  /** Gives credentials to block devices; undefined where none are given out. */
  readonly endpoint: CredentialEndpoint | undefined;
  readonly metrics: AgentMetrics;
  /** Metrics and health, where they have no port of their own. */
  readonly exposed: ExposedState | undefined;
  /** Ends when the agent stops. */
  readonly stop: AbortSignal;
}

/** Connections at once: each mounted device has a few, and a runtime one for each layer. */
const MOST_CONNECTIONS = 4096;
/** Milliseconds in which a caller takes the answer to a request that could not be read. */
const LAST_WORDS = 500;

/** Makes the server, not yet listening. */
export function createClientServer({ mirror, block, api, endpoint, metrics, exposed, stop }: ClientServerParts) {
  const server = http.createServer(
    { keepAliveTimeout: 60_000, headersTimeout: 10_000, requestTimeout: 20_000, connectionsCheckingInterval: 1_000 },
    (request, response) => {
      const gone = new AbortController();
      response.on('close', () => gone.abort(new Error('the client has gone')));
      response.on('error', () => undefined);
      if (exposed !== undefined && isForTelemetry(request, exposed.metrics)) {
        answerTelemetry(request, response, exposed);
        return;
      }
      const url = request.url ?? '';
      const local = endpoint?.matches(url) === true ? endpoint : api.matches(url) ? api : undefined;
      const kind = local !== undefined ? 'api' : block.matches(url) ? 'block' : 'mirror';
      response.on('finish', () => metrics.requests.inc({ kind, status: String(response.statusCode) }));
      const signal = AbortSignal.any([stop, gone.signal]);
      const answered =
        local !== undefined
          ? local.handle(request, response)
          : (kind === 'block' ? block : mirror).handle(request, response, signal);
      answered.catch(() => {
        if (response.headersSent) response.destroy();
        else sendRegistryError(response, 500, 'the agent failed');
      });
    },
  );
  answerUnreadable(server);
  const { endedConnections } = metrics;
  boundConnections(server, { most: MOST_CONNECTIONS, onEnded: () => endedConnections.inc({ port: 'clients' }) });
  return server;
}

/** Answers requests that cannot be read in the registry's form, unless another answer is on its way, and ends the connection. */
function answerUnreadable(server: http.Server): void {
  const answering = new WeakMap<Socket, number>();
  const ended = new WeakSet<object>();
  server.prependListener('request', ({ socket }: http.IncomingMessage, response: http.ServerResponse) => {
    answering.set(socket, (answering.get(socket) ?? 0) + 1);
    response.once('close', () => answering.set(socket, (answering.get(socket) ?? 1) - 1));
  });
  server.on('clientError', ({ code }: NodeJS.ErrnoException, stream) => {
    // Bytes after a request that could not be read are no request either.
    if (ended.has(stream)) return;
    ended.add(stream);
    const [status, message] =
      code === 'HPE_HEADER_OVERFLOW'
        ? [431, `the headers are larger than ${http.maxHeaderSize} bytes`]
        : code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? [408, 'the request did not come in time']
          : [400, 'the request is no HTTP'];
    if (!stream.writable || code === 'ECONNRESET' || (answering.get(stream as Socket) ?? 0) > 0) {
      stream.destroy();
      return;
    }
    writeRegistryError(stream, status, message);
    // The rest is read and thrown away: a reset would take the answer from the caller.
    stream.resume();
    setTimeout(() => stream.destroy(), LAST_WORDS).unref();
  });
}
