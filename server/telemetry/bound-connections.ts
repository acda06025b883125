/**
 * Bounds the connections of a server: beyond the bound, the one that has been idle for longest makes room, so that whoever holds
 * connections without asking anything locks nobody out. A connection is idle before its first whole request, and between two.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** The bounds. */
export interface ConnectionBounds {
  /** Connections of all callers together. */
  readonly most: number;
  /** Connections of one address; as many as there are unless given. */
  readonly mostOfOne?: number;
  /** Hears of each connection that was ended, or refused, to make room. */
  readonly onEnded?: () => void;
}

interface Connection {
  readonly key: string;
  readonly socket: Socket;
  readonly address: string;
  requests: number;
}

/** Bounds the connections of a server from now on. */
export function boundConnections(server: Server, { most, mostOfOne = most, onEnded }: ConnectionBounds): void {
  /** By address and port, which TLS leaves as they are; idle for longest first. */
  const open = new Map<string, Connection>();
  const counts = new Map<string, number>();
  const touch = (key: string) => {
    const connection = open.get(key);
    if (connection === undefined) return;
    open.delete(key);
    open.set(key, connection);
  };
  server.prependListener('connection', (socket: Socket) => {
    const key = keyOf(socket);
    const { remoteAddress: address = '' } = socket;
    const crowded = (counts.get(address) ?? 0) >= mostOfOne;
    if (crowded || open.size >= most) {
      onEnded?.();
      const idle = [...open.values()].find((one) => one.requests === 0 && (!crowded || one.address === address));
      if (idle === undefined) return void socket.destroy();
      forget(idle);
      idle.socket.destroy();
    }
    const connection = { key, socket, address, requests: 0 };
    open.set(key, connection);
    counts.set(address, (counts.get(address) ?? 0) + 1);
    socket.once('close', () => forget(connection));
  });
  server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const key = keyOf(socket);
    const connection = open.get(key);
    if (connection === undefined) return;
    connection.requests += 1;
    response.once('close', () => {
      connection.requests -= 1;
      touch(key);
    });
  });

  function forget(connection: Connection): void {
    if (open.get(connection.key) !== connection) return;
    open.delete(connection.key);
    const left = counts.get(connection.address)! - 1;
    if (left === 0) counts.delete(connection.address);
    else counts.set(connection.address, left);
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
