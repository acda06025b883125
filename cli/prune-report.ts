/** Renders the result of pruning as text and as JSON, for `accel prune` and `accel serve prune`. */
import type { KeepReason, RemovalReason } from '../converter/prune/plan-prune.ts';
import type { PruneReport } from '../converter/prune/prune-repository.ts';
import { formatCount } from './format.ts';
import { JSON_FORMAT_VERSION, jsonText } from './progress/json.ts';
import { PLAIN_STYLE, type Style } from './terminal.ts';
import { printable, shortDigest } from './text.ts';

/** The outcome for all repositories. */
export interface PruneOutcome {
  readonly dryRun: boolean;
  /** Tags that were looked at. */
  readonly tags: number;
  /** Manifests that were removed; none in a dry run. */
  readonly removed: number;
  /** One line each. */
  readonly problems: readonly string[];
  readonly repositories: readonly PruneReport[];
}

const REMOVED: Readonly<Record<RemovalReason, string>> = {
  'base-gone': 'its base tag is gone',
  'base-moved': 'its base tag names another image',
};

const KEPT: Readonly<Record<KeepReason, string>> = {
  'not-ours': 'accel did not make it',
  'other-name': 'its name is not that of a base with the suffix',
  'base-current': 'its base is as it was',
  'base-pending': 'its base waits for a conversion',
  'base-unknown': 'it is not known whether its base exists',
  'is-base': 'it is itself the base of another tag',
  'source-tagged': 'its base tag is gone, but the image has another tag',
  'layer-record': 'the record of converted layers',
  'referrer-list': 'a list of referrers',
  'too-young': 'its image is too young',
  'unknown-age': 'nobody knows when its image was built',
  'keep-last': 'its image is one of the youngest',
  'shared-digest': 'removing it would remove another tag of the same digest',
  'needed-by-index': 'an index needs it',
  'unreadable-index': 'an index cannot be read, and may need it',
};

/** Kept tags that are not shown. */
const UNINTERESTING: ReadonlySet<KeepReason> = new Set(['not-ours', 'referrer-list', 'layer-record']);

/** The document of a run. */
export function pruneDocument(outcome: PruneOutcome): string {
  return jsonText({ formatVersion: JSON_FORMAT_VERSION, ...outcome });
}

/** A table of the tags of accel in a repository, and lines for other leftovers. */
export function renderPruning(report: PruneReport, dryRun: boolean, style: Style = PLAIN_STYLE): string {
  const { repository, plan, removed, record, referrers } = report;
  const gone = dryRun ? 'would go' : 'removed';
  const shown = dryRun ? plan.removals : removed;
  const rows = [
    ...shown.flatMap(({ digest, tags, children }) =>
      tags.map(({ tag, reason }, index) => [
        tag,
        gone,
        shortDigest(digest),
        index > 0 || children.length === 0
          ? REMOVED[reason]
          : `${REMOVED[reason]}; with ${formatCount(children.length, 'manifest')} of its platforms`,
      ]),
    ),
    // Everything else of ours, so that nobody wonders; other people's tags are not of interest.
    ...plan.kept
      .filter(({ reason }) => !UNINTERESTING.has(reason))
      .map(({ tag, reason, by, digest }) => [
        ...[tag, 'stays', shortDigest(digest)],
        `${KEPT[reason]}${by === undefined ? '' : `: ${by}`}`,
      ]),
    ...referrers.untagged.map((digest) => ['(no tag)', gone, shortDigest(digest), 'a referrer whose subject is gone']),
  ];
  const total = plan.kept.length + plan.removals.reduce((sum, { tags }) => sum + tags.length, 0);
  const others = plan.kept.filter(({ reason }) => reason === 'not-ours').length;
  const lines = [`${style.bold(printable(repository))}: ${formatCount(total, 'tag')}, ${others} of others`];
  if (rows.length > 0) lines.push(...drawn(['tag', '', 'digest', 'because'], rows, style));
  if (referrers.entries > 0) {
    lines.push(
      `  ${referrers.entries === 1 ? '1 entry' : `${referrers.entries} entries`} of lists of referrers ${dryRun ? 'would go' : 'removed'}`,
    );
  }
  if (record.missing > 0) {
    const action = dryRun ? 'would go' : 'removed';
    lines.push(
      `  ${record.missing} of ${record.entries} entries of the record of layers, whose blobs are gone, ${action}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** The references of the tags that go, one a line. */
export function prunedReferences({ repository, plan, removed }: PruneReport, dryRun: boolean): string {
  const tags = (dryRun ? plan.removals : removed).flatMap((removal) => removal.tags);
  return tags.map(({ tag }) => `${printable(`${repository}:${tag}`)}\n`).join('');
}

/** Summarises a run in a line. */
export function pruneSummary({ dryRun, tags, removed, repositories }: PruneOutcome): string {
  const looked = `${formatCount(tags, 'tag')} in ${formatCount(repositories.length, 'repository')}`;
  if (!dryRun) return `${looked}, ${formatCount(removed, 'manifest')} removed`;
  const due = repositories.reduce((sum, { plan }) => sum + plan.removals.length, 0);
  const isPossible =
    due > 0 && repositories.some(({ plan, refusal }) => plan.removals.length > 0 && refusal === undefined);
  return `${looked}, ${formatCount(due, 'manifest')} would be removed${isPossible ? '; --yes removes them' : ''}`;
}

function drawn(head: readonly string[], rows: readonly (readonly string[])[], style: Style): string[] {
  const safe = rows.map((row) => row.map((cell) => printable(cell)));
  const widths = head.map((word, i) => Math.max(word.length, ...safe.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i]!))).join('  ');
  return [`  ${style.dim(line(head))}`, ...safe.map((row) => `  ${line(row)}`)];
}
