/** Runs the tests of server/ on the Node that it needs, whichever runs vitest. */
import { existsSync } from 'node:fs';
import { ForksPoolWorker, type PoolOptions } from 'vitest/node';
import { serverNode } from '../../scripts/server-node.ts';

/** vitest's pool of child processes, started with {@link serverNode}. */
export const serverPool = {
  name: 'server-node',
  createPoolWorker: (options: PoolOptions): ForksPoolWorker => new ServerNodeWorker(options),
};

class ServerNodeWorker extends ForksPoolWorker {
  override readonly name = 'server-node';

  override start(): Promise<void> {
    const running = process.execPath;
    // `fork` starts this program; it has done so when `start` first waits.
    process.execPath = existsSync(serverNode()) ? serverNode() : running;
    try {
      return super.start();
    } finally {
      process.execPath = running;
    }
  }
}
