/** A role in a process of its own, which a test can kill: `node run-role.ts ROLE CONFIG`. */
import { run } from '../../main.ts';

const [role = '', config = ''] = process.argv.slice(2);
await run({ role, config, check: false }, { stderr: process.stderr, signals: process });
