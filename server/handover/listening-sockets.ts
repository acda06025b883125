/**
 * Listening sockets that outlive the processes that serve on them: opened here, or by an init system that passes them on
 * (sd_listen_fds(3)). They are bound, and this process never accepts a connection on them; the first worker listens.
 */
import net from 'node:net';
import { getSystemErrorName } from 'node:util';
import { AccelError } from '../../base/error.ts';

/** An address to bind. */
export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

/** A bound socket. */
export interface HeldSocket {
  readonly name: string;
  readonly fd: number;
  readonly port: number;
  /** Whether the init system opened it, and keeps it open. */
  readonly isPassed: boolean;
  close(): void;
}

/** The part of Node's handle of a TCP socket that is used here. */
interface TcpHandle {
  readonly fd: number;
  getsockname(out: { address?: string; port?: number; family?: string }): number;
  close(): void;
}

/**
 * Binds without listening, or takes a descriptor; a negative number of the system's error where it fails. The module cluster
 * is made of the same function. Not documented; the public way, net.Server, would accept connections in this process.
 */
type CreateServerHandle = (host: string | null, port: number, type: 4 | 6 | -1, fd?: number) => TcpHandle | number;
const createServerHandle = (net as unknown as { _createServerHandle?: CreateServerHandle })._createServerHandle;

/** The first descriptor that an init system passes. */
const FIRST_PASSED = 3;

/** Whether this Node can keep sockets for other processes. */
export function canHoldSockets(): boolean {
  return createServerHandle !== undefined && process.platform !== 'win32';
}

/**
 * The sockets for these addresses, by name: those that the init system passed with the same port, others bound here. Removes
 * the init system's variables from `environment`, so that children do not take the descriptors for theirs. Fails with
 * `io-error` where an address is taken.
 */
export function holdSockets(
  addresses: Readonly<Record<string, SocketAddress>>,
  environment: NodeJS.ProcessEnv,
): readonly HeldSocket[] {
  const passed = passedSockets(environment);
  const held: HeldSocket[] = [];
  try {
    for (const [name, { host, port }] of Object.entries(addresses)) {
      const given = passed.find((handle) => nameOf(handle).port === port);
      const handle = given ?? bind(name, host, port);
      held.push({
        name,
        fd: handle.fd,
        port: nameOf(handle).port ?? port,
        isPassed: given !== undefined,
        close: () => handle.close(),
      });
    }
  } catch (error) {
    for (const socket of held) socket.close();
    throw error;
  }
  return held;
}

function bind(name: string, host: string, port: number): TcpHandle {
  const handle = createServerHandle!(host, port, host.includes(':') ? 6 : 4);
  const failed = (found: string) =>
    new AccelError('io-error', `cannot listen for ${name}`, {
      where: { address: `${host}:${port}` },
      found,
      hint: 'Another process listens there, or this machine does not have the address: `ss -ltnp` shows who has the port.',
    });
  if (typeof handle === 'number') throw failed(getSystemErrorName(handle));
  // libuv keeps the error of an address that is taken for the call of listen, and the socket has no address until then.
  if (!nameOf(handle).port) {
    handle.close();
    throw failed('EADDRINUSE');
  }
  return handle;
}

/** Sockets of sd_listen_fds(3); none where the variables are for another process. */
function passedSockets(environment: NodeJS.ProcessEnv): TcpHandle[] {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete environment[name];
  if (Number(pid) !== process.pid) return [];
  const handles = Array.from({ length: Number(count) || 0 }, (_, index) =>
    createServerHandle!(null, 0, -1, FIRST_PASSED + index),
  );
  return handles.filter((handle) => typeof handle !== 'number');
}

function nameOf(handle: TcpHandle): { readonly port?: number } {
  const name: { port?: number } = {};
  handle.getsockname(name);
  return name;
}
