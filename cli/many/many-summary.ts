/** The end of a run for people: how many, what was skipped and why, what failed and why. */
import type { ImageOutcome } from '../../triggers/many/image-orders.ts';
import { formatBytes, formatCount, formatSeconds } from '../format.ts';
import type { Style } from '../terminal.ts';
import { ellipsis, printable } from '../text.ts';
import { type ReasonGroup, reasonsOf, tallyOf } from './tally.ts';

/** Images that a reason lists. */
const LISTED = 5;

/** Where the summary is drawn. */
export interface ManySummaryOptions {
  readonly style: Style;
  readonly columns: number;
  readonly unicode: boolean;
  /** Wall time of the run. */
  readonly seconds: number;
  /** Fills in images that patterns named several times. */
  readonly repeated: number;
}

/** The summary. Ends in a newline. */
export function renderManySummary(outcomes: readonly ImageOutcome[], options: ManySummaryOptions): string {
  const { style, columns, unicode, seconds } = options;
  const tally = tallyOf(outcomes);
  const done = tally.converted + tally['up-to-date'];
  const isWhole = tally.failed + tally.interrupted + tally['not-started'] === 0;
  const mark = isWhole ? style.green(unicode ? '✔' : 'ok') : style.red(unicode ? '✘' : '!!');
  const head =
    tally.due > 0
      ? `${formatCount(tally.due, 'image')} of ${outcomes.length} would be converted`
      : `${done} of ${formatCount(outcomes.length - tally.skipped, 'image')} done`;
  const lines = [`${mark} ${style.bold(`${head} in ${formatSeconds(seconds)}`)}`];
  const read = outcomes.reduce((sum, { bytes }) => sum + bytes.read, 0);
  const reused = outcomes.reduce((sum, { bytes }) => sum + bytes.reused, 0);
  const layers =
    tally.converted === 0 ? '' : `layers of ${formatBytes(read)} converted, of ${formatBytes(reused)} reused`;
  const row = (label: string, count: number, note = ''): void => {
    if (count > 0) lines.push(`  ${label.padEnd(12)} ${String(count).padStart(6)}${note && style.dim(`  ${note}`)}`);
  };
  row('converted', tally.converted, layers);
  row('up to date', tally['up-to-date']);
  row('skipped', tally.skipped);
  for (const group of reasonsOf(outcomes, 'skipped')) lines.push(...groupLines(group, { style, columns, listed: 0 }));
  row('failed', tally.failed);
  for (const group of reasonsOf(outcomes, 'failed'))
    lines.push(...groupLines(group, { style, columns, listed: LISTED }));
  row('interrupted', tally.interrupted);
  row('not started', tally['not-started']);
  row('repeated', options.repeated, 'named more than once, converted once');
  const warnings = outcomes.reduce((sum, one) => sum + one.warnings.length, 0);
  if (warnings > 0) lines.push(style.yellow(`${formatCount(warnings, 'warning')}, see above`));
  return `${lines.join('\n')}\n`;
}

function groupLines(
  { code, reason, images }: ReasonGroup,
  { style, columns, listed }: { readonly style: Style; readonly columns: number; readonly listed: number },
): string[] {
  // The reason is shortened and not the code, which a reader looks up.
  const count = `    ${String(images.length).padStart(6)} × `;
  const head = `${count}${ellipsis(printable(reason), columns - count.length - code.length - 3)} [${code}]`;
  const shown = images
    .slice(0, listed)
    .map((image) => style.dim(ellipsis(`             ${printable(image)}`, columns)));
  const more = images.length - shown.length;
  return [
    ellipsis(head, columns),
    ...shown,
    ...(listed > 0 && more > 0 ? [style.dim(`             and ${more} more`)] : []),
  ];
}

/** One line a tag, `REPOSITORY:TAG@DIGEST`: all that `--quiet` prints. */
export function renderManyQuiet(outcomes: readonly ImageOutcome[]): string {
  return outcomes
    .flatMap(({ repository, tags }) =>
      tags.flatMap(({ tag, digest }) =>
        digest === undefined || repository === undefined
          ? []
          : `${printable(repository)}:${printable(tag)}@${printable(digest)}\n`,
      ),
    )
    .join('');
}
