/** `accel --version` without streams and commands. */
import { writeSync } from 'node:fs';
import { VERSION } from '../base/version.ts';

/** File descriptor of standard output. */
const STDOUT = 1;

/**
 * Answers `accel --version`. False where anything else is asked for, and where standard output does not take it at once (a
 * full disk, a reader that went away): the whole program then answers, and reports what there is to report.
 */
export function writesVersion(args: readonly string[]): boolean {
  if (args.length !== 1 || (args[0] !== '--version' && args[0] !== '-V')) return false;
  const line = `${VERSION}\n`;
  try {
    return writeSync(STDOUT, line) === line.length;
  } catch {
    return false;
  }
}
