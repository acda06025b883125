/** The entry of the GitHub Action: environment -> exit code. scripts/build-action.ts makes dist/action.mjs of it. */
import { runAction } from './action/run.ts';
import { handleInterrupts } from './interrupt.ts';

const controller = new AbortController();
const release = handleInterrupts(process, controller, process.stderr);
process.exitCode = await runAction({ stdout: process.stdout, env: process.env, signal: controller.signal });
release();
