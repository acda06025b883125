/**
 * Keeps secrets out of everything that is printed. A server may echo a password in any place and any spelling, and the
 * error that quotes it is built far from where the password is known: so the process remembers the secrets that it
 * used, and text is searched for them when an error is made and again when it is printed.
 */

/** Most secrets that are remembered; past it the oldest are forgotten. Tokens expire long before. */
const MAX_SECRETS = 1000;

/** Below this length a secret is replaced only where it is a word of its own: elsewhere it would garble the text. */
const LEAST_LENGTH = 4;

/** Base64 of fewer characters could be part of any word. */
const LEAST_BASE64 = 6;

/** Encodings inside encodings that are undone. */
const MAX_LAYERS = 4;

const REPLACEMENT = '***';

/** The spellings of one secret, as lower-case strings of one byte a character. */
interface Spellings {
  /** The bytes themselves; `word` where they count only between characters that are no part of a word. */
  readonly plain: readonly string[];
  readonly word: boolean;
  /** Base64 characters that depend on the secret alone, at each of its three alignments in a longer text. */
  readonly base64: readonly string[];
}

const known = new Map<string, Spellings>();

/** Remembers a secret: from now on {@link redact} takes it out of every text. */
export function hideSecret(secret: string): void {
  const length = secret.trim().length;
  if (length < 2) return;
  const spellings = known.get(secret) ?? spellingsOf(secret);
  // Last again: what is in use is not forgotten.
  known.delete(secret);
  known.set(secret, spellings);
  if (known.size > MAX_SECRETS) known.delete(known.keys().next().value!);
}

/**
 * The text with every known secret replaced: as it is, in another case (hosts and schemes of URLs are lower-case), in
 * base64, hexadecimal, percent-encoding, JSON and HTML escapes, and in any mixture of them.
 */
export function redact(text: string): string {
  if (known.size === 0 || text.length < 2) return text;
  const spans: Span[] = [];
  let layer: Layer | undefined = bytesOf(text);
  for (let depth = 0; layer !== undefined && depth < MAX_LAYERS; depth += 1) {
    for (const spellings of known.values()) search(layer, spellings, spans);
    layer = decoded(layer);
  }
  return spans.length === 0 ? text : without(text, spans);
}

function spellingsOf(secret: string): Spellings {
  const bytes = latin(secret);
  const short = secret.length < LEAST_LENGTH;
  // Whitespace is collapsed and trimmed where text is shown on one line; forms write a space as a plus.
  const plain = new Set([bytes, latin(secret.trim()), latin(secret.replace(/\s+/g, ' ').trim())]);
  plain.add(latin(secret.toLowerCase()));
  // Where a URL's parser escapes the rest, a percent sign of the secret itself stays as it is.
  for (let layer = decoded(bytesOf(secret)); layer !== undefined; layer = decoded(layer)) {
    if (layer.bytes.length >= LEAST_LENGTH) plain.add(layer.bytes);
  }
  if (secret.includes(' ')) plain.add(latin(secret.replaceAll(' ', '+')));
  if (!short) {
    plain.add(Buffer.from(secret, 'utf8').toString('hex'));
    // A server that takes the header for Latin-1 echoes each byte as a character of its own.
    plain.add(latin(bytes));
  }
  return { plain: [...plain].map(lower), word: short, base64: short ? [] : base64Cores(secret).map(lower) };
}

/** The part of the base64 of `…secret…` that does not depend on the text around it, in both alphabets. */
function base64Cores(secret: string): string[] {
  const bytes = Buffer.from(secret, 'utf8');
  const cores = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const first = Math.ceil((shift * 8) / 6);
    const end = Math.floor(((shift + bytes.length) * 8) / 6);
    return text.slice(first, end);
  });
  const url = cores.map((core) => core.replaceAll('+', '-').replaceAll('/', '_'));
  return [...new Set([...cores, ...url])].filter((core) => core.length >= LEAST_BASE64);
}

/** Part of a text, from `start` (inclusive) to `end` (exclusive). */
type Span = readonly [start: number, end: number];

/** Bytes in lower case, one a character, and for each the part of the text that it comes from. */
interface Layer {
  readonly bytes: string;
  readonly spans: readonly Span[];
}

function bytesOf(text: string): Layer {
  let bytes = '';
  const spans: Span[] = [];
  let at = 0;
  for (const char of text) {
    const encoded = latin(char);
    bytes += encoded;
    for (let index = 0; index < encoded.length; index += 1) spans.push([at, at + char.length]);
    at += char.length;
  }
  return { bytes: lower(bytes), spans };
}

/** Undoes one level of escapes; undefined if the text has no escapes. */
const ESCAPE =
  /%([0-9a-f]{2})|\\u\{([0-9a-f]{1,6})\}|\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|\\(["\\/bfnrt'])|&#x([0-9a-f]{1,6});|&#(\d{1,7});|&(amp|lt|gt|quot|apos);/g;

const CONTROL: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function decoded({ bytes, spans }: Layer): Layer | undefined {
  let result = '';
  const sources: Span[] = [];
  let from = 0;
  for (const match of bytes.matchAll(ESCAPE)) {
    result += bytes.slice(from, match.index);
    for (let index = from; index < match.index; index += 1) sources.push(spans[index]!);
    from = match.index + match[0].length;
    const value = lower(unescaped(match));
    const source: Span = [spans[match.index]![0], spans[from - 1]![1]];
    result += value;
    for (let index = 0; index < value.length; index += 1) sources.push(source);
  }
  if (from === 0) return undefined;
  result += bytes.slice(from);
  for (let index = from; index < bytes.length; index += 1) sources.push(spans[index]!);
  return { bytes: result, spans: sources };
}

/** The bytes that an escape stands for. */
function unescaped(match: RegExpMatchArray): string {
  const [, percent, braced, high, low, unit, byte, char, hexEntity, decimalEntity, entity] = match;
  if (percent !== undefined || byte !== undefined) {
    return String.fromCharCode(Number.parseInt((percent ?? byte)!, 16));
  }
  if (high !== undefined) {
    return latin(String.fromCharCode(Number.parseInt(high, 16), Number.parseInt(low!, 16)));
  }
  if (char !== undefined) return CONTROL[char] ?? char;
  if (entity !== undefined) return ENTITIES[entity]!;
  const code =
    decimalEntity === undefined ? Number.parseInt((braced ?? unit ?? hexEntity)!, 16) : Number(decimalEntity);
  return code <= 0x10ffff ? latin(String.fromCodePoint(code)) : '';
}

function search({ bytes, spans }: Layer, { plain, word, base64 }: Spellings, found: Span[]): void {
  const add = (start: number, end: number): void => {
    found.push([spans[start]![0], spans[end - 1]![1]]);
  };
  for (const needle of plain) {
    for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + needle.length)) {
      if (!word || !isWithinWord(bytes, at, at + needle.length)) add(at, at + needle.length);
    }
  }
  for (const needle of base64) {
    for (let at = bytes.indexOf(needle); at >= 0; ) {
      let end = at + needle.length;
      // The characters around it hold bits of the secret too.
      let start = at;
      while (start > 0 && isBase64(bytes, start - 1)) start -= 1;
      while (end < bytes.length && isBase64(bytes, end)) end += 1;
      add(start, end);
      at = bytes.indexOf(needle, end);
    }
  }
}

function isWithinWord(bytes: string, start: number, end: number): boolean {
  return /[a-z0-9]/.test(bytes.charAt(start - 1)) || /[a-z0-9]/.test(bytes.charAt(end));
}

function isBase64(bytes: string, index: number): boolean {
  return /[a-z0-9+/_=-]/.test(bytes.charAt(index));
}

function without(text: string, spans: readonly Span[]): string {
  const sorted = spans.toSorted((a, b) => a[0] - b[0]);
  let clean = '';
  let at = -1;
  for (const [start, end] of sorted) {
    // Parts that touch are one: their number would say something about the secret.
    if (start > at) clean += `${text.slice(Math.max(at, 0), start)}${REPLACEMENT}`;
    at = Math.max(at, end);
  }
  return clean + text.slice(at);
}

function latin(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

function lower(text: string): string {
  return text.toLowerCase();
}
