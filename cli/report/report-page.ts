/**
 * The report as one HTML file: no script, no request, plots as inline SVG. Its policy allows nothing but its own style, by hash. Every
 * plot has its figures in a table below it.
 */
import { createHash } from 'node:crypto';
import type { RepositoryReport, StoredFacts } from '../../inspect/report/report-facts.ts';
import { formatBytes, formatCount, formatShare } from '../format.ts';
import { printable } from '../text.ts';
import { COUNTED, imageCells, type ReportOutcome, STORED_ROWS, totalStored } from './report-document.ts';
import { REPORT_STYLE } from './report-style.ts';

/** Images of a repository that the page shows. */
const MAX_IMAGES = 500;
/** Bars of a plot of images; the table has the others. */
const MAX_BARS = 40;

const PARTS: readonly (readonly [key: keyof StoredFacts, label: string, kind: string])[] = [
  ['baseOwn', 'base images alone', 'base'],
  ['shared', 'shared', 'shared'],
  ['acceleratedOwn', 'accelerated images alone', 'own'],
  ['other', 'artifacts', 'other'],
];

/** The page; `version` is that of accel. */
export function reportPage({ repositories, problems }: ReportOutcome, version: string): string {
  const policy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(REPORT_STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>accel report</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<header><h1>What images store, and what starts fetch</h1>
<p>${repositories.length === 1 ? '1 repository' : `${repositories.length} repositories`}; accel ${text(version)}</p></header>
<main id="main">
${problemsOf(problems)}${overview(repositories)}${repositories.map(section).join('\n')}
<section aria-labelledby="counted"><h2 id="counted">How it is counted</h2>
<ul>${COUNTED.map((line) => `<li>${text(line)}</li>`).join('')}</ul></section>
</main>
</body>
</html>
`;
}

function problemsOf(problems: readonly string[]): string {
  if (problems.length === 0) return '';
  const items = problems.map((problem) => `<li>${text(problem)}</li>`).join('');
  return `<section class="problems" aria-labelledby="problems"><h2 id="problems">Not read</h2><ul>${items}</ul></section>\n`;
}

function overview(repositories: readonly RepositoryReport[]): string {
  if (repositories.length < 2) return '';
  const most = Math.max(1, ...repositories.map(({ stored }) => stored.total.bytes));
  const bars = repositories.map(({ repository, stored }) => storedBar(repository, stored, most)).join('\n');
  return `<section aria-labelledby="all"><h2 id="all">All repositories</h2>
${legend()}<div class="plot">${bars}</div>
${storedTable('Stored bytes of all repositories; a blob in two of them counts in both', totalStored(repositories))}</section>\n`;
}

function section(report: RepositoryReport, index: number): string {
  const { repository, tags, manifests, stored, images, fleet } = report;
  const id = `repository-${index + 1}`;
  const counts = [
    formatCount(tags, 'tag'),
    formatCount(manifests.base, 'base image'),
    formatCount(manifests.accelerated, 'accelerated image'),
    formatCount(manifests.other, 'other manifest'),
  ];
  return `<section aria-labelledby="${id}"><h2 id="${id}">${text(repository)}</h2>
<p>${counts.join(', ')}</p>
<h3>Stored</h3>
${legend()}<div class="plot">${storedBar('all blobs', stored, Math.max(1, stored.total.bytes))}</div>
${storedTable(`Stored bytes of ${repository}`, stored)}
${images.length === 0 ? '<p>There is no accelerated image.</p>' : imagesOf(report)}
${fleet === undefined ? '' : fleetPart(fleet)}</section>`;
}

function legend(): string {
  const items = PARTS.map(
    ([, label, kind]) =>
      `<li><svg class="key" aria-hidden="true" viewBox="0 0 1 1"><rect class="${kind}" width="1" height="1"/></svg>${label}</li>`,
  );
  return `<ul class="legend">${items.join('')}</ul>\n`;
}

function storedBar(label: string, stored: StoredFacts, most: number): string {
  const parts = PARTS.map(([key, name, kind]) => ({ name, kind, bytes: stored[key].bytes }));
  return bar(label, formatBytes(stored.total.bytes), { parts, most });
}

interface BarContent {
  readonly parts: readonly { readonly name: string; readonly kind: string; readonly bytes: number }[];
  /** Bytes of a bar of the whole width. */
  readonly most: number;
}

/** A bar with its label above it: text that scaled with the picture could not be read on a small screen. */
function bar(label: string, value: string, { parts, most }: BarContent): string {
  const spoken = parts
    .filter(({ bytes }) => bytes > 0)
    .map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`)
    .join(', ');
  let x = 0;
  const rects = parts.map(({ name, kind, bytes }) => {
    const width = (bytes / most) * 1000;
    const rect = `<rect class="${kind}" x="${x.toFixed(2)}" width="${width.toFixed(2)}" height="20"><title>${text(name)}: ${formatBytes(bytes)}</title></rect>`;
    x += width;
    return bytes > 0 ? rect : '';
  });
  return `<div class="bar"><p><span>${text(label)}</span> <b>${text(value)}</b></p>
<svg role="img" aria-label="${text(`${label}: ${spoken === '' ? 'nothing' : spoken}`)}" viewBox="0 0 1000 20" preserveAspectRatio="none"><rect class="ground" width="1000" height="20"/>${rects.join('')}</svg></div>`;
}

function storedTable(caption: string, stored: StoredFacts): string {
  const rows = STORED_ROWS.map(([key, label]) => [label, formatBytes(stored[key].bytes), String(stored[key].blobs)]);
  return table(caption, ['stored', 'bytes', 'blobs'], rows);
}

function imagesOf({ repository, images }: RepositoryReport): string {
  const known = images
    .filter(({ baseBytes, start }) => baseBytes !== undefined && start !== undefined)
    .slice(0, MAX_BARS);
  const most = Math.max(1, ...known.map(({ baseBytes = 0, start }) => Math.max(baseBytes, start!.bytes)));
  const bars = known.map(({ tags, digest, platform, baseBytes = 0, start }) => {
    const rest = Math.max(0, baseBytes - start!.bytes);
    const parts = [
      { name: 'a start fetches at least', kind: 'own', bytes: start!.bytes },
      { name: 'rest of the base', kind: 'rest', bytes: rest },
    ];
    const name = `${tags[0] ?? digest}${platform === undefined ? '' : ` (${platform})`}`;
    return bar(name, `${formatBytes(start!.bytes)} of ${formatBytes(baseBytes)}`, { parts, most });
  });
  const shown = images.slice(0, MAX_IMAGES);
  const head = ['tag', 'platform', 'mode', 'own bytes', 'with base', 'base', 'a start', 'of the base', 'start by'];
  const rows = shown.map((image) => {
    const { start, startUnknown } = image;
    const by =
      start === undefined
        ? `unknown: ${startUnknown}`
        : `a ${start.form} of ${start.entries} ${start.form === 'list' ? 'lines' : 'reads'}`;
    return [...imageCells(image).map((cell) => (cell === '?' ? 'unknown' : cell)), by];
  });
  const more = images.length > shown.length ? `; the first ${shown.length} of ${images.length}` : '';
  return `<h3>What a start fetches</h3>
${bars.length === 0 ? '<p>Unknown: no image with a base that is here carries a prefetch list or a trace.</p>' : `<div class="plot">${bars.join('\n')}</div>`}
${table(`Accelerated images of ${repository}${more}`, head, rows)}`;
}

function fleetPart({ nodes, images, unknown, pulled, started, saved }: NonNullable<RepositoryReport['fleet']>): string {
  const most = Math.max(1, pulled, started);
  const title = `<h3>A fleet of ${formatCount(nodes, 'node')}</h3>`;
  const counted = `<p>${formatCount(images, 'base')} with known figures; ${unknown} unknown and not counted.</p>`;
  if (images === 0) return `${title}${counted}`;
  const share = pulled > 0 && saved > 0 ? ` (${formatShare(saved / pulled)})` : '';
  return `${title}${counted}
<div class="plot">${bar('whole bases pulled', formatBytes(pulled), { parts: [{ name: 'pulled', kind: 'base', bytes: pulled }], most })}
${bar('starts fetch at least', formatBytes(started), { parts: [{ name: 'fetched', kind: 'own', bytes: started }], most })}</div>
<p>Saved: at most ${formatBytes(Math.max(0, saved))}${share}.</p>`;
}

function table(caption: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? `<th scope="row">${text(cell)}</th>` : `<td>${text(cell)}</td>`)).join('');
  return `<div class="table" role="region" tabindex="0" aria-label="${text(caption)}"><table><caption>${text(caption)}</caption>
<thead><tr>${head.map((word) => `<th scope="col">${text(word)}</th>`).join('')}</tr></thead>
<tbody>${rows.map((row) => `<tr>${cells(row)}</tr>`).join('\n')}</tbody></table></div>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text of a registry as text of the page. */
function text(value: string): string {
  return printable(value).replace(/[&<>"']/g, (char) => ENTITIES[char]!);
}
