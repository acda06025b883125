/**
 * Refuses connections while no worker serves: a port that accepts and stays silent keeps a container runtime waiting for ever,
 * where one that resets the connection sends it to its next registry. A process of its own that needs no file of the package.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { HeldSocket } from './listening-sockets.ts';

const PROGRAM = `
for (let fd = 4; fd < 4 + Number(process.argv[1]); fd++)
  require('node:net').createServer((socket) => socket.resetAndDestroy()).listen({ fd });
process.on('disconnect', () => process.exit());
`;

/** Starts to refuse connections on these sockets; call what it returns to stop. */
export function refuseConnections(sockets: readonly HeldSocket[]): () => Promise<void> {
  const child: ChildProcess = spawn(process.execPath, ['-e', PROGRAM, String(sockets.length)], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc', ...sockets.map(({ fd }) => fd)],
    detached: true,
  });
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('exit', () => resolve());
  });
  return async () => {
    child.kill('SIGKILL');
    await ended;
  };
}
