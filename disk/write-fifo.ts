/** Writes to a FIFO without waiting for somebody to read it. */
import { constants, open } from 'node:fs';
import { Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import { promisify } from 'node:util';
import { AccelError, asAccelError } from '../base/error.ts';

/**
 * Writes `bytes` to the FIFO at `path`, at the pace of its reader. Rejects with `io-error` if nothing reads it, or if the
 * reader goes away.
 */
export async function writeFifo(path: string, bytes: Uint8Array): Promise<void> {
  // Without O_NONBLOCK the open waits for a reader, and a signal cannot end that wait.
  const fd = await promisify(open)(path, constants.O_WRONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw (error as NodeJS.ErrnoException).code === 'ENXIO' ? withoutReader(path, error) : asAccelError(error);
  });
  // A socket owns the descriptor and handles a full pipe, which a positional write reports as an error.
  const output = new Socket({ fd, readable: false, writable: true });
  output.end(bytes);
  await finished(output, { readable: false }).catch((cause: unknown) => {
    const { message } = cause as Error;
    throw new AccelError('io-error', message, { where: { path }, cause });
  });
}

function withoutReader(path: string, cause: unknown): AccelError {
  return new AccelError('io-error', 'nothing reads the FIFO', {
    where: { path },
    expected: 'a process that has it open for reading',
    found: 'no reader',
    hint: 'Start the reader first, or write to a file.',
    cause,
  });
}
