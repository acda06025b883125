/** Edits of TOML text in place. Everything else stays as it is; each result is parsed again and compared before it is used. */
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'smol-toml';
import { AccelError } from '../../../base/error.ts';
import { isRecord } from '../../../base/is-record.ts';
import { ownBlock } from './own-block.ts';

/** Parses a file. Fails with `io-error` for a text that is no TOML. */
export function parseToml(text: string, file: string): Record<string, unknown> {
  try {
    return parse(text, { integersAsBigInt: 'asNeeded' });
  } catch (cause) {
    throw new AccelError('io-error', 'the file is not valid TOML', {
      where: { file },
      found: cause instanceof Error ? cause.message.split('\n')[0]! : String(cause),
      hint: 'Mend the file; it is left as it is.',
      cause,
    });
  }
}

/** The value at a path of tables; undefined where a key is missing. */
export function tomlValue(document: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (isRecord(value) ? value[key] : undefined), document);
}

/** A quoted text as TOML has it. */
export function tomlString(text: string): string {
  // JSON's escapes are a part of TOML's.
  return JSON.stringify(text);
}

/**
 * Sets a text at `path` (tables and key): in place of the line that has it, after the header of its table, or in a new table at
 * the end. Fails with `io-error` where the file is written in a form that this cannot edit without changing more.
 */
export function setTomlText(text: string, path: readonly string[], value: string, file: string): string {
  const before = parseToml(text, file);
  if (tomlValue(before, path) === value) return text;
  const table = path.slice(0, -1);
  const key = path.at(-1)!;
  const lines = topLevelLines(text);
  const at = lines.findIndex(({ header }) => isDeepStrictEqual(header, table));
  const edited =
    at < 0 ? appendTable(text, table, `${key} = ${tomlString(value)}`) : inTable(lines, at, { key, value });
  if (!changesOnly(before, safeParse(edited), path, value)) {
    throw new AccelError('io-error', 'the file has a form that is not edited automatically', {
      where: { file },
      hint: `Set ${key} = ${tomlString(value)} in the table [${tableName(table)}] by hand.`,
    });
  }
  return edited;
}

/** The name of a table as its header has it. */
export function tableName(path: readonly string[]): string {
  return path.map((part) => (/^[A-Za-z0-9_-]+$/.test(part) ? part : tomlString(part))).join('.');
}

/** A line that starts outside of any value. */
interface TopLine {
  readonly text: string;
  /** Path of the table that it opens. */
  readonly header?: readonly string[];
  /** Whether it begins inside a value of several lines. */
  readonly isInside: boolean;
}

/** The lines of a text, with their ends; those that open a table are marked. */
export function topLevelLines(text: string): readonly TopLine[] {
  let state: ScanState = { string: '', depth: 0 };
  return text.split(/(?<=\n)/).map((line) => {
    const isInside = state.string !== '' || state.depth > 0;
    const header = isInside ? undefined : headerOf(line);
    if (header === undefined) state = scan(line, state);
    return { text: line, isInside, ...(header === undefined ? {} : { header }) };
  });
}

interface ScanState {
  /** The delimiter of the string that is open. */
  readonly string: string;
  /** Brackets and braces that are open. */
  readonly depth: number;
}

const DELIMITERS = ['"""', "'''", '"', "'"];

function scan(line: string, { string, depth }: ScanState): ScanState {
  for (let at = 0; at < line.length; at++) {
    if (string !== '') {
      if (string.startsWith('"') && line[at] === '\\') at++;
      else if (line.startsWith(string, at)) {
        at += string.length - 1;
        string = '';
      }
      continue;
    }
    const opened = DELIMITERS.find((delimiter) => line.startsWith(delimiter, at));
    if (line[at] === '#') break;
    if (opened !== undefined) {
      string = opened;
      at += opened.length - 1;
    } else if (line[at] === '[' || line[at] === '{') depth++;
    else if (line[at] === ']' || line[at] === '}') depth--;
  }
  return { string: string.length === 1 ? '' : string, depth: Math.max(0, depth) };
}

function headerOf(line: string): readonly string[] | undefined {
  if (!/^\s*\[/.test(line)) return undefined;
  const parsed = safeParse(line);
  if (parsed === undefined) return undefined;
  const path: string[] = [];
  let value: unknown = parsed;
  for (;;) {
    if (Array.isArray(value)) value = value[0];
    if (!isRecord(value)) return undefined;
    const [key, ...more] = Object.keys(value);
    if (key === undefined || more.length > 0) return path;
    path.push(key);
    value = value[key];
  }
}

function inTable(
  lines: readonly TopLine[],
  at: number,
  { key, value }: { readonly key: string; readonly value: string },
): string {
  const header = lines[at]!;
  const next = lines.findIndex((line, index) => index > at && line.header !== undefined);
  const end = next < 0 ? lines.length : next;
  const assignment = `${key} = ${tomlString(value)}`;
  const old = lines.findIndex(
    ({ text, isInside }, index) =>
      index > at && index < end && !isInside && new RegExp(`^\\s*["']?${key}["']?\\s*=`).test(text),
  );
  const whole = (from: number, to: number) =>
    lines
      .slice(from, to)
      .map(({ text }) => text)
      .join('');
  if (old >= 0) {
    const line = lines[old]!.text;
    const indent = /^\s*/.exec(line)![0];
    const block = ownBlock([`${indent}${assignment}`], [line.replace(/\n$/, '')]);
    return whole(0, old) + block + whole(old + 1, lines.length);
  }
  const indent = `${/^\s*/.exec(header.text)![0]}  `;
  return `${terminated(whole(0, at + 1))}${ownBlock([`${indent}${assignment}`])}${whole(at + 1, lines.length)}`;
}

function appendTable(text: string, table: readonly string[], assignment: string): string {
  return `${terminated(text)}${ownBlock([`[${tableName(table)}]`, `  ${assignment}`])}`;
}

function terminated(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

function safeParse(text: string): Record<string, unknown> | undefined {
  try {
    return parse(text, { integersAsBigInt: 'asNeeded' });
  } catch {
    // Callers treat text that is no TOML as what it is not.
    return undefined;
  }
}

/** Whether one document is the other with one value set. */
function changesOnly(
  before: Record<string, unknown>,
  after: Record<string, unknown> | undefined,
  path: readonly string[],
  value: string,
): boolean {
  if (after === undefined) return false;
  const expected = structuredClone(before);
  let table: Record<string, unknown> = expected;
  for (const key of path.slice(0, -1)) {
    const inner = isRecord(table[key]) ? table[key] : {};
    table[key] = inner;
    table = inner;
  }
  table[path.at(-1)!] = value;
  return isDeepStrictEqual(normal(after), normal(expected));
}

/** smol-toml's dates and tables as plain values. */
function normal(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? `${inner}n` : inner)));
}
