/** An HTTP server between accel and a registry that counts what passes: nobody's own bookkeeping. */
import { once } from 'node:events';
import { createServer, request } from 'node:http';

/** What has passed. */
export interface PassedTraffic {
  /** HTTP requests, whatever their answer. */
  readonly requests: number;
  /** Bytes of response bodies. */
  readonly bytes: number;
}

/** A running proxy. */
export interface CountingProxy {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** What has passed since the last {@link CountingProxy.reset}. */
  count(): PassedTraffic;
  reset(): void;
  stop(): Promise<void>;
}

/** Starts a proxy for the plain HTTP server at `upstream` (`host:port`). */
export async function startCountingProxy(upstream: string): Promise<CountingProxy> {
  let requests = 0;
  let bytes = 0;
  const [hostname, port] = upstream.split(':');
  const server = createServer((incoming, outgoing) => {
    requests++;
    const { method, url, headers } = incoming;
    const forwarded = request({ hostname, port, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.pipe(outgoing);
    });
    forwarded.on('error', () => outgoing.destroy());
    incoming.pipe(forwarded);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the system gave no port');
  return {
    host: `127.0.0.1:${address.port}`,
    count: () => ({ requests, bytes }),
    reset() {
      requests = 0;
      bytes = 0;
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
