/** The entry of the GitHub Action: environment -> exit code. scripts/build-action.ts makes dist/action.mjs of it. */

import { endInterrupted, handleInterrupts, watchInterrupts } from '../cli/interrupt.ts';
import { runAction } from './run.ts';

const controller = new AbortController();
const release = handleInterrupts(process, controller, process.stderr);
watchInterrupts(release, controller, process.stderr);
process.exitCode = await runAction({ stdout: process.stdout, env: process.env, signal: controller.signal });
release();
if (controller.signal.aborted) endInterrupted();
