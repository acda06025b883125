/**
 * Runs the agent of this clone with a configuration file, as `accel agent run` runs that of the installed package: in a work tree
 * whose node_modules are another clone's, that package is not this code.
 */
import { AccelError } from '../../base/error.ts';
import { run } from '../main.ts';

const [, , config] = process.argv;
if (config === undefined) throw new AccelError('usage', 'no configuration file is given');
await run({ role: 'agent', config, check: false }, { stderr: process.stderr, signals: process });
