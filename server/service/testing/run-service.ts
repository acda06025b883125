/** The program of {@link ServiceProcess}: `node run-service.ts ROLE CONFIG`; prints `ready` when the role serves. */
import { run } from '../../main.ts';

const [role = '', config = ''] = process.argv.slice(2);
await run(
  { role, config, check: false },
  { stderr: process.stderr, signals: process, onServing: () => void process.stdout.write('ready\n') },
);
process.exit(0);
