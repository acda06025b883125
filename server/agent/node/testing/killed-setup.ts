/** A child process that sets a node up, or cleans it up, and kills itself before the change of the given number. */
import { cleanupNode } from '../cleanup.ts';
import { setupNode } from '../setup.ts';
import { configOf } from './node-root.ts';

const [, , command, root = '', killAt, config = '{}'] = process.argv;
let count = 0;
const request = {
  root,
  restart: false,
  before: () => {
    count++;
    if (count === Number(killAt)) process.kill(process.pid, 'SIGKILL');
  },
};
if (command === 'setup') await setupNode(configOf(JSON.parse(config)), request);
else await cleanupNode(request);
process.stdout.write(`${count}\n`);
