/** An HTTP server between accel and a registry that counts what passes: nobody's own bookkeeping. */
import { createServer, request } from 'node:http';
import { listen } from '../tests/support/loopback.ts';

/** Traffic that passed through. */
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
  /** Returns the traffic since the last {@link CountingProxy.reset}. */
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
  });
  const { host, stop } = await listen(server);
  return {
    host,
    count: () => ({ requests, bytes }),
    reset() {
      requests = 0;
      bytes = 0;
    },
    stop,
  };
}
