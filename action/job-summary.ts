/** An outcome as the summary of a job: GitHub's Markdown, in which nothing that came from an image may mean anything. */

import { formatBytes, formatCount, formatSeconds, formatShare } from '../cli/format.ts';
import { byReason } from '../cli/reasons.ts';
import { printable, shortDigest } from '../cli/text.ts';
import type { Verification } from './finished.ts';
import type { LayerTable, Outcome, ReportedTag } from './outcome.ts';
import { MAX_SUMMARY_BYTES } from './workflow-commands.ts';

/** The summary; ends in a newline. A layer table that would make it longer than the runner takes is left out. */
export function renderJobSummary(outcome: Outcome): string {
  const { decision, repository, tags, layers } = outcome;
  const lines = [`### accel: ${headline(outcome)}`, ''];
  if (decision.event === 'skipped') {
    const place = repository === undefined ? '' : `${code(`${repository}${decision.tag ? `:${decision.tag}` : ''}`)}: `;
    return `${[...lines, `${place}${cell(decision.reason)} (${code(decision.code)})`].join('\n')}\n\n`;
  }
  lines.push(...tagTable(repository ?? '', tags), '', ...notes(outcome), '');
  let text = `${lines.join('\n')}\n`;
  for (const table of layers) {
    const next = `${layerTable(table).join('\n')}\n\n`;
    if (Buffer.byteLength(text) + Buffer.byteLength(next) > MAX_SUMMARY_BYTES / 2) {
      text += 'More layers than fit here: the output `json` has them all.\n\n';
      break;
    }
    text += next;
  }
  return text;
}

/** The summary of a run that failed: what the error says. */
export function renderFailure(text: string): string {
  const lines = text.split('\n').map((line) => `    ${line}`);
  return `### accel: failed\n\n${lines.join('\n')}\n\n`;
}

function headline({ decision, tags, result }: Outcome): string {
  if (decision.event === 'skipped') return 'skipped';
  if (decision.event === 'accelerated') return 'a conversion is complete';
  const isNew = tags.some(({ upToDate }) => upToDate !== true);
  return isNew ? `converted in ${formatSeconds(result?.seconds.total ?? 0)}` : 'already up to date';
}

function tagTable(repository: string, tags: readonly ReportedTag[]): string[] {
  const rows = tags.map(({ tag, kind, size, ratio, start, verification, digest, upToDate }) => [
    code(`${repository}:${tag}`),
    kind,
    formatBytes(size),
    ratio === undefined ? '' : formatShare(ratio),
    start === undefined ? '' : `${formatBytes(start.bytes)} of ${formatBytes(start.whole)}`,
    verdict(verification, upToDate),
    code(digest),
  ]);
  return table(['tag', 'kind', 'size', 'of the base', 'at start', 'verified', 'digest'], [2, 3], rows);
}

function verdict(verification: Verification | undefined, upToDate: boolean | undefined): string {
  if (verification === undefined) return upToDate === true ? 'already present' : 'no';
  if ('impossible' in verification) return `not possible: ${cell(verification.impossible)}`;
  if (!verification.identical) return `**${formatCount(verification.differenceCount, 'difference')}**`;
  return verification.images.every(({ quick }) => quick) ? 'yes, without content' : 'yes';
}

function notes({ tags, result, decision }: Outcome): string[] {
  const lines: string[] = [];
  const start = tags.find((tag) => tag.start !== undefined)?.start;
  if (start !== undefined)
    lines.push(
      `At start: what was fetched to attach the device (${cell(start.platform)}) and list its root directory.`,
    );
  if (decision.event === 'convert' && result !== undefined) {
    const { convert, push, total } = result.seconds;
    lines.push(
      `Time: ${formatSeconds(total)}; all layers: convert ${formatSeconds(convert)}, push ${formatSeconds(push)}.`,
    );
    for (const [reason, entries] of byReason(result.skipped)) {
      const named = entries.map(({ platform, digest }) => `${cell(platform)} ${code(shortDigest(digest))}`);
      lines.push(`Left out, ${cell(reason)}: ${named.join(', ')}.`);
    }
    if (result.warningCount > 0) lines.push(`${formatCount(result.warningCount, 'warning')}, see the log.`);
  }
  return lines.flatMap((line) => [line, '']).slice(0, -1);
}

function layerTable({ platform, heads, rows }: LayerTable): string[] {
  const sums = heads.map((_, column) => rows.reduce((sum, row) => sum + (row.cells[column]?.size ?? 0), 0));
  const sourceSum = rows.reduce((sum, { source }) => sum + (source.size ?? 0), 0);
  const isSized = rows.every(({ source }) => source.size !== undefined);
  const body = rows.map(({ source, cells }, index) => [
    String(index + 1),
    code(shortDigest(source.digest)),
    ...(isSized ? [formatBytes(source.size ?? 0)] : []),
    ...cells.map(({ kind, size }, column) => layerCell(heads[column], kind, size)),
  ]);
  const total = ['', 'all layers', ...(isSized ? [formatBytes(sourceSum)] : []), ...sums.map(formatBytes)];
  const titles = ['', 'layer', ...(isSized ? ['source'] : []), ...heads];
  return [
    `<details><summary>${cell(platform)}: ${formatCount(rows.length, 'layer')}</summary>`,
    '',
    ...table(titles, titles.map((_, index) => index).slice(2), [...body, total]),
    '',
    '</details>',
  ];
}

/** The size of a layer, and its kind where that is not what the column is called. */
function layerCell(head: string | undefined, kind: string, size: number): string {
  const usual = head === 'containerd' ? 'index-only' : head;
  return kind === usual ? formatBytes(size) : `${formatBytes(size)} (${kind})`;
}

function table(heads: readonly string[], right: readonly number[], rows: readonly (readonly string[])[]): string[] {
  const rule = heads.map((_, index) => (right.includes(index) ? '--:' : '---'));
  return [heads, rule, ...rows].map((row) => `| ${row.join(' | ')} |`);
}

/** Text of an image or a registry within a table: on one line, and no Markdown or HTML. */
function cell(text: string): string {
  return printable(text).replace(/[\\`*_{}[\]()#+!|<>&~@$]/g, (char) => `&#${char.charCodeAt(0)};`);
}

function code(text: string): string {
  return `<code>${printable(text).replace(/[<>&|`]/g, (char) => `&#${char.charCodeAt(0)};`)}</code>`;
}
