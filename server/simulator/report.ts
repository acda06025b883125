/** Outcomes as a table for people, and as the JSON line for checks. */
import type { Outcome } from './event-loop.ts';
import { imageBytes } from './scenario.ts';

const COLUMNS: readonly (readonly [title: string, value: (of: Outcome) => string])[] = [
  ['scenario', ({ scenario }) => scenario.label],
  ['nodes', ({ scenario }) => String(scenario.nodes)],
  ['GB', ({ scenario }) => (imageBytes(scenario) / 1e9).toFixed(1)],
  ['p50 s', ({ p50 }) => p50.toFixed(1)],
  ['p95 s', ({ p95 }) => p95.toFixed(1)],
  ['bound s', ({ bound }) => bound.toFixed(1)],
  ['p95 / bound', ({ p95, bound }) => (p95 / bound).toFixed(3)],
  ['origin', ({ originRatio }) => originRatio.toFixed(3)],
  ['most up', ({ maxUploadRatio }) => maxUploadRatio.toFixed(2)],
  ['zones crossed', ({ crossZoneRatio }) => crossZoneRatio.toFixed(2)],
  ['peers', ({ maxPeers }) => String(maxPeers)],
  ['requests', ({ requestsPerNode }) => requestsPerNode.toFixed(0)],
  ['refused', ({ refusedPerNode }) => refusedPerNode.toFixed(0)],
  ['unfinished', ({ unfinished }) => String(unfinished)],
];

/** The widest label of the table; longer ones push the row out. */
const LABEL_WIDTH = 28;

/** The line above the rows. */
export function heading(): string {
  return COLUMNS.map(([title], index) => cell(title, title, index)).join('  ');
}

/** One row, as wide as {@link heading}. */
export function row(outcome: Outcome): string {
  return COLUMNS.map(([title, value], index) => cell(title, value(outcome), index)).join('  ');
}

/** The outcome as one line of JSON. */
export function jsonLine({ p95, bound, originRatio, maxUploadRatio }: Outcome): string {
  return JSON.stringify({ p95Seconds: p95, boundSeconds: bound, originRatio, maxUploadRatio });
}

function cell(title: string, text: string, index: number): string {
  return index === 0 ? text.padEnd(LABEL_WIDTH) : text.padStart(Math.max(title.length, 6));
}
