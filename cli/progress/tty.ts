/**
 * The live display: a line for each layer in progress with bar, rate and time left, the totals below them with a
 * spinner; what is finished scrolls up above. ora does the redrawing (in one synchronised update, so nothing flickers).
 */
import { formatBytes, formatRate, formatSeconds } from '../format.ts';
import { CURSOR, columnsOf, type Environment, hasUnicode, type Output, type Style } from '../terminal.ts';
import { ellipsis, printable, shortDigest } from '../text.ts';
import { describeEvent } from './plain.ts';
import type { Progress } from './progress.ts';
import { spinnerOptions } from './spinner-options.ts';
import { type LayerState, LayerTracker } from './track.ts';

/** Bytes a second below which a time left would be a joke. */
const MIN_RATE = 1;

const TOTAL = 'total';

/** The live display on a terminal; loads ora. */
export async function createTtyProgress(
  output: Output & NodeJS.WritableStream,
  env: Environment,
  style: Style,
  now: () => number = Date.now,
): Promise<Progress> {
  const { default: ora } = await import('ora');
  const tracker = new LayerTracker();
  const unicode = hasUnicode(env);
  const started = now();
  const columns = (): number => columnsOf(output);
  const spinner = ora({
    ...spinnerOptions(output, style, env),
    prefixText: () => {
      // Leaves room for the totals and for the line of the cursor.
      const lines = renderLayers(tracker, { columns: columns(), rows: (output.rows ?? 24) - 3, style, unicode });
      return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
    },
    text: TOTAL,
    suffixText: () => renderTotals(tracker, (now() - started) / 1000, { columns: columns(), rows: 1, style, unicode }),
  });
  let lasting = 0;
  const persist = (line: string): void => {
    output.write(`${line}\n`);
    lasting++;
  };
  output.write(CURSOR.hide);
  spinner.start();
  return {
    onEvent(event) {
      const finished = tracker.take(event, now());
      if (event.type === 'layer-done' && finished !== undefined) {
        const canvas = { columns: columns(), rows: 1, style, unicode };
        persist(renderDone(finished, event.times.convert + event.times.push, tracker.manyPlatforms, canvas));
        return;
      }
      // Tags and what was skipped are in the summary that follows; here they would only say it twice.
      if (event.type === 'tagged' || event.type === 'up-to-date' || event.type === 'manifest-skipped') return;
      const line = describeEvent(event, style, false);
      if (line !== undefined) persist(line);
    },
    stop() {
      if (spinner.isSpinning) output.write(CURSOR.show);
      spinner.stop();
      // An empty line sets off the summary, or an error, from the progress above.
      if (lasting > 0) output.write('\n');
      lasting = 0;
    },
  };
}

/** Where and how the lines are drawn. */
export interface Canvas {
  readonly columns: number;
  /** Lines that may be used. */
  readonly rows: number;
  readonly style: Style;
  readonly unicode: boolean;
}

/** The lines of the layers in progress; none is wider than the canvas. */
export function renderLayers(tracker: LayerTracker, canvas: Canvas): string[] {
  const active = tracker.active;
  const room = Math.max(1, canvas.rows);
  const shown = active.length > room ? active.slice(0, room - 1) : active;
  const lines = shown.map((state) => layerLine(state, tracker.manyPlatforms, canvas));
  if (shown.length < active.length) lines.push(canvas.style.dim(`  and ${active.length - shown.length} more`));
  return lines;
}

/** Columns before what {@link renderTotals} returns: a space, the spinner, a space, the word, a space. */
const BEFORE_TOTALS = TOTAL.length + 4;

/**
 * The line after the word `total`, aligned with the layers above: layers done, bar, share, rate and time left over all
 * layers; `seconds` is the time since the start.
 */
export function renderTotals(tracker: LayerTracker, seconds: number, canvas: Canvas): string {
  const { done, count, bytesRead, bytesReused, bytes } = tracker.totals;
  const width = canvas.columns - 1 - BEFORE_TOTALS;
  if (count === 0) return ellipsis(`reading the image, ${wholeSeconds(seconds)}`, width);
  const number = `${done}/${count} `;
  if (bytes === undefined) return ellipsis(`${number}layers, ${formatBytes(bytesRead)} read`, width);
  const [first] = tracker.active;
  const above = first === undefined || tracker.manyPlatforms ? 0 : headOf(first, false, canvas).length - BEFORE_TOTALS;
  const known = Math.min(bytes, bytesRead + bytesReused);
  const rate = seconds > 0 ? bytesRead / seconds : 0;
  const tail = known >= bytes ? ` finishing  ${wholeSeconds(seconds)}` : advance(known, bytes, rate, isWide(canvas));
  return barLine({ head: number.padEnd(above), share: bytes === 0 ? 1 : known / bytes, tail }, width, canvas);
}

/** The line that stays of a finished layer: its size before and after, and the seconds it took, as far as they fit. */
export function renderDone(state: LayerState, seconds: number, namePlatform: boolean, canvas: Canvas): string {
  const { unicode, style } = canvas;
  const mark = unicode ? '✔' : 'ok';
  const sizes = state.outputs.map((output) => formatBytes(output.size)).join(' + ') || 'nothing new';
  const text = `${nameOf(state, namePlatform, canvas)} ${formatBytes(state.layer.size)} ${unicode ? '→' : '->'} ${sizes}`;
  const extras = [
    ` in ${formatSeconds(seconds)}`,
    state.existed && state.outputs.length > 0 ? ', already present' : '',
  ];
  let extra = '';
  for (const part of extras)
    if (mark.length + 1 + text.length + extra.length + part.length < canvas.columns) extra += part;
  return `${style.green(mark)} ${ellipsis(text, canvas.columns - mark.length - 2)}${style.dim(extra)}`;
}

function layerLine(state: LayerState, namePlatform: boolean, canvas: Canvas): string {
  const { layer, stage, bytesRead, rate } = state;
  const share = layer.size === 0 ? 1 : Math.min(1, bytesRead / layer.size);
  // The end of the layer is still being compressed when its last byte has been read.
  const end = stage === 'pushing' ? ' pushing' : bytesRead >= layer.size ? ' finishing' : undefined;
  const tail = end ?? advance(bytesRead, layer.size, rate, isWide(canvas));
  return barLine({ head: headOf(state, namePlatform, canvas), share, tail }, canvas.columns - 1, canvas);
}

/** A head, a bar that takes the room there is, and a tail; at most `width` wide. */
export function barLine(
  { head, share, tail }: { readonly head: string; readonly share: number; readonly tail: string },
  width: number,
  canvas: Canvas,
): string {
  // Fixed widths: a bar that grows and shrinks with the digits beside it looks like a twitch.
  const room = width - head.length - Math.max(tail.length, isWide(canvas) ? WIDE_TAIL : NARROW_TAIL);
  if (room < 4) return ellipsis(`${head.trimEnd()}${tail}`, width);
  return `${head}${bar(share, Math.min(room, 32), canvas)}${tail}`;
}

function headOf(state: LayerState, namePlatform: boolean, canvas: Canvas): string {
  // In the column of the finished layers' names, behind their mark.
  return `  ${nameOf(state, namePlatform, canvas)} `;
}

const WIDE_TAIL = '  45 %   210 MB/s  1 min 12 s left'.length;
const NARROW_TAIL = '  45 %  12 s'.length;

function isWide(canvas: Canvas): boolean {
  return canvas.columns >= 60;
}

function nameOf({ layer }: LayerState, namePlatform: boolean, canvas: Canvas): string {
  const platform = namePlatform && isWide(canvas) ? `${printable(layer.platform)} ` : '';
  const number = `${String(layer.index + 1).padStart(String(layer.count).length)}/${layer.count}`;
  return `${platform}${number} ${shortDigest(layer.digest, isWide(canvas) ? 12 : 7)}`;
}

function advance(read: number, size: number, rate: number, wide: boolean): string {
  const percent = `${Math.floor((read / size) * 100)} %`.padStart(6);
  if (rate < MIN_RATE) return percent;
  const left = wholeSeconds((size - read) / rate);
  return wide ? `${percent} ${formatRate(rate).padStart(10)}  ${left} left` : `${percent} ${left.padStart(5)}`;
}

function wholeSeconds(seconds: number): string {
  return formatSeconds(Math.ceil(seconds)).replace('.0', '');
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const;

function bar(share: number, width: number, canvas: Canvas): string {
  if (!canvas.unicode) {
    const full = Math.round(share * (width - 2));
    return `[${'#'.repeat(full)}${'.'.repeat(width - 2 - full)}]`;
  }
  const eighths = Math.round(share * width * 8);
  const solid = '█'.repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8];
  return canvas.style.cyan(solid) + canvas.style.dim('░'.repeat(width - solid.length));
}
