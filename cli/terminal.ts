/** Capabilities of an output stream: decided once, from the stream and the environment, and passed on. */

/** The environment variables that were given, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The part of a `WriteStream` that the command line writes to. */
export interface Output {
  /** Writes text, or bytes as they are; may throw nothing. */
  write(text: string | Uint8Array): unknown;
  readonly isTTY?: boolean;
  /** Width and height in characters; a terminal has them, a file or pipe does not. */
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

/** Hides the cursor while lines are redrawn, and gives it back. */
export const CURSOR = { hide: '\u001b[?25l', show: '\u001b[?25h' } as const;

/** Ways to set text off; each returns its argument with or without escape sequences. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

const same = (text: string): string => text;

/** The style of a file, a pipe, or a user who set NO_COLOR. */
export const PLAIN_STYLE: Style = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same };

/** Columns to assume where the stream has no width. */
export const DEFAULT_COLUMNS = 80;

/** The width of a stream. A pseudo-terminal that nobody gave a size says 0, which is as good as nothing. */
export function columnsOf({ columns }: Output): number {
  return columns || DEFAULT_COLUMNS;
}

/** Whether colours may be written: `NO_COLOR` (no-color.org) wins over `FORCE_COLOR`, which wins over the stream. */
export function wantsColor(output: Output, env: Environment): boolean {
  if (env.NO_COLOR) return false;
  const forced = env.FORCE_COLOR;
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  return output.isTTY === true && env.TERM !== 'dumb';
}

/**
 * Whether lines may be redrawn: a terminal that moves its cursor, that knows its width (without which the number
 * of lines to erase is unknown), and no CI system that keeps every frame in its log.
 */
export function canRedraw(output: Output, env: Environment): boolean {
  const inCi = env.CI !== undefined && env.CI !== '' && env.CI !== 'false' && env.CI !== '0';
  return output.isTTY === true && output.columns !== 0 && env.TERM !== 'dumb' && !inCi;
}

/** Whether block characters and check marks can be expected to show; the old Linux console and plain C locales cannot. */
export function hasUnicode(env: Environment): boolean {
  if (env.TERM === 'linux' || env.TERM === 'dumb') return false;
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || '';
  return /utf-?8/i.test(locale) || locale === '';
}

/** The style for a stream; chalk is loaded only when there will be colours. */
export async function styleFor(output: Output, env: Environment): Promise<Style> {
  if (!wantsColor(output, env)) return PLAIN_STYLE;
  const { Chalk } = await import('chalk');
  // The sixteen basic colours: they follow the user's theme and every terminal has them.
  return new Chalk({ level: 1 });
}
