/** The report of repositories as JSON and as text. */
import type { BlobSum, RepositoryReport, StoredFacts } from '../../inspect/report/report-facts.ts';
import { formatBytes, formatCount, formatShare } from '../format.ts';
import { JSON_FORMAT_VERSION, jsonText } from '../progress/json.ts';
import { PLAIN_STYLE, type Style } from '../terminal.ts';
import { printable, shortDigest } from '../text.ts';

/** The reports of a run. */
export interface ReportOutcome {
  readonly repositories: readonly RepositoryReport[];
  /** Parts that could not be read, one line each. */
  readonly problems: readonly string[];
}

/** Says how the figures are counted, for people. */
export const COUNTED: readonly string[] = [
  'Stored: blobs that tags lead to, each once in its repository, compressed. Registries list no manifests without a tag; those are not counted.',
  'An accelerated image counts with the layers of its base that it reads, so that index-only images share those with the base.',
  'A start: compressed blocks that hold what the list or trace of the image names, entry by entry, with the list and the config. Reads ' +
    'beyond the list are not known: a start fetches at least this, and savings are at most those shown.',
  'A fleet: each node starts each base once, with nothing of it there, by its accelerated image that fetches least, instead of pulling ' +
    'the whole base.',
];

/** Images of a repository that the table shows. */
const MAX_SHOWN = 30;

/** Rows of the stored bytes: label, sum, and whether it is a part of the total. */
export const STORED_ROWS: readonly (readonly [key: keyof StoredFacts, label: string])[] = [
  ['base', 'base images'],
  ['accelerated', 'accelerated images, with the base layers that they read'],
  ['shared', 'shared by the two'],
  ['baseOwn', 'base images alone'],
  ['acceleratedOwn', 'accelerated images alone'],
  ['other', 'artifacts alone: signatures, attestations, the record of layers'],
  ['total', 'all blobs'],
  ['documents', 'manifests and indexes, not in the total'],
  ['pieceLists', 'lists of piece hashes by computed size, not in the total'],
];

/** The document of a run. */
export function reportDocument({ repositories, problems }: ReportOutcome): string {
  return jsonText({ formatVersion: JSON_FORMAT_VERSION, repositories, problems });
}

/** A repository as tables. */
export function renderReport(report: RepositoryReport, style: Style = PLAIN_STYLE): string {
  const { repository, tags, manifests, stored, images, fleet } = report;
  const lines = [
    `${style.bold(printable(repository))}: ${formatCount(tags, 'tag')}, ${formatCount(manifests.base, 'base image')}, ` +
      `${formatCount(manifests.accelerated, 'accelerated image')}, ${formatCount(manifests.other, 'other manifest')}`,
    ...table(
      ['stored', 'bytes', 'blobs'],
      STORED_ROWS.map(([key, label]) => [label, formatBytes(stored[key].bytes), String(stored[key].blobs)]),
      style,
    ),
  ];
  if (images.length > 0) {
    const shown = images.slice(0, MAX_SHOWN);
    const head = ['accelerated image', 'platform', 'mode', 'own', 'with base', 'base', 'a start', 'of the base'];
    lines.push('', ...table(head, shown.map(imageCells), style));
    if (shown.length < images.length)
      lines.push(`  … and ${images.length - shown.length} more: --json and --html have them`);
  }
  if (fleet !== undefined) {
    lines.push(
      '',
      `  ${formatCount(fleet.nodes, 'node')}: ${formatCount(fleet.images, 'base')} with known figures, ${fleet.unknown} unknown`,
    );
    if (fleet.images > 0) {
      const share = fleet.pulled === 0 ? '' : ` (${formatShare(fleet.saved / fleet.pulled)})`;
      lines.push(
        `  pulled whole ${formatBytes(fleet.pulled)}, starts fetch at least ${formatBytes(fleet.started)}, ` +
          `saved at most ${formatBytes(Math.max(0, fleet.saved))}${fleet.saved > 0 ? share : ''}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

/** The cells of an image; `?` where a figure is not known. */
export function imageCells(image: RepositoryReport['images'][number]): string[] {
  const { tags, digest, platform = '-', mode, ownBytes, bytes, baseBytes, start } = image;
  const [first = shortDigest(digest), ...rest] = tags;
  return [
    rest.length === 0 ? first : `${first} +${rest.length}`,
    platform,
    mode,
    formatBytes(ownBytes),
    bytes === undefined ? '?' : formatBytes(bytes),
    baseBytes === undefined ? '?' : formatBytes(baseBytes),
    start === undefined ? '?' : formatBytes(start.bytes),
    start === undefined || !baseBytes ? '?' : formatShare(start.bytes / baseBytes),
  ];
}

/** Sums over repositories; blobs that two of them have count twice, as each repository lists its own. */
export function totalStored(reports: readonly RepositoryReport[]): StoredFacts {
  const sum = (key: keyof StoredFacts): BlobSum =>
    reports.reduce((so, { stored }) => ({ bytes: so.bytes + stored[key].bytes, blobs: so.blobs + stored[key].blobs }), {
      bytes: 0,
      blobs: 0,
    });
  return Object.fromEntries(STORED_ROWS.map(([key]) => [key, sum(key)])) as unknown as StoredFacts;
}

/** The first column to the left, numbers to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[], style: Style): string[] {
  const safe = rows.map((row) => row.map((cell) => printable(cell)));
  const widths = head.map((word, i) => Math.max(word.length, ...safe.map((row) => row[i]!.length)));
  const isText = (i: number): boolean => i === 0 || head[i] === 'platform' || head[i] === 'mode';
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (isText(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  return [`  ${style.dim(line(head))}`, ...safe.map((row) => `  ${line(row)}`)];
}
