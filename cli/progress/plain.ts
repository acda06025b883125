/** One line for every event that matters: for logs, pipes and CI, where nothing can be redrawn. */
import type { ConvertEvent, LayerId, LayerOutput } from '../../converter/events.ts';
import { formatBytes, formatCount, formatSeconds, formatShare } from '../format.ts';
import type { Output, Style } from '../terminal.ts';
import { printable, shortDigest } from '../text.ts';
import type { Progress } from './progress.ts';
import { LayerTracker } from './track.ts';

/** Milliseconds between two progress lines of a layer with `--verbose`. */
const VERBOSE_INTERVAL_MS = 5000;

/** Plain lines on `output`; `verbose` adds the start, the advance and the upload of every layer. */
export function createPlainProgress(
  output: Output,
  style: Style,
  verbose: boolean,
  now: () => number = Date.now,
): Progress {
  const tracker = new LayerTracker();
  const lastLine = new Map<LayerId, number>();
  const write = (line: string | undefined): void => {
    if (line !== undefined) output.write(`${line}\n`);
  };
  return {
    onEvent(event) {
      const time = now();
      const finished = tracker.take(event, time);
      if (event.type === 'layer-done') {
        write(doneLine(event.layer, finished, event.times, style));
      } else if (event.type !== 'layer-progress') {
        write(describeEvent(event, style, verbose));
      } else if (verbose && time - (lastLine.get(event.layer) ?? time - VERBOSE_INTERVAL_MS) >= VERBOSE_INTERVAL_MS) {
        lastLine.set(event.layer, time);
        write(`${layerName(event.layer)}: read ${formatBytes(event.bytesRead)} of ${formatBytes(event.layer.size)}`);
      }
    },
    stop: () => undefined,
  };
}

/** The line for an event that is not the advance or the end of a layer; undefined for an event that is not shown. */
export function describeEvent(event: ConvertEvent, style: Style, verbose: boolean): string | undefined {
  switch (event.type) {
    case 'source':
      return `${style.bold(printable(event.reference))} ${shortDigest(event.digest)}, ${event.platforms.map((p) => printable(p)).join(', ')}`;
    case 'manifest-skipped':
      // The summary lists them by reason, once.
      return verbose
        ? `${style.yellow('skipped')} ${printable(event.platform)} ${shortDigest(event.digest)}: ${printable(event.reason)}`
        : undefined;
    case 'warning': {
      const at = event.layer === undefined ? '' : `${layerName(event.layer)}: `;
      const path = event.path === undefined ? '' : ` (${printable(event.path, 'bytes')})`;
      return `${style.yellow('warning')}: ${at}${printable(event.message, 'bytes')}${path}`;
    }
    case 'restart':
      return `${style.yellow('restart')} ${printable(event.platform)} on a device of ${event.virtualSize / 2 ** 30} GiB: ${printable(event.reason)}`;
    case 'prefetch': {
      const brings = `${formatCount(event.files, 'file')}, ${formatBytes(event.bytes)}`;
      const form = formatCount(event.entries, event.form === 'list' ? 'line' : 'read');
      return `${printable(event.platform)}: ${event.kind} prefetches ${brings}, by a ${event.form} of ${form}`;
    }
    case 'prefetch-kept':
      return `${placeOf(event)}: keeps the prefetch list of the image before, ${formatCount(event.lines, 'line')}`;
    case 'prefetch-dropped':
      return `${placeOf(event)}: drops the prefetch list of the image before, ${printable(event.reason)}`;
    case 'referrer':
      return `linked ${shortDigest(event.digest)} to ${shortDigest(event.subject)} by ${event.via === 'api' ? 'the referrers API' : 'a tag: the registry has no referrers API'}`;
    case 'tagged':
      return `${style.green('tagged')} ${printable(event.tag)} ${printable(event.digest)}`;
    case 'up-to-date':
      return `${style.green('up to date')} ${printable(event.tag)} ${printable(event.digest)}`;
    case 'layer-start':
      return verbose ? `${layerName(event.layer)}: start, ${formatBytes(event.layer.size)}` : undefined;
    case 'layer-reused':
      return `${layerName(event.layer)}: converted before, ${outputsText(event.outputs, event.layer.size)}`;
    case 'layer-converted':
      return verbose
        ? `${layerName(event.layer)}: ${event.entries} entries, ${outputsText(event.outputs, event.layer.size)}`
        : undefined;
    case 'layer-pushed':
      return verbose
        ? `${layerName(event.layer)}: ${event.existed ? 'already present' : 'pushed'} ${event.output.kind} ${printable(event.output.digest)}`
        : undefined;
    case 'manifest-pushed':
      return verbose ? `${printable(event.platform)}: manifest ${event.kind} ${printable(event.digest)}` : undefined;
    case 'layer-progress':
    case 'layer-done':
      return undefined;
  }
}

function placeOf({ tag, platform }: { readonly tag: string; readonly platform: string }): string {
  return platform === '' ? printable(tag) : `${printable(tag)} ${printable(platform)}`;
}

/** The line that says what became of a layer. */
export function doneLine(
  layer: LayerId,
  { outputs, existed }: { readonly outputs: readonly LayerOutput[]; readonly existed: boolean } = {
    outputs: [],
    existed: false,
  },
  times: { readonly convert: number; readonly push: number },
  style: Style,
): string {
  const present = existed && outputs.length > 0 ? ', already present,' : '';
  const text = `${layerName(layer)}: ${formatBytes(layer.size)} -> ${outputsText(outputs, layer.size)}${present}`;
  return `${text} ${style.dim(`in ${formatSeconds(times.convert + times.push)}`)}`;
}

function outputsText(outputs: readonly LayerOutput[], sourceSize: number): string {
  if (outputs.length === 0) return 'nothing new';
  const share = (size: number): string => (sourceSize > 0 ? ` (${formatShare(size / sourceSize)})` : '');
  return outputs.map(({ kind, size }) => `${kind} ${formatBytes(size)}${share(size)}`).join(' + ');
}

function layerName(layer: LayerId): string {
  return `${printable(layer.platform)} layer ${layer.index + 1}/${layer.count} ${shortDigest(layer.digest)}`;
}
