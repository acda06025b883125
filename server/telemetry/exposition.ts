/** The HTTP endpoint of a process's metrics and health: /metrics, /healthz, /readyz. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AccelError } from '../../base/error.ts';
import type { Metrics } from './metrics.ts';

const PLAIN = 'text/plain; charset=utf-8';
const DEADLINE = 10_000;
const MAX_CONNECTIONS = 64;

/** Where it listens and what it serves. */
export interface ExpositionOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly metrics: Metrics;
  /** Why the process cannot serve now; empty when it is ready. Asked at each request. */
  readonly unready: () => readonly string[];
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
  const { host, port } = options;
  const server = createServer(
    { maxHeaderSize: 8192, requestTimeout: DEADLINE, headersTimeout: DEADLINE },
    (request, response) => {
      answer(request, response, options).catch((error: unknown) => {
        send(response, { status: 500, body: `${(error as Error).message}\n` });
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new AccelError('io-error', 'cannot listen for metrics', {
          where: { address: `${host}:${port}` },
          found: cause.message,
          cause,
        }),
      );
    });
    server.listen(port, host, resolve);
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

async function answer(request: IncomingMessage, response: ServerResponse, options: ExpositionOptions): Promise<void> {
  // A body is not read: the connection ends with the answer where there is one.
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    send(response, { status: 405, body: 'only GET and HEAD\n' });
    return;
  }
  const [path] = (request.url ?? '').split('?');
  switch (path) {
    case '/metrics': {
      const { registry } = options.metrics;
      send(response, { status: 200, body: await registry.metrics(), type: registry.contentType });
      break;
    }
    case '/healthz':
      send(response, { status: 200, body: 'ok\n' });
      break;
    case '/readyz': {
      const reasons = options.unready();
      send(
        response,
        reasons.length === 0 ? { status: 200, body: 'ok\n' } : { status: 503, body: `${reasons.join('\n')}\n` },
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
