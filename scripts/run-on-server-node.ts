/** Runs a program on the Node that server/ needs: `node run-on-server-node.js PROGRAM [ARGUMENT...]`. Signals and the exit code pass through. */
import { spawn } from 'node:child_process';
import { fetchServerNode, serverNode } from './server-node.ts';

await fetchServerNode();
const child = spawn(serverNode(), process.argv.slice(2), { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
child.once('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
});
