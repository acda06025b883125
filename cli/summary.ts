/** The result of a conversion as a person wants to see it, and as a script does. */
import type { ConvertResult, LayerResult, ManifestResult, ReferrerResult, TagResult } from '../converter/options.ts';
import { formatBytes, formatCount, formatSeconds, formatShare } from './format.ts';
import { skippedLines } from './reasons.ts';
import { DEFAULT_COLUMNS, PLAIN_STYLE, type Style } from './terminal.ts';
import { ellipsis, printable, shortDigest } from './text.ts';

/** Options for drawing the summary. */
export interface SummaryOptions {
  readonly style?: Style;
  /** Width to stay within, in characters. */
  readonly columns?: number;
  /** Whether `✔` and `→` will show. */
  readonly unicode?: boolean;
  /** True when nothing was pushed (`--no-upload`). */
  readonly dry?: boolean;
}

/** The runtimes of each kind of tag, and whether it needs the base image. */
const KIND_NOTES: Readonly<Record<TagResult['kind'], string>> = {
  full: 'containerd and Docker',
  containerd: 'keep the base image',
  'index-only': 'containerd only, keep the base image',
};

/** Below this width the columns of the layer table do not fit beside each other. */
const NARROW = 64;

/** Referrers that the summary has lines for. */
const MAX_SHOWN = 20;

/** The summary: the tags with their digests, then the layers of each platform, then what was left out. Ends in a newline. */
export function renderSummary(result: ConvertResult, options: SummaryOptions = {}): string {
  const style = options.style ?? PLAIN_STYLE;
  const columns = Math.max(20, options.columns ?? DEFAULT_COLUMNS);
  const unicode = options.unicode ?? true;
  const lines = [...headline(result, style, unicode, { dry: options.dry === true, columns }), ''];
  for (const tag of result.tags) lines.push(...tagLines(result, tag, style, columns), '');
  for (const group of platforms(result.tags)) {
    lines.push(...(columns < NARROW ? narrowLayers(group, style) : layerTable(group, style)), '');
  }
  lines.push(...referrerLines(result.referrers ?? [], style));
  lines.push(...skippedLines(result.skipped, style));
  // The display showed each where it happened; a long list here would push the result off the screen.
  if (result.warningCount > 0) lines.push(style.yellow(`${formatCount(result.warningCount, 'warning')}, see above`));
  while (lines.at(-1) === '') lines.pop();
  return `${lines.join('\n')}\n`;
}

/** One line a tag, `REPOSITORY:TAG@DIGEST`: all that `--quiet` prints. Ends in a newline. */
export function renderQuiet(result: ConvertResult): string {
  return result.tags.map((tag) => `${tagName(result, tag)}@${printable(tag.digest)}\n`).join('');
}

/** Says what became of each referrer of the source, one line each; long lists are counted. */
function referrerLines(referrers: readonly ReferrerResult[], style: Style): string[] {
  const shown = referrers.slice(0, MAX_SHOWN).map(({ kind, digest, action, reason, made }) => {
    const state = made.length > 0 && made.every((one) => one.upToDate) ? `${action} before` : action;
    return `${kind} ${shortDigest(digest)} ${state}: ${printable(reason)}`;
  });
  const more = referrers.length - shown.length;
  return [...shown, ...(more > 0 ? [`${formatCount(more, 'more referrer')}`] : [])].map((line) => style.dim(line));
}

function headline(
  result: ConvertResult,
  style: Style,
  unicode: boolean,
  { dry, columns }: { readonly dry: boolean; readonly columns: number },
): string[] {
  const mark = style.green(unicode ? '✔' : 'ok');
  const time = formatSeconds(result.seconds.total);
  const carried = (result.referrers ?? []).flatMap(({ made }) => made);
  const isCarried = carried.every((one) => one.upToDate);
  const upToDate = result.tags.length > 0 && result.tags.every((tag) => tag.upToDate) && isCarried;
  if (upToDate) return [`${mark} ${style.bold('already up to date')}, checked in ${time}`];
  const done = `${dry ? 'converted, nothing pushed,' : 'converted and pushed'} in ${time}`;
  const stages = `all layers: convert ${formatSeconds(result.seconds.convert)}, push ${formatSeconds(result.seconds.push)}`;
  const fits = done.length + stages.length + 5 <= columns;
  const first = `${mark} ${style.bold(done)}`;
  return fits ? [`${first} ${style.dim(`(${stages})`)}`] : [first, `  ${style.dim(stages)}`];
}

function tagLines(result: ConvertResult, tag: TagResult, style: Style, columns: number): string[] {
  const facts = [tag.kind, formatBytes(tag.size), `${formatShare(tag.ratio)} of the base`];
  if (tag.upToDate) facts.push('up to date');
  const note = noteOf(tag);
  const line = `  ${facts.join(' · ')}`;
  const noted =
    line.length + note.length + 3 <= columns ? [`${line} ${style.dim(`· ${note}`)}`] : [line, `  ${style.dim(note)}`];
  const digest = `  ${style.cyan(ellipsis(printable(tag.digest), columns - 2))}`;
  return [style.bold(tagName(result, tag)), ...noted, digest, ...prefetchLines(tag, style)];
}

/** Describes what a node prefetches, for each platform that has a list. */
function prefetchLines({ manifests }: TagResult, style: Style): string[] {
  return manifests.flatMap(({ platform, prefetch }) => {
    if (prefetch === undefined) return [];
    const { files, bytes, form } = prefetch;
    const of = manifests.length > 1 ? `${printable(platform)} ` : '';
    return [style.dim(`  ${of}prefetches ${formatCount(files, 'file')}, ${formatBytes(bytes)}, by a ${form}`)];
  });
}

/** A containerd image without an index-only layer is the full image under another name. */
function noteOf({ kind, manifests }: TagResult): string {
  const isFull =
    kind === 'containerd' && manifests.every(({ layers }) => layers.every((layer) => layer.kind === 'full'));
  return isFull ? 'no layer could be index-only, so this is the full image' : KIND_NOTES[kind];
}

function tagName(result: ConvertResult, tag: TagResult): string {
  return `${printable(result.repository)}:${printable(tag.tag)}`;
}

/** The results of one platform, a column for each tag that has it. */
interface PlatformGroup {
  readonly platform: string;
  readonly columns: readonly { readonly kind: TagResult['kind']; readonly manifest: ManifestResult }[];
}

function platforms(tags: readonly TagResult[]): PlatformGroup[] {
  const groups = new Map<string, { kind: TagResult['kind']; manifest: ManifestResult }[]>();
  for (const tag of tags) {
    for (const manifest of tag.manifests) {
      // Two manifests of one platform (variants of an index) are two groups: their layers have nothing in common.
      const key = `${manifest.platform}\n${manifest.sourceDigest}`;
      const columns = groups.get(key) ?? [];
      groups.set(key, columns);
      // Two tags may name one image (both full, when the bottom layer does not qualify): one column is enough.
      if (!columns.some((column) => column.manifest.digest === manifest.digest))
        columns.push({ kind: tag.kind, manifest });
    }
  }
  return [...groups].map(([key, columns]) => ({ platform: key.slice(0, key.indexOf('\n')), columns }));
}

function layerTable(group: PlatformGroup, style: Style): string[] {
  const heads = group.columns.map((column) => column.kind);
  const rows = group.columns[0]!.manifest.layers.map((layer, index) => [
    String(index + 1),
    shortDigest(layer.sourceDigest),
    formatBytes(layer.sourceSize),
    ...group.columns.map((column) => layerCell(column.kind, column.manifest.layers[index])),
  ]);
  const first = group.columns[0]!.manifest;
  const total = ['', 'total', formatBytes(first.sourceSize), ...group.columns.map((c) => formatBytes(c.manifest.size))];
  const table = [['', 'layer', 'source', ...heads], ...rows, total];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const drawn = table.map((row) =>
    row
      .map((cell, column) => (column === 1 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  '),
  );
  return [
    `${style.bold(printable(group.platform))} ${style.dim(layerCount(first))}`,
    style.dim(`  ${drawn[0]}`),
    ...drawn.slice(1, -1).map((line) => `  ${line}`),
    style.dim(`  ${drawn.at(-1)}`),
  ];
}

function narrowLayers(group: PlatformGroup, style: Style): string[] {
  const lines = [style.bold(printable(group.platform)), `  ${style.dim(layerCount(group.columns[0]!.manifest))}`];
  group.columns[0]!.manifest.layers.forEach((layer, index) => {
    lines.push(`  ${index + 1} ${shortDigest(layer.sourceDigest)} ${formatBytes(layer.sourceSize)}`);
    for (const column of group.columns) {
      lines.push(`    ${column.kind} ${layerCell(column.kind, column.manifest.layers[index])}`);
    }
  });
  return lines;
}

/** `5 layers on a device of 64 GiB`; the size of an image that was already present is not known. */
function layerCount({ layers, virtualSize }: ManifestResult): string {
  const count = formatCount(layers.length, 'layer');
  if (virtualSize === undefined) return count;
  const gib = virtualSize / 2 ** 30;
  return `${count} on a device of ${Number.isInteger(gib) ? gib : gib.toFixed(2)} GiB`;
}

/** A layer's size, and its kind where that is not what the tag is called. */
function layerCell(kind: TagResult['kind'], layer: LayerResult | undefined): string {
  if (layer === undefined) return '-';
  const size = formatBytes(layer.size);
  const usual = kind === 'full' ? 'full' : 'index-only';
  return layer.kind === usual ? size : `${size} (${layer.kind})`;
}
