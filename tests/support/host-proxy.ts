/** An HTTP proxy on loopback that leads every host name to one server: the names of the documentation need no DNS. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** A proxy that runs. */
export interface HostProxy {
  /** `http://127.0.0.1:PORT`, for HTTPS_PROXY. */
  readonly url: string;
  /** Host names that were asked for. */
  readonly hosts: ReadonlySet<string>;
  /** Ends it with its connections. */
  stop(): Promise<void>;
}

/** Starts a proxy whose tunnels all end at `upstream` (`127.0.0.1:port`), whatever they ask for. */
export async function startHostProxy(upstream: string): Promise<HostProxy> {
  const [host = '', port = ''] = upstream.split(':');
  const hosts = new Set<string>();
  const sockets = new Set<Socket>();
  const server = createServer();
  server.on('connect', (request, client: Socket, head) => {
    hosts.add((request.url ?? '').replace(/:\d+$/, ''));
    const onward = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      onward.write(head);
      onward.pipe(client).pipe(onward);
    });
    for (const socket of [client, onward]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      // Either end going away ends the tunnel; whoever spoke through it hears of it.
      socket.on('error', () => {
        client.destroy();
        onward.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hosts,
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
