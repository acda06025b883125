/** Programs of threads: beside the module that starts them, or inside a standalone executable, which has no files. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';

/** Gives the code of a thread by the name of its file, such as `worker.js`. */
type ReadCode = (name: string) => string;

/** The first two arguments of `new Worker`. */
export interface ThreadProgram {
  readonly program: URL | string;
  /** The program is code, not the URL of a file. */
  readonly eval: boolean;
}

let inside: ReadCode | undefined;

/** Takes the code of all threads from `read` from now on. */
export function holdThreadCode(read: ReadCode): void {
  inside = read;
}

/** The program of a thread whose file is `file`; undefined where there is no such file. */
export function threadProgram(file: URL): ThreadProgram | undefined {
  if (inside !== undefined) return { program: inside(basename(file.pathname)), eval: true };
  return existsSync(file) ? { program: file, eval: false } : undefined;
}
