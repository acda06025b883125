/** A controller in a process of its own, which a test can kill: `node run-controller.ts CONFIG`. */
import { run } from '../../main.ts';

const [config = ''] = process.argv.slice(2);
await run({ role: 'controller', config, check: false }, { stderr: process.stderr, signals: process });
