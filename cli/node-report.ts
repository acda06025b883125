/** The reports of `accel agent setup`, `cleanup` and `doctor` as text. */

import { JSON_FORMAT_VERSION, jsonText } from './progress/json.ts';
import type { Diagnosis, NodeReport } from './server-package.ts';
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

/** The document of `accel agent doctor --json`. */
export function diagnosisDocument(diagnosis: Diagnosis): string {
  return jsonText({ ...diagnosis, formatVersion: JSON_FORMAT_VERSION });
}

/** One line for each check, with the way to mend it below. */
export function renderDiagnosis({ checks }: Diagnosis): string {
  return checks
    .flatMap(({ name, status, found, fix }) => [
      `${status.padEnd(7)} ${name}: ${found}`,
      ...(fix === undefined ? [] : [`        ${fix}`]),
    ])
    .map((line) => `${printable(line)}\n`)
    .join('');
}
