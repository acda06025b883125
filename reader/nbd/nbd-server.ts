/** An NBD server for one read-only device: fixed newstyle, on TCP or a Unix socket. */
import { once } from 'node:events';
import { chmod, lstat, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AccelError, asAccelError, withPlace } from '../../base/error.ts';
import type { BlockDevice } from '../../formats/ext4/reader.ts';
import type { MappedDevice } from '../block-device.ts';
import { ClientConnection } from './client-connection.ts';
import { MAXIMUM_READ, type ReadErrorListener } from './transmission.ts';

/** Where a server listens: a TCP address (port 0 takes a free one), or the path of a Unix socket. */
export type NbdAddress = { readonly host: string; readonly port: number } | { readonly socket: string };

/** Events of a server. `client` counts the connections from 1. */
export type NbdEvent =
  | { readonly type: 'connected'; readonly client: number }
  | { readonly type: 'disconnected'; readonly client: number }
  /** The device could not be read; the client received an input/output error. */
  | {
      readonly type: 'read-failed';
      readonly client: number;
      readonly offset: number;
      readonly length: number;
      readonly error: AccelError;
    }
  /** The connection was cut, for a reason that lies with the client. */
  | { readonly type: 'client-failed'; readonly client: number; readonly error: AccelError };

/** Options of {@link serveNbd}. */
export interface NbdServerOptions {
  readonly address: NbdAddress;
  /** Text that clients show to users, such as the image's reference. */
  readonly description?: string;
  readonly onEvent?: (event: NbdEvent) => void;
  /** Clients at a time; 64 unless given. More are turned away. */
  readonly maxConnections?: number;
}

/** A server that runs. */
export interface NbdServer {
  /** Where it listens, the real port filled in. */
  readonly address: NbdAddress;
  /** The same as an NBD URI, `nbd://host:port` or `nbd+unix:///?socket=path`. */
  readonly uri: string;
  /** Lets requests under way end (a moment at most), cuts the connections and gives the address back. */
  close(): Promise<void>;
}

const DEFAULT_CONNECTIONS = 64;
/** Milliseconds that requests under way have when the server is closed. */
const CLOSING_TIME = 2000;

/**
 * Starts a server. Rejects with `io-error` when the address cannot be had, and with `usage` when a socket's path holds
 * something else.
 */
export async function serveNbd(device: BlockDevice | MappedDevice, options: NbdServerOptions): Promise<NbdServer> {
  const { address, description = '', onEvent = () => undefined } = options;
  const served = { size: device.size, description, maximumRead: MAXIMUM_READ, knowsHoles: 'parts' in device };
  const connections = new Map<ClientConnection, Promise<void>>();
  let closing: Promise<void> | undefined;
  let count = 0;
  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
    const client = ++count;
    onEvent({ type: 'connected', client });
    const onReadError: ReadErrorListener = (offset, length, error) => {
      // Failures while the server closes are not reported.
      if (closing === undefined) onEvent({ type: 'read-failed', client, offset, length, error });
    };
    const connection = new ClientConnection(socket, served, { device, onReadError });
    const ended = connection
      .run()
      .catch((error: unknown) => {
        if (closing === undefined) onEvent({ type: 'client-failed', client, error: asAccelError(error) });
      })
      .then(() => {
        connections.delete(connection);
        onEvent({ type: 'disconnected', client });
      });
    connections.set(connection, ended);
  });
  server.maxConnections = options.maxConnections ?? DEFAULT_CONNECTIONS;
  await listen(server, address);
  const known = 'socket' in address ? address : { host: address.host, port: (server.address() as AddressInfo).port };
  return {
    address: known,
    uri: uriOf(known),
    close: () => (closing ??= shutDown(server, connections)),
  };
}

async function shutDown(server: Server, connections: ReadonlyMap<ClientConnection, Promise<void>>): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  for (const connection of connections.keys()) connection.finish();
  const timer = new AbortController();
  const late = delay(CLOSING_TIME, undefined, { signal: timer.signal }).catch(() => undefined);
  await Promise.race([late, Promise.all(connections.values())]);
  timer.abort();
  for (const connection of connections.keys()) connection.cut();
  await closed;
}

async function listen(server: Server, address: NbdAddress): Promise<void> {
  if ('socket' in address) await clearStaleSocket(address.socket);
  const where = 'socket' in address ? { socket: address.socket } : { address: `${address.host}:${address.port}` };
  try {
    const listening = once(server, 'listening');
    if ('socket' in address) server.listen(address.socket);
    else server.listen(address.port, address.host);
    await listening;
    // An image may hold what is not for every user of the machine.
    if ('socket' in address) await chmod(address.socket, 0o600);
  } catch (error) {
    server.close();
    throw withPlace(error, where);
  }
}

/**
 * A server that was killed leaves its socket behind; one that still answers is left alone, and so is every other file.
 */
async function clearStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket())
    throw new AccelError('usage', 'there is a file where the socket would be', {
      where: { path },
      expected: 'a path where nothing is, or an old socket',
    });
  if (await answers(path))
    throw new AccelError('usage', 'somebody serves on this socket already', { where: { socket: path } });
  await rm(path, { force: true });
}

async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false; // Refused: nobody is there. For any other reason, listening fails as well and says why.
  } finally {
    socket.destroy();
  }
}

function uriOf(address: NbdAddress): string {
  if ('socket' in address) return `nbd+unix:///?socket=${encodeURI(resolve(address.socket))}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `nbd://${host}:${address.port}`;
}
