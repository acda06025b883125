#!/usr/bin/env node
/** The executable: argv -> command -> exit code. Everything heavy is loaded by the command that needs it. */
import { handleInterrupts } from './interrupt.ts';
import { watchOutputs } from './output-failure.ts';
import { runProgram } from './program.ts';
import { failUnlessFinished } from './unfinished.ts';

const exitCodeAfter = watchOutputs(process.stdout, process.stderr);
const finished = failUnlessFinished(process, process.stderr);
const controller = new AbortController();
const release = handleInterrupts(process, controller, process.stderr);
const code = await runProgram(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  signal: controller.signal,
  loadConverter: () => import('../converter/index.ts'),
});
// A stream tells of a failed write only in a later turn.
await new Promise((resolve) => setImmediate(resolve));
process.exitCode = exitCodeAfter(code);
release();
finished();
