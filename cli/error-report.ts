/** From a failure to what the user sees of it: text, JSON, exit code. */
import type { AccelError, AccelErrorCode } from '../base/error.ts';
import { redact } from '../base/secrets.ts';
import { withReadableSizes } from './format.ts';
import type { LogRecord } from './log-output.ts';
import { adviceText, flagWords, type Words } from './option-words.ts';
import { JSON_FORMAT_VERSION } from './progress/json.ts';
import { PLAIN_STYLE, type Style } from './terminal.ts';
import { printable, printableLines } from './text.ts';

/** The exit codes of accel; docs/troubleshooting.md says what to do about each. */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 130;

/**
 * One exit code for every error code. The type makes the table complete: a new code does not compile without a line
 * here.
 */
export const EXIT_CODES: Readonly<Record<AccelErrorCode, ExitCode>> = {
  usage: 2,
  'reference-invalid': 2,
  'tag-too-long': 2,
  // The request is refused as such, and would be again: not a failure that a retry might cure.
  'tag-conflict': 3,
  'already-accelerated': 3,
  'image-unsupported': 3,
  'layer-unsupported': 3,
  'limit-exceeded': 3,
  'filesystem-full': 3,
  unauthorized: 4,
  'verification-failed': 5,
  'partly-failed': 6,
  aborted: 130,
  'timed-out': 1,
  'not-found': 1,
  'registry-unreachable': 1,
  'registry-error': 1,
  'digest-mismatch': 1,
  'size-mismatch': 1,
  'diff-id-mismatch': 1,
  'manifest-invalid': 1,
  'layout-invalid': 1,
  'tar-invalid': 1,
  'gzip-invalid': 1,
  'zstd-invalid': 1,
  'ext4-invalid': 1,
  'lsmt-invalid': 1,
  'zfile-invalid': 1,
  'turbo-invalid': 1,
  'prefetch-invalid': 1,
  'notify-failed': 1,
  'cluster-error': 1,
  'io-error': 1,
  internal: 1,
};

/** Options for printing an error. */
export interface ReportOptions {
  readonly style?: Style;
  /** The front end's words; those of the command line unless given. */
  readonly words?: Words;
  /** Adds the stack and the chain of causes. */
  readonly verbose?: boolean;
}

/** Lines of a value (a registry's answer may be long) that are shown without `--verbose`. */
const MAX_VALUE_LINES = 12;
const MAX_VALUE_CHARACTERS = 2000;
const LABEL_WIDTH = 'expected'.length;
/** Keys of an error's place that hold names of a tar. */
const NAME_KEYS: ReadonlySet<string> = new Set(['path', 'entry', 'name', 'link']);
/** Causes that are followed; a chain longer than this is a loop. */
const MAX_CAUSES = 8;

/**
 * The error as a person reads it: what happened, where, what was expected and found, what to do. Ends in a newline.
 * Everything that may come from an image or a registry is escaped.
 */
export function renderError(error: AccelError, options: ReportOptions = {}): string {
  const style = options.style ?? PLAIN_STYLE;
  const verbose = options.verbose ?? false;
  const words = options.words ?? flagWords();
  const facts: [label: string, value: string][] = Object.entries(error.where).map(([key, value]) => [
    printable(key),
    NAME_KEYS.has(key) && namesAreBytes(error.code) ? printable(String(value), 'bytes') : String(value),
  ]);
  if (error.expected !== undefined) facts.push(['expected', withReadableSizes(String(error.expected))]);
  if (error.found !== undefined) facts.push(['found', withReadableSizes(String(error.found))]);
  if (error.code === 'internal') facts.push(['to do', words.defect]);
  if (error.advice !== undefined) facts.push(['to do', adviceText(error.advice, words)]);
  const width = Math.max(LABEL_WIDTH, ...facts.map(([label]) => label.length));
  const lines = [
    `${style.red(style.bold('error'))} ${style.dim(`[${error.code}]`)} ${printableLines(error.message).join('\n  ')}`,
  ];
  for (const [label, value] of facts) {
    const [first = '', ...rest] = shorten(value, verbose, words);
    lines.push(
      `  ${style.dim(label.padEnd(width))}  ${first}`,
      ...rest.map((line) => `  ${' '.repeat(width)}  ${line}`),
    );
  }
  if (verbose) lines.push(...traceOf(error).map((line) => style.dim(`  ${line}`)));
  // As a whole: causes and stacks are not of accel's making.
  return redact(`${lines.join('\n')}\n`);
}

/** The error as a record for `--json`; strings are as they were, JSON escapes them. */
export function errorDocument(error: AccelError, words = flagWords()): Readonly<Record<string, unknown>> {
  return {
    formatVersion: JSON_FORMAT_VERSION,
    error: {
      code: error.code,
      message: error.message,
      where: error.where,
      ...(error.expected === undefined ? {} : { expected: error.expected }),
      ...(error.found === undefined ? {} : { found: error.found }),
      ...(error.advice === undefined ? {} : { hint: adviceText(error.advice, words) }),
    },
    exitCode: EXIT_CODES[error.code],
  };
}

/** The error as a record of the log: what {@link errorDocument} has, in one line. */
export function errorRecord(error: AccelError, words = flagWords()): LogRecord {
  const { error: fields, exitCode } = errorDocument(error, words) as { error: { message: string }; exitCode: number };
  const { message, ...rest } = fields;
  return { level: 'error', message, fields: { ...rest, exitCode } };
}

/** The path of a system error is the host's own text; every other path is a name of a tar, one byte a character. */
function namesAreBytes(code: AccelErrorCode): boolean {
  return code !== 'io-error' && code !== 'layout-invalid' && code !== 'usage';
}

function shorten(value: string, verbose: boolean, words: Words): string[] {
  const lines = printableLines(verbose ? value : value.slice(0, MAX_VALUE_CHARACTERS));
  const shown = verbose ? lines : lines.slice(0, MAX_VALUE_LINES);
  if (shown.length < lines.length || (!verbose && value.length > MAX_VALUE_CHARACTERS)) {
    shown.push(words.shortened);
  }
  return shown;
}

function traceOf(error: AccelError): string[] {
  const lines: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth++) {
    const [head = '', ...frames] = printableLines(current.stack ?? String(current));
    lines.push(depth === 0 ? head : `caused by ${head}`, ...frames);
    current = current.cause;
  }
  return lines;
}
