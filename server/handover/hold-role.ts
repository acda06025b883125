/** Runs a role in worker processes, on sockets that this process keeps for them. */
import { fileURLToPath } from 'node:url';
import { AccelError } from '../../base/error.ts';
import type { SignalSource } from '../lifecycle.ts';
import { canHoldSockets, holdSockets, type SocketAddress } from './listening-sockets.ts';
import { Holder, type HolderTimes } from './socket-holder.ts';

/** A role to run, and the sockets to keep for it. */
export interface HoldRequest {
  readonly role: string;
  /** Path of the configuration file. */
  readonly config: string;
  readonly addresses: Readonly<Record<string, SocketAddress>>;
  /** Reads the addresses again, for a reload. */
  readonly readAddresses: () => Promise<HoldRequest['addresses'] | undefined>;
  /** The program of a worker. */
  readonly program: URL;
  /** Milliseconds for work in progress to end. */
  readonly drain: number;
  readonly signals: SignalSource;
  readonly log: (line: string) => void;
  /** Other waits than the usual ones. */
  readonly times?: Partial<HolderTimes>;
}

/** Runs the role until a signal ends it. Fails with `io-error` where an address is taken, and with the first worker's error. */
export async function holdRole(request: HoldRequest): Promise<void> {
  const { addresses, readAddresses, program, role, config, ...rest } = request;
  if (!canHoldSockets()) {
    throw new AccelError('usage', 'this Node cannot keep sockets for other processes', {
      where: { node: process.version },
      hint: 'Set `agent.keepSockets: false` in the configuration; the agent then opens its own sockets.',
    });
  }
  const environment = { ...process.env };
  const sockets = holdSockets(addresses, environment);
  const passed = sockets.filter(({ isPassed }) => isPassed).map(({ name }) => name);
  if (passed.length > 0) request.log(`sockets of the init system: ${passed.join(', ')}`);
  const beforeReload = async () => {
    const wanted = await readAddresses();
    if (JSON.stringify(wanted) === JSON.stringify(addresses)) return;
    throw new AccelError('usage', 'addresses, and whether their sockets are kept, change with a restart only');
  };
  const command = [process.execPath, ...process.execArgv, fileURLToPath(program), role, config];
  await new Holder({ ...rest, sockets, command, environment, beforeReload }).run();
}
