/** A run of the executable: argv -> command -> exit code. Everything heavy is loaded by the command that needs it. */
import { VERSION } from '../base/version.ts';
import { endInterrupted, handleInterrupts, watchInterrupts } from './interrupt.ts';
import { passMemoryRejections } from './memory-rejections.ts';
import { watchOutputs } from './output-failure.ts';
import type { ServerSurroundings } from './server-package.ts';
import { failUnlessFinished } from './unfinished.ts';

/** Says where the program is, and finds its packages: the installed program differs here from the standalone executable. */
export type Distribution = Pick<ServerSurroundings, 'program' | 'resolve' | 'load'>;

/** Runs the command that the process was started with; leaves its exit code in `process.exitCode`. */
export async function start(distribution: Distribution): Promise<void> {
  const exitCodeAfter = watchOutputs(process.stdout, process.stderr);
  const args = process.argv.slice(2);
  if (args.length === 1 && (args[0] === '--version' || args[0] === '-V')) {
    // The command tree would say the same, but it takes long to load.
    process.stdout.write(`${VERSION}\n`);
    await flushed();
    process.exitCode = exitCodeAfter(0);
    return;
  }
  passMemoryRejections(process);
  const [{ runProgram }, { LogOutput }, { createServerAccess }] = await Promise.all([
    import('./program.ts'),
    import('./log-output.ts'),
    import('./server-package.ts'),
  ]);
  const stderr = new LogOutput(process.stderr);
  const finished = failUnlessFinished(process, stderr);
  const controller = new AbortController();
  const release = handleInterrupts(process, controller, stderr);
  watchInterrupts(release, controller, stderr);
  const code = await runProgram(args, {
    stdout: process.stdout,
    stderr,
    stdin: process.stdin,
    env: process.env,
    signal: controller.signal,
    // Not all of the library: the rest of it takes longer to load than a small layer to convert.
    loadConverter: () => import('../converter/convert.ts'),
    server: createServerAccess({
      ...distribution,
      node: process.versions.node,
      stderr: process.stderr,
      signals: process,
      releaseSignals: release,
    }),
  });
  await flushed();
  process.exitCode = exitCodeAfter(code);
  release();
  finished();
  if (controller.signal.aborted) endInterrupted();
}

/** Waits until a stream has reported a write that failed, which it does in a later turn. */
function flushed(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
