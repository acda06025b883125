/**
 * JSON that is read, changed in places and passed on. A number that a double cannot hold as it is written, such as Go's
 * largest int64 or `1.0`, keeps its text: JSON.parse alone rounds it, and Node 20 does not give a reviver the source.
 */

/** A number of a document that a double would alter, by its text. */
export class JsonNumber {
  /** As the document has it, such as `9223372036854775807`. */
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

/**
 * Parses JSON as JSON.parse does, with a {@link JsonNumber} for each number whose text would be lost. Throws a
 * SyntaxError. The caller bounds the nesting of the text.
 */
export function parseJson(text: string): unknown {
  // The grammar is checked here, once, and almost every document ends here: the reader below may trust its input.
  const value: unknown = JSON.parse(text);
  return hasAlteredNumber(text) ? new SourceReader(text).value() : value;
}

/**
 * Writes JSON as JSON.stringify does, with the text of each {@link JsonNumber}; `indent` as its third argument. Keys come
 * in the order of the object.
 */
export function stringifyJson(value: unknown, indent = 0): string {
  return textOf(value, indent === 0 ? '' : ' '.repeat(indent), '\n') ?? 'null';
}

/** The value of a number without a fraction that a double holds exactly; undefined for everything else. */
export function integerOf(value: unknown): number | undefined {
  const number = value instanceof JsonNumber ? Number(value.source) : value;
  return Number.isSafeInteger(number) ? (number as number) : undefined;
}

function hasAlteredNumber(text: string): boolean {
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = stringEnd(text, at);
    else if (startsNumber(code)) {
      const end = numberEnd(text, at);
      if (isAltered(text.slice(at, end))) return true;
      at = end;
    } else at += 1;
  }
  return false;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function startsNumber(code: number): boolean {
  return code === 0x2d || (code >= 0x30 && code <= 0x39);
}

/** The index after the closing quote of a string that begins at `start`. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; ; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code === BACKSLASH) at += 1;
  }
}

function numberEnd(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && '0123456789+-.eE'.includes(text[end]!)) end += 1;
  return end;
}

function isAltered(source: string): boolean {
  return String(Number(source)) !== source;
}

/** Reads valid JSON, one value after another. */
class SourceReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): unknown {
    const first = this.#peek();
    if (first === '{') return this.#object();
    if (first === '[') return this.#list();
    if (first === '"') return this.#string();
    if (startsNumber(first.charCodeAt(0))) return this.#number();
    const word = ['true', 'false', 'null'].find((candidate) => candidate.startsWith(first)) ?? '';
    this.#at += word.length;
    return JSON.parse(word);
  }

  #object(): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    this.#at += 1;
    while (this.#peek() !== '}') {
      if (entries.length > 0) this.#at += 1;
      this.#peek();
      const key = this.#string();
      this.#peek();
      this.#at += 1;
      entries.push([key, this.value()]);
    }
    this.#at += 1;
    // As JSON.parse: `__proto__` is a key like any other, and the last of equal keys counts.
    return Object.fromEntries(entries);
  }

  #list(): unknown[] {
    const items: unknown[] = [];
    this.#at += 1;
    while (this.#peek() !== ']') {
      if (items.length > 0) this.#at += 1;
      items.push(this.value());
    }
    this.#at += 1;
    return items;
  }

  #string(): string {
    const end = stringEnd(this.#text, this.#at);
    const text = JSON.parse(this.#text.slice(this.#at, end)) as string;
    this.#at = end;
    return text;
  }

  #number(): number | JsonNumber {
    const end = numberEnd(this.#text, this.#at);
    const source = this.#text.slice(this.#at, end);
    this.#at = end;
    return isAltered(source) ? new JsonNumber(source) : Number(source);
  }

  /** The next character that is no white space. */
  #peek(): string {
    while (' \t\r\n'.includes(this.#text[this.#at]!)) this.#at += 1;
    return this.#text[this.#at]!;
  }
}

/** The text of a value; undefined for what JSON has no form for. `line` is a line break and the indent so far. */
function textOf(value: unknown, indent: string, line: string): string | undefined {
  if (value instanceof JsonNumber) return value.source;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = line + indent;
  if (Array.isArray(value)) {
    return enclosed(
      '[]',
      value.map((item) => textOf(item, indent, inner) ?? 'null'),
      indent,
      line,
    );
  }
  const colon = indent === '' ? ':' : ': ';
  const members = Object.entries(value).flatMap(([key, item]) => {
    const text = textOf(item, indent, inner);
    return text === undefined ? [] : [`${JSON.stringify(key)}${colon}${text}`];
  });
  return enclosed('{}', members, indent, line);
}

function enclosed([open, close]: string, items: readonly string[], indent: string, line: string): string {
  if (items.length === 0 || indent === '') return `${open}${items.join(',')}${close}`;
  return `${open}${line}${indent}${items.join(`,${line}${indent}`)}${line}${close}`;
}
