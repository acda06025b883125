/**
 * The HTTP endpoint of a process's metrics and health: /metrics, /healthz, /readyz, and documents below /api/. On a port of its
 * own, or beside others on the port of a service.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AccelError } from '../../base/error.ts';
import { TAKEN_ADDRESS } from '../config/taken-address.ts';
import { boundConnections } from './bound-connections.ts';
import type { Metrics } from './metrics.ts';

const PLAIN = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';
const PATHS = ['/metrics', '/healthz', '/readyz'];
const DEADLINE = 10_000;
const MAX_CONNECTIONS = 64;

/** State that the endpoint serves. */
export interface ExposedState {
  readonly metrics: Metrics;
  /** Why the process cannot serve now; empty when it is ready. Asked at each request. */
  readonly unready: () => readonly string[];
  /** Lists what does not work though it serves. */
  readonly degraded?: () => readonly string[];
}

/** Where it listens and what it serves. */
export interface ExpositionOptions extends ExposedState {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** A descriptor that listens there already. */
  readonly fd?: number | undefined;
}

/** A running endpoint. */
export interface Exposition {
  /** `http://HOST:PORT`. */
  readonly url: string;
  /** Stops listening and ends what is open. */
  close(): Promise<void>;
}

/** Starts the endpoint. Fails with `io-error` where the address cannot be had. */
export async function serveTelemetry(options: ExpositionOptions): Promise<Exposition> {
  const { host, port, fd } = options;
  const server = createServer(
    { maxHeaderSize: 8192, requestTimeout: DEADLINE, headersTimeout: DEADLINE },
    (request, response) => answerTelemetry(request, response, options),
  );
  const { endedConnections } = options.metrics;
  boundConnections(server, { most: MAX_CONNECTIONS, onEnded: () => endedConnections.inc({ port: 'metrics' }) });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new AccelError('io-error', 'cannot listen for metrics', {
          where: { key: 'telemetry.listen', address: `${host}:${port}` },
          found: cause.message,
          hint: TAKEN_ADDRESS,
          cause,
        }),
      );
    });
    server.listen(fd === undefined ? { port, host } : { fd }, resolve);
  });
  const address = server.address() as AddressInfo;
  return {
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Whether a request on a shared port is for this endpoint. */
export function isForTelemetry({ url = '' }: IncomingMessage, { documents }: Metrics): boolean {
  const [path = ''] = url.split('?');
  return PATHS.includes(path) || documents.has(path);
}

/** Answers one request. */
export function answerTelemetry(request: IncomingMessage, response: ServerResponse, state: ExposedState): void {
  answer(request, response, state).catch((error: unknown) => {
    send(response, { status: 500, body: `${(error as Error).message}\n` });
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, options: ExposedState): Promise<void> {
  // A body is not read: the connection ends with the answer where there is one.
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    send(response, { status: 405, body: 'only GET and HEAD\n' });
    return;
  }
  const [path = ''] = (request.url ?? '').split('?');
  const document = options.metrics.documents.get(path);
  if (document !== undefined) {
    send(response, { status: 200, body: `${JSON.stringify(await document())}\n`, type: JSON_TYPE });
    return;
  }
  switch (path) {
    case '/metrics': {
      const { metrics } = options;
      send(response, { status: 200, body: await metrics.text(), type: metrics.registry.contentType });
      break;
    }
    case '/healthz':
      send(response, { status: 200, body: 'ok\n' });
      break;
    case '/readyz': {
      const reasons = options.unready();
      const degraded = options.degraded?.() ?? [];
      send(
        response,
        reasons.length === 0
          ? { status: 200, body: `ok\n${degraded.map((reason) => `degraded: ${reason}\n`).join('')}` }
          : { status: 503, body: `${reasons.join('\n')}\n` },
      );
      break;
    }
    default:
      send(response, { status: 404, body: 'not found\n' });
  }
}

function send(
  response: ServerResponse,
  { status, body, type = PLAIN }: { status: number; body: string; type?: string },
): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'X-Content-Type-Options': 'nosniff',
    ...(status === 405 ? { Connection: 'close' } : {}),
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
