/** Renders the report of `accel inspect` as a table for people. */

import type {
  AcceleratedFacts,
  ArtifactFacts,
  CheckFinding,
  ImageFacts,
  InspectReport,
  OrdinaryFacts,
  ReferrerFacts,
  Verdict,
} from '../inspect/inspect-reference.ts';
import type { Named } from '../reader/open-by-name.ts';
import { formatBytes, formatCount, formatShare } from './format.ts';
import { JSON_FORMAT_VERSION, jsonText } from './progress/json.ts';
import { byReason } from './reasons.ts';
import { PLAIN_STYLE, type Style } from './terminal.ts';
import { printable, shortDigest } from './text.ts';

const MODES: Readonly<Record<AcceleratedFacts['mode'], string>> = {
  full: 'full (containerd and Docker)',
  'index-only': 'index-only (containerd, needs its base)',
  mixed: 'index-only and full layers (containerd, needs its base)',
};

/** The report as JSON text. */
export function inspectDocument(report: Named<InspectReport>): string {
  return jsonText({ formatVersion: JSON_FORMAT_VERSION, ...report });
}

/** The report as lines; ends in a newline. */
export function renderInspect(report: Named<InspectReport>, style: Style = PLAIN_STYLE): string {
  const lines = [style.bold(printable(report.reference))];
  lines.push(...pairs([['digest', report.digest], ['type', report.mediaType], ...baseRows(report)], style));
  if (report.artifact !== undefined) lines.push('', artifactText(report.artifact));
  for (const image of report.images) lines.push('', ...imageLines(image, style));
  if (report.referrers !== undefined) lines.push('', ...referrerLines(report.referrers, style));
  if (report.check !== undefined) lines.push('', ...checkLines(report.check, style));
  if (report.others.length > 0) lines.push('');
  for (const [reason, entries] of byReason(report.others)) {
    const named = entries.map(({ digest, platform }) => `${printable(platform)} ${shortDigest(digest)}`);
    lines.push(style.dim(`left alone, ${printable(reason)}: ${named.join(', ')}`));
  }
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

function artifactText({ type, record }: ArtifactFacts): string {
  if (record === undefined) return `an artifact of type ${printable(type)}, no image`;
  const { full, indexOnly, notIndexable, withCode } = record;
  const total = full + indexOnly + notIndexable;
  return `accel's record of converted layers, no image: ${total} ${total === 1 ? 'entry' : 'entries'} (${full} full, ${indexOnly} index-only, ${notIndexable} that cannot be indexed), ${withCode} with the code of a record key`;
}

function checkLines(findings: readonly CheckFinding[], style: Style): string[] {
  if (findings.length === 0) return [style.green('all that it needs is there')];
  return findings.map(({ severity, platform, what }) => {
    const outcome =
      severity === 'broken' ? style.red('does not run') : style.yellow('will break at the next garbage collection');
    return `${outcome}: ${platform === undefined ? '' : `${printable(platform)}: `}${printable(what)}`;
  });
}

const ABOUT: Readonly<Record<ReferrerFacts['about'], string>> = {
  digest: 'this digest',
  content: 'the content',
  unknown: 'unknown',
};

function referrerLines(referrers: readonly ReferrerFacts[], style: Style): string[] {
  if (referrers.length === 0) return ['nothing refers to it'];
  const rows = referrers.map((one) => [
    one.of,
    shortDigest(one.subject),
    one.kind,
    shortDigest(one.digest),
    formatBytes(one.size),
    one.kind === 'link' ? `${one.linkedKind}s of its source` : ABOUT[one.about],
    noteOf(one),
  ]);
  return [
    style.bold('referrers'),
    ...table(['of', 'subject', 'kind', 'digest', 'size', 'speaks of', 'note'], rows, style),
  ];
}

function noteOf({ via, tag, copiedFrom, source, problem, artifactType }: ReferrerFacts): string {
  if (problem !== undefined) return problem;
  const at = source?.repository === undefined ? '' : ` in ${source.repository}`;
  if (copiedFrom !== undefined) return `copy of ${shortDigest(copiedFrom)}${at}`;
  if (source !== undefined) return `at ${shortDigest(source.digest)}${at}`;
  if (via === 'index') return 'an entry of the index';
  return via === 'tag' ? `tag ${tag?.slice(tag.indexOf('.'))}` : (artifactType ?? '');
}

function baseRows({ sourceDigest, baseTag }: InspectReport): [string, string][] {
  const rows: [string, string][] = [];
  if (sourceDigest !== undefined) rows.push(['made from', sourceDigest]);
  if (baseTag?.digest === undefined) {
    if (baseTag !== undefined) rows.push(['base tag', `${baseTag.tag} does not exist`]);
  } else if (baseTag.matches) rows.push(['base tag', `${baseTag.tag} still names what was converted`]);
  else rows.push(['base tag', `${baseTag.tag} names ${baseTag.digest} by now: convert again`]);
  return rows;
}

function imageLines(image: ImageFacts, style: Style): string[] {
  const head = style.bold(printable(image.platform));
  if (!image.accelerated) {
    return [`${head} an ordinary image, ${formatBytes(image.size)}`, ...ordinaryTable(image, style)];
  }
  const rows: [string, string][] = [
    ['digest', image.digest],
    ['mode', MODES[image.mode]],
    ['size', sizeText(image)],
  ];
  if (image.virtualSize !== undefined) rows.push(['device', `${image.virtualSize / 2 ** 30} GiB`]);
  if (image.base !== undefined) rows.push(['base', baseText(image)]);
  if (image.prefetch !== undefined) rows.push(['prefetch', prefetchText(image.prefetch)]);
  if (image.layout !== undefined) rows.push(['layout', layoutText(image)]);
  if (image.accelVersion !== undefined) rows.push(['accel', image.accelVersion]);
  if (image.options !== undefined) rows.push(['options', image.options]);
  if (image.problem !== undefined) rows.push(['problem', image.problem]);
  return [head, ...pairs(rows, style), ...acceleratedTable(image, style)];
}

function sizeText({ size, ratio, base }: AcceleratedFacts): string {
  const share = ratio === undefined ? '' : `, ${formatShare(ratio)} of the base (${formatBytes(base?.size ?? 0)})`;
  return formatBytes(size) + share;
}

function baseText({ base, mode, layers }: AcceleratedFacts): string {
  const missing = layers.filter((layer) => layer.source?.present === false).length;
  if (missing > 0) return `${base?.digest}: ${formatCount(missing, 'layer')} of it missing, this image does not run`;
  if (base?.present === true) return `${base.digest}, present`;
  return `${base?.digest}, gone${mode === 'full' ? '; not needed' : ''}`;
}

function layoutText({ layers }: AcceleratedFacts): string {
  const full = layers.filter(({ kind }) => kind === 'full');
  const front = full.reduce((sum, { startupSize = 0 }) => sum + startupSize, 0);
  if (front === 0) return 'startup: access points beside what a start reads';
  return `startup: what a start reads is in the first bytes of the full layers, ${formatBytes(front)} in all`;
}

function prefetchText({ form, entries, skipped }: NonNullable<AcceleratedFacts['prefetch']>): string {
  const what = `a ${form} of ${formatCount(entries, form === 'list' ? 'line' : 'read')}`;
  return skipped === 0 ? what : `${what}; a node skips ${formatCount(skipped, 'more line')}`;
}

function acceleratedTable({ layers }: AcceleratedFacts, style: Style): string[] {
  const rows = layers.map((layer, i) => [
    String(i + 1),
    shortDigest(layer.digest),
    layer.kind,
    formatBytes(layer.size),
    layer.segments === undefined || layer.kind === 'acceleration' ? '-' : String(layer.segments),
    layer.algorithm === undefined ? '-' : `${layer.algorithm} ${(layer.blockSize ?? 0) / 1024}K`,
    layer.source === undefined ? '' : `${shortDigest(layer.source.digest)}${layer.source.present ? '' : ' missing'}`,
    layer.accessPoints === undefined ? '' : String(layer.accessPoints),
    layer.pieceList === undefined ? '' : layer.pieceList.present ? 'yes' : 'gone',
  ]);
  return table(['', 'layer', 'kind', 'size', 'segments', 'blocks', 'over', 'points', 'pieces'], rows, style);
}

function ordinaryTable({ layers }: OrdinaryFacts, style: Style): string[] {
  const rows = layers.map((layer, i) => [
    String(i + 1),
    shortDigest(layer.digest),
    formatBytes(layer.size),
    layer.compression,
    verdictText(layer.full),
    verdictText(layer.indexOnly),
  ]);
  return table(['', 'layer', 'size', 'content', 'full', 'index-only'], rows, style);
}

function verdictText({ possible, reason }: Verdict): string {
  if (reason === '') return possible;
  return possible === 'unknown' ? reason : `${possible}: ${reason}`;
}

function pairs(rows: readonly (readonly [string, string])[], style: Style): string[] {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `  ${style.dim(label.padEnd(width))}  ${printable(value)}`);
}

/** Columns of numbers, which are set to the right. */
const RIGHT: ReadonlySet<string> = new Set(['', 'size', 'segments', 'points']);

/** Draws the columns that have any content. */
function table(head: readonly string[], rows: readonly (readonly string[])[], style: Style): string[] {
  const all = [head, ...rows];
  const shown = head.map((_, i) => i).filter((i) => i === 0 || rows.some((row) => row[i] !== ''));
  const drawn = all.map((row) =>
    shown
      .map((i) => {
        const width = Math.max(...all.map((other) => other[i]!.length));
        return RIGHT.has(head[i]!) ? row[i]!.padStart(width) : row[i]!.padEnd(width);
      })
      .join('  '),
  );
  return drawn.map((line, i) => `  ${i === 0 ? style.dim(line) : printable(line)}`);
}
