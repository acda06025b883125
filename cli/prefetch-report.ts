/** Renders the results of `accel prefetch`, for people and for scripts. */
import type { AddPrefetchResult } from '../converter/prefetch/add-prefetch.ts';
import type { CarriedPrefetch } from '../prefetch/carried.ts';
import type { PrefetchFacts } from '../prefetch/describe.ts';
import { formatBytes, formatCount } from './format.ts';
import { JSON_FORMAT_VERSION, jsonText } from './progress/json.ts';
import { PLAIN_STYLE, type Style } from './terminal.ts';
import { printable } from './text.ts';

/** Lines or layers that are shown; `--json` has them all. */
const SHOWN = 40;

/** Renders the prefetch list or trace of an image. */
export function renderCarried(
  platform: string,
  carried: CarriedPrefetch | undefined,
  facts: PrefetchFacts | undefined,
  style: Style = PLAIN_STYLE,
): string {
  const head = style.bold(printable(platform));
  if (carried === undefined || facts === undefined) return `${head} carries nothing to prefetch\n`;
  const what = `${facts.form} of ${formatCount(facts.entries, facts.form === 'list' ? 'line' : 'read')}`;
  const cost = `${formatBytes(facts.bytes)} of data, ${formatBytes(facts.fetched)} to fetch`;
  const lines = [`${head} prefetches by a ${what}: ${cost}`, ...detailsOf(carried)];
  const warn = (text: string): number => lines.push(`  ${style.yellow('note')} ${text}`);
  if (!facts.read) warn('the list is too large: a node ignores all of it');
  if (facts.skipped.length > 0)
    warn(`a node skips ${formatCount(facts.skipped.length, 'line')}: ${shown(facts.skipped)}`);
  if (facts.missing.length > 0) warn(`not in the image: ${shown(facts.missing)}`);
  if (facts.outside > 0) warn(`${formatCount(facts.outside, 'read')} at places that no layer has`);
  return `${lines.join('\n')}\n`;
}

/** The same as JSON text. */
export function carriedDocument(
  reference: string,
  platform: string,
  carried: CarriedPrefetch | undefined,
  facts: PrefetchFacts | undefined,
): string {
  const { content, descriptor } = carried ?? {};
  return jsonText({
    formatVersion: JSON_FORMAT_VERSION,
    reference,
    platform,
    ...(descriptor === undefined ? {} : { layer: { digest: descriptor.digest, size: descriptor.size } }),
    ...(facts === undefined
      ? {}
      : { prefetch: { ...facts, skipped: facts.skipped.map(name), missing: facts.missing.map(name) } }),
    ...(content?.form === 'list' ? { lines: content.list.kept.map(name) } : {}),
    ...(content?.form === 'trace' ? { reads: content.reads } : {}),
  });
}

/** Renders the result of `accel prefetch add`. */
export function renderAdded(reference: string, { tag, digest, upToDate, images }: AddPrefetchResult): string {
  const repository = reference.replace(/(:[^:/@]+)?(@[^@]+)?$/, '');
  const lines = [`${printable(repository)}:${printable(tag)}${upToDate ? ', already up to date' : ''}`, `  ${digest}`];
  for (const { platform, prefetch } of images) {
    const brings =
      prefetch === undefined
        ? 'nothing to prefetch'
        : `${formatCount(prefetch.files, 'file')}, ${formatBytes(prefetch.bytes)}, a ${prefetch.form} of ${formatBytes(prefetch.size)}`;
    lines.push(`  ${printable(platform)}: ${brings}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The same as JSON text. */
export function addedDocument(reference: string, result: AddPrefetchResult): string {
  return jsonText({ formatVersion: JSON_FORMAT_VERSION, reference, ...result, warnings: result.warnings.map(name) });
}

function detailsOf({ content }: CarriedPrefetch): string[] {
  if (content.form === 'list') {
    const { kept } = content.list;
    const more = kept.length - SHOWN;
    return [...kept.slice(0, SHOWN).map((line) => `  ${name(line)}`), ...(more > 0 ? [`  … and ${more} more`] : [])];
  }
  const layers = new Map<number, { reads: number; bytes: number }>();
  for (const { layer, length } of content.reads) {
    const sum = layers.get(layer) ?? { reads: 0, bytes: 0 };
    layers.set(layer, { reads: sum.reads + 1, bytes: sum.bytes + length });
  }
  return [...layers]
    .sort(([a], [b]) => a - b)
    .map(([layer, { reads, bytes }]) => `  layer ${layer + 1}: ${formatCount(reads, 'read')}, ${formatBytes(bytes)}`);
}

function shown(names: readonly string[]): string {
  const more = names.length - SHOWN;
  return `${names.slice(0, SHOWN).map(name).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function name(text: string): string {
  return printable(text, 'bytes');
}
