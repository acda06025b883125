#!/usr/bin/env node
/** The executable: argv -> command -> exit code. Everything heavy is loaded by the command that needs it. */
import { VERSION } from '../base/version.ts';
import { handleInterrupts } from './interrupt.ts';

// A reader that goes away (`accel … | head -1`) must not turn into a stack trace, nor undo a conversion that is under way.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

const args = process.argv.slice(2);
if (args.length === 1 && (args[0] === '--version' || args[0] === '-V')) {
  // The command tree would say the same, but loading it takes longer than starting Node (docs/benchmarks.md, start-up).
  process.stdout.write(`${VERSION}\n`);
} else {
  const { runProgram } = await import('./program.ts');
  const controller = new AbortController();
  const release = handleInterrupts(process, controller, process.stderr);
  process.exitCode = await runProgram(args, {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    env: process.env,
    signal: controller.signal,
    loadConverter: () => import('../converter/index.ts'),
  });
  release();
}
