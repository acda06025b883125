#!/usr/bin/env node
/** The executable: argv -> command -> exit code. Everything heavy is loaded by the command that needs it. */
import { handleInterrupts } from './interrupt.ts';
import { runProgram } from './program.ts';
import { failUnlessFinished } from './unfinished.ts';

// A reader that goes away (`accel … | head -1`) must not turn into a stack trace, nor undo a conversion that is under way.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

const finished = failUnlessFinished(process, process.stderr);
const controller = new AbortController();
const release = handleInterrupts(process, controller, process.stderr);
process.exitCode = await runProgram(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  signal: controller.signal,
  loadConverter: () => import('../converter/index.ts'),
});
release();
finished();
