/** Servers of tests and benchmarks: on 127.0.0.1 alone, on a port that is free. */
import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import { createServer } from 'node:net';

/** A server that listens. */
export interface Loopback {
  readonly port: number;
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** Ends it, and what is connected to it. */
  stop(): Promise<void>;
}

/** Lets `server` listen. */
export async function listen(server: HttpServer | HttpsServer): Promise<Loopback> {
  const port = await portOf(server);
  return {
    port,
    host: `127.0.0.1:${port}`,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

async function portOf(server: ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the system gave no port');
  return address.port;
}
