/** Output that cannot be written: a disk that is full, not a reader that went away. */
import { asAccelError } from '../base/error.ts';
import { EXIT_CODES, type ExitCode, renderError } from './error-report.ts';

/** The part of `process.stdout` and `process.stderr` that is needed here. */
export interface FailingOutput {
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
  write(text: string): unknown;
}

/**
 * Watches both streams. A reader that goes away (`accel … | head -1`) must not turn into a failure, nor undo a conversion
 * that is under way; anything else is reported once on standard error. Returns a function from the exit code of the run to
 * that of the process.
 */
export function watchOutputs(stdout: FailingOutput, stderr: FailingOutput): (code: ExitCode) => ExitCode {
  let failure: ExitCode | undefined;
  const listen = (stream: FailingOutput, name: string): void => {
    stream.on('error', (error) => {
      if (error.code === 'EPIPE' || failure !== undefined) return;
      const known = asAccelError(error);
      failure = EXIT_CODES[known.code];
      if (stream !== stderr) stderr.write(renderError(known).replace('\n', ` (to standard ${name})\n`));
    });
  };
  listen(stdout, 'output');
  listen(stderr, 'error');
  return (code) => (code === 0 ? (failure ?? 0) : code);
}
