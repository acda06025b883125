/** The display of a run of many images: a line for each one that runs, a total; or a line for each that ended. */
import type { Options, Ora } from 'ora';
import type { ImageName, ImageOutcome, ManyEvent } from '../../triggers/many/image-orders.ts';
import { formatBytes, formatCount, formatSeconds } from '../format.ts';
import { type LogRecord, streamOf, writeLog } from '../log-output.ts';
import { describeEvent } from '../progress/plain.ts';
import type { Verbosity } from '../progress/progress.ts';
import { spinnerOptions } from '../progress/spinner-options.ts';
import { LayerTracker } from '../progress/track.ts';
import { barLine, type Canvas } from '../progress/tty.ts';
import {
  CURSOR,
  canRedraw,
  columnsOf,
  type Environment,
  hasUnicode,
  type Output,
  PLAIN_STYLE,
  type Style,
} from '../terminal.ts';
import { ellipsis, printable } from '../text.ts';

/** A running display. */
export interface ManyProgress {
  readonly onEvent: (event: ManyEvent) => void;
  /** Shows a warning that is of no image. */
  warn(message: string): void;
  /** Begins: the images are known, `done` of them have ended already, and `idle` are likely to need no work. */
  begin(images: number, done: number, idle: number): void;
  /** Removes what is only for the time of the run. */
  stop(): void;
}

/** The display for a stream: live lines on a terminal, for which it loads ora, plain lines elsewhere. */
export async function createManyProgress(
  output: Output,
  { env, style, verbosity }: { readonly env: Environment; readonly style: Style; readonly verbosity: Verbosity },
  now: () => number = Date.now,
): Promise<ManyProgress> {
  const isLive = verbosity === 'normal' && canRedraw(output, env);
  if (!isLive) return plainProgress(output, style, verbosity);
  const { default: makeSpinner } = await import('ora');
  return new LiveProgress(streamOf(output), { env, style, now, makeSpinner });
}

function plainProgress(output: Output, style: Style, verbosity: Verbosity): ManyProgress {
  let images = 0;
  let ended = 0;
  const write = (line: string): unknown => output.write(`${line}\n`);
  const warn = (message: string): unknown => write(`${style.yellow('warning')}: ${printable(message, 'bytes')}`);
  return {
    begin(count, done) {
      images = count;
      ended = done;
      if (verbosity !== 'warnings') write(`${formatCount(count, 'image')} to look at`);
    },
    warn: (message) => void warn(message),
    onEvent(event) {
      if (event.type === 'image-event') {
        const line = describeEvent(event.event, style, verbosity === 'verbose');
        const isShown = verbosity === 'verbose' || event.event.type === 'warning';
        if (isShown && line !== undefined) write(`${printable(event.order.reference)}: ${line}`);
      } else if (event.type === 'image-done') {
        ended++;
        if (verbosity === 'warnings') return;
        const line = `[${ended}/${images}] ${outcomeLine(event.outcome, style)}`;
        writeLog(output, outcomeRecord(event.outcome, line), `${line}\n`);
      }
    },
    stop: () => undefined,
  };
}

/** The line for an image that ended. */
export function outcomeLine({ order, state, tags, skip, error, seconds, bytes }: ImageOutcome, style: Style): string {
  const name = printable(order.reference);
  switch (state) {
    case 'converted': {
      const made = tags.map(({ tag, size }) => `${printable(tag)}${size === undefined ? '' : ` ${formatBytes(size)}`}`);
      const reused = bytes.reused === 0 ? '' : `, ${formatBytes(bytes.reused)} of its layers reused`;
      return `${style.green('converted')} ${name} -> ${made.join(', ')} ${style.dim(`in ${formatSeconds(seconds)}${reused}`)}`;
    }
    case 'up-to-date':
      return `${style.green('up to date')} ${name}`;
    case 'due':
      return `${style.cyan('to convert')} ${name} -> ${tags.map(({ tag }) => printable(tag)).join(', ')}`;
    case 'skipped':
      return `${style.dim('skipped')} ${name}: ${printable(skip?.reason ?? '')}`;
    case 'failed':
      return `${style.red('failed')} ${name}: ${printable(error?.message ?? '')} [${error?.code ?? ''}]`;
    default:
      return `${style.yellow('interrupted')} ${name}`;
  }
}

/** An image that ended, as a record of the log. */
function outcomeRecord({ order, state, tags, skip, error, seconds, bytes }: ImageOutcome, message: string): LogRecord {
  const fields = { event: 'image-done', reference: order.reference, state, tags, seconds, bytes };
  return {
    level: state === 'failed' ? 'error' : 'info',
    message,
    fields: {
      ...fields,
      ...(skip === undefined ? {} : { reason: skip.reason }),
      ...(error === undefined ? {} : { code: error.code, where: error.where }),
    },
  };
}

/** An image that runs. */
interface Running {
  readonly tracker: LayerTracker;
  readonly started: number;
  stage: string;
}

class LiveProgress implements ManyProgress {
  readonly #output: Output & NodeJS.WritableStream;
  readonly #env: Environment;
  readonly #style: Style;
  readonly #now: () => number;
  readonly #running = new Map<ImageName, Running>();
  readonly #spinner: Ora;
  readonly #started: number;
  #images = 0;
  /** Images that ended, and those of them that ended when the run began. */
  #ended = 0;
  #before = 0;
  #failed = 0;
  #idle = 0;

  constructor(
    output: Output & NodeJS.WritableStream,
    {
      env,
      style,
      now,
      makeSpinner,
    }: {
      readonly env: Environment;
      readonly style: Style;
      readonly now: () => number;
      readonly makeSpinner: (options: Options) => Ora;
    },
  ) {
    this.#output = output;
    this.#env = env;
    this.#style = style;
    this.#now = now;
    this.#started = now();
    this.#spinner = makeSpinner({
      ...spinnerOptions(output, style, env),
      prefixText: () => {
        const lines = this.#lines();
        return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
      },
      text: 'total',
      suffixText: () =>
        totalLine(
          { images: this.#images, ended: this.#ended, before: this.#before, failed: this.#failed, idle: this.#idle },
          (this.#now() - this.#started) / 1000,
          this.#canvas(),
        ),
    });
    output.write(CURSOR.hide);
    this.#spinner.start();
  }

  begin(images: number, done: number, idle: number): void {
    this.#images = images;
    this.#ended = done;
    this.#before = done;
    this.#failed = done;
    this.#idle = idle;
  }

  warn(message: string): void {
    this.#persist(`${this.#style.yellow('warning')}: ${printable(message, 'bytes')}`);
  }

  onEvent = (event: ManyEvent): void => {
    if (event.type === 'image-start') {
      this.#running.set(event.order, { tracker: new LayerTracker(), started: this.#now(), stage: 'looking' });
    } else if (event.type === 'image-event') {
      const running = this.#running.get(event.order);
      if (running !== undefined) follow(running, event.event, this.#now());
      if (event.event.type === 'warning') {
        const line = describeEvent(event.event, this.#style, false);
        if (line !== undefined) this.#persist(`${printable(event.order.reference)}: ${line}`);
      }
    } else {
      const { outcome } = event;
      this.#running.delete(outcome.order);
      this.#ended++;
      if (outcome.state === 'failed') this.#failed++;
      // The summary counts images that needed no work: thousands of such lines would only hide the others.
      if (outcome.state === 'converted' || outcome.state === 'failed' || outcome.state === 'due') {
        this.#persist(ellipsis(outcomeLine(outcome, PLAIN_STYLE), columnsOf(this.#output) - 1));
      }
    }
  };

  stop(): void {
    if (this.#spinner.isSpinning) this.#output.write(CURSOR.show);
    this.#spinner.stop();
  }

  #persist(line: string): void {
    this.#output.write(`${line}\n`);
  }

  #canvas(): Canvas {
    return { columns: columnsOf(this.#output), rows: 1, style: this.#style, unicode: hasUnicode(this.#env) };
  }

  #lines(): string[] {
    const room = Math.max(1, (this.#output.rows ?? 24) - 3);
    const running = [...this.#running];
    const shown = running.length > room ? running.slice(0, room - 1) : running;
    const lines = shown.map(([order, state]) => imageLine(order, state, this.#canvas()));
    if (shown.length < running.length) lines.push(this.#style.dim(`  and ${running.length - shown.length} more`));
    return lines;
  }
}

function follow(running: Running, event: Parameters<LayerTracker['take']>[0], now: number): void {
  running.tracker.take(event, now);
  if (event.type === 'source') running.stage = 'waiting';
  else if (event.type === 'layer-start' || event.type === 'layer-reused') running.stage = '';
  else if (event.type === 'manifest-pushed') running.stage = 'manifests';
  else if (event.type === 'tagged') running.stage = 'tagging';
}

/** The line of a running image: its name, layers done, a bar and a share. */
export function imageLine(
  { reference }: ImageName,
  { tracker, stage }: Omit<Running, 'started'>,
  canvas: Canvas,
): string {
  const width = canvas.columns - 1;
  const nameWidth = Math.max(12, Math.min(48, Math.floor(width * 0.5)));
  const name = shortName(printable(reference), nameWidth).padEnd(nameWidth);
  const { done, count, bytesRead, bytesReused, bytes } = tracker.totals;
  if (stage !== '' || bytes === undefined || count === 0) return ellipsis(`  ${name} ${stage}`, width);
  const known = Math.min(bytes, bytesRead + bytesReused);
  const share = bytes === 0 ? 1 : known / bytes;
  const head = `  ${name} ${`${done}/${count}`.padStart(7)} `;
  return barLine({ head, share, tail: ` ${Math.floor(share * 100)} %`.padStart(6) }, width, canvas);
}

/** The end of a name says which image it is: the front is cut. */
function shortName(name: string, width: number): string {
  return name.length <= width ? name : `…${name.slice(name.length - width + 1)}`;
}

/** Where a run is. */
export interface RunTotals {
  readonly images: number;
  readonly ended: number;
  /** Of those that ended, the ones that did before the run. */
  readonly before: number;
  readonly failed: number;
  /** Images at the end of the list that are likely to need no work. */
  readonly idle: number;
}

/** The line after the word `total`. */
export function totalLine({ images, ended, before, failed, idle }: RunTotals, seconds: number, canvas: Canvas): string {
  const width = canvas.columns - 1 - 'total'.length - 4;
  if (images === 0) return ellipsis(`looking for images, ${formatSeconds(Math.floor(seconds))}`, width);
  const rate = seconds > 0 ? (ended - before) / seconds : 0;
  const due = images - idle - ended;
  const left = rate > 0 && due > 0 ? `, ${formatSeconds(Math.ceil(due / rate))} left` : '';
  const bad = failed === 0 ? '' : `, ${failed} failed`;
  return barLine({ head: `${ended}/${images} `, share: ended / images, tail: `${bad}${left}` }, width, canvas);
}
