/** A child process that runs doctor's canary pull on the root of its own mounts, and prints what it found as JSON. */
import { checkCanary } from '../canary.ts';
import { RootedFiles } from '../rooted-files.ts';
import { configOf } from './node-root.ts';

const [, , config = '{}', canary] = process.argv;
const examined = { config: configOf(JSON.parse(config)), files: await RootedFiles.open('/'), canary };
process.stdout.write(JSON.stringify(await checkCanary(examined)));
