/** The report of `accel agent setup` and `cleanup` as text. */
import type { NodeReport } from './server-package.ts';
import { printable } from './text.ts';

/** One line for each file, then what is to be done and to be known. */
export function renderNodeReport({ changes, notes, problems, restarts }: NodeReport): string {
  const lines = [
    ...changes.map(({ path, action, note }) => `${action}: ${path}${note === undefined ? '' : ` (${note})`}`),
    ...(changes.length === 0 ? ['nothing to change'] : []),
    ...notes.map((note) => `note: ${note}`),
    ...problems.map((problem) => `problem: ${problem}`),
    ...restarts.map(
      ({ service, action, why, byHand }) =>
        `to do: systemctl ${action} ${service}: ${why}${byHand === undefined ? '' : `. ${byHand}`}`,
    ),
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}
