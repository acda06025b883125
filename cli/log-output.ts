/** Standard error as text for people, or as one JSON object a line for programs (docs/json.md, docs/schemas/log.json). */
import { redact } from '../base/secrets.ts';
import { jsonText } from './progress/json.ts';
import type { Output } from './terminal.ts';

/** Weight of a line. `debug`: what only a flag asks for. */
export type LogLevel = 'debug' | 'info' | 'warning' | 'error';

/** A line of the log. There is no time in it: whoever collects the lines adds it. */
export interface LogRecord {
  readonly level: LogLevel;
  readonly message: string;
  /** The facts of the message, for programs. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** Colours and other sequences that start with ESC [. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the control character is what is looked for.
const SEQUENCES = /\u001b\[[\d;?]*[A-Za-z]/g;

/** Standard error of a run: writes text as it is until {@link asJson} was called, and JSON objects from then on. */
export class LogOutput implements Output {
  /** The stream itself. */
  readonly stream: Output;
  #json = false;
  /** Text after the last line break. */
  #rest = '';

  constructor(stream: Output) {
    this.stream = stream;
  }

  /** Whether lines are JSON objects. */
  get isJson(): boolean {
    return this.#json;
  }

  /** Whether it is a terminal that shows text. */
  get isTTY(): boolean {
    return !this.#json && this.stream.isTTY === true;
  }

  /** Width of the terminal. */
  get columns(): number | undefined {
    return this.stream.columns;
  }

  /** Height of the terminal. */
  get rows(): number | undefined {
    return this.stream.rows;
  }

  /** Writes JSON objects from now on. */
  asJson(): void {
    this.#json = true;
  }

  /** Writes text; in JSON each line that is not empty becomes a record, once it is whole. */
  write(text: string | Uint8Array): unknown {
    if (!this.#json) return this.stream.write(text);
    const lines = (this.#rest + (typeof text === 'string' ? text : Buffer.from(text).toString('utf8'))).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) {
      const message = line.replace(SEQUENCES, '').trimEnd();
      if (message === '') continue;
      const [, warning] = /^warning: (.*)$/.exec(message) ?? [];
      this.#record(warning === undefined ? { level: 'info', message } : { level: 'warning', message: warning });
    }
    return true;
  }

  /** Writes a record, or `text` for people. */
  log(record: LogRecord, text: string): void {
    if (this.#json) this.#record(record);
    else this.stream.write(text);
  }

  #record(record: LogRecord): void {
    this.stream.write(redact(jsonText(record, 0)));
  }
}

/** Writes a record to an output that takes records, and `text` to any other. */
export function writeLog(output: Output, record: LogRecord, text: string): void {
  if (output instanceof LogOutput) output.log(record, text);
  else output.write(text);
}

/** The stream of an output, for a display that draws on it. */
export function streamOf(output: Output): Output & NodeJS.WritableStream {
  return (output instanceof LogOutput ? output.stream : output) as Output & NodeJS.WritableStream;
}
