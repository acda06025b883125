/** The result of a verification as a person wants to see it, and as a script does. */
import type { Named } from '../reader/open-by-name.ts';
import type { Difference, VerifyReport } from '../verify/verify-image.ts';
import type { VerifyResult } from '../verify/verify-reference.ts';
import { formatBytes, formatCount } from './format.ts';
import { JSON_FORMAT_VERSION, jsonText } from './progress/json.ts';
import { PLAIN_STYLE, type Style } from './terminal.ts';
import { printable, shortDigest } from './text.ts';

/** Differences of one image that are shown; `--json` has them all. */
const SHOWN = 20;
/** Characters of a value that are shown. */
const VALUE_WIDTH = 100;

/** Options for drawing the report. */
export interface VerifyReportOptions {
  readonly style?: Style;
  readonly unicode?: boolean;
}

/** A block of lines for each platform: what was compared, what differs, what to know. Ends in a newline. */
export function renderVerify(result: VerifyResult, options: VerifyReportOptions = {}): string {
  const style = options.style ?? PLAIN_STYLE;
  const lines: string[] = [];
  if (result.differences.length > 0)
    lines.push(style.bold('index'), ...differenceLines(result.differences, result.differences.length, style));
  for (const image of result.images) lines.push(...imageLines(image, style, options.unicode ?? true));
  return `${lines.join('\n')}\n`;
}

/** The same as JSON text; bytes of names that are no UTF-8 are `\xNN`. */
export function verifyDocument(result: Named<VerifyResult>): string {
  return jsonText({
    formatVersion: JSON_FORMAT_VERSION,
    ...result,
    differences: result.differences.map(readable),
    images: result.images.map((image) => ({ ...image, differences: image.differences.map(readable) })),
  });
}

function imageLines(image: VerifyReport, style: Style, unicode: boolean): string[] {
  const { compared, quick, differenceCount, differences, traffic } = image;
  const sound = differenceCount === 0;
  const mark = sound ? style.green(unicode ? '✔' : 'ok') : style.red(unicode ? '✘' : 'FAIL');
  const outcome = sound
    ? `identical to ${shortDigest(image.sourceDigest)}${quick ? ', content not compared' : ''}`
    : `${formatCount(differenceCount, 'difference')} from ${shortDigest(image.sourceDigest)}`;
  const content = quick ? [] : [`${formatBytes(compared.bytes)} in ${formatCount(compared.files, 'file')}`];
  const facts = [
    formatCount(compared.layers, 'layer'),
    formatCount(compared.paths, 'path'),
    ...content,
    `device read with ${formatCount(traffic.requests, 'request')}, ${formatBytes(traffic.bytes)}`,
  ];
  return [
    `${mark} ${style.bold(printable(image.platform))} ${shortDigest(image.digest)}: ${outcome}`,
    `  ${style.dim(facts.join(' · '))}`,
    ...(image.notCompared.length === 0 ? [] : [`  ${style.yellow('not looked at')} ${image.notCompared.join(', ')}`]),
    ...differenceLines(differences, differenceCount, style),
    ...image.warnings.map((warning) => `  ${style.yellow('note')} ${printable(warning)}`),
  ];
}

function differenceLines(differences: readonly Difference[], count: number, style: Style): string[] {
  const lines = differences
    .slice(0, SHOWN)
    .map(readable)
    .flatMap(({ path, field, expected, found }) => [
      `  ${style.bold(path)} ${field}`,
      `    ${style.dim('source')}      ${shorten(expected)}`,
      `    ${style.dim('accelerated')} ${shorten(found)}`,
    ]);
  const rest = count - SHOWN;
  return rest > 0 ? [...lines, `  … and ${formatCount(rest, 'more difference')}; all of them with --json`] : lines;
}

/** Names and values of the tree are bytes, those of documents are text. */
function readable(difference: Difference): Difference {
  const kind = difference.scope === 'tree' ? 'bytes' : 'text';
  const { scope, path, field, expected, found } = difference;
  return {
    scope,
    path: printable(path, kind),
    field: printable(field, kind),
    expected: printable(expected, kind),
    found: printable(found, kind),
  };
}

function shorten(text: string): string {
  return text.length > 2 * VALUE_WIDTH ? `${text.slice(0, VALUE_WIDTH)}… (${text.length} characters)` : text;
}
