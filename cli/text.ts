/**
 * Text that came from outside (names in a tar, a registry's words) made fit to print: a terminal must never obey it, a
 * log must never gain a line from it.
 */

/** Encoding of a text: `text` is characters, `bytes` is one byte a character, as names of a tar are. */
export type TextKind = 'text' | 'bytes';

/**
 * C0 and C1 controls and DEL, the line and paragraph separators, and the marks that reorder or hide the text around
 * them (CVE-2021-42574): everything that can make a terminal show something other than the text.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;
const HIGH_BYTE = /[\u0080-\u00ff]/g;

/**
 * `text` on one line and harmless: control characters as `\xNN`, bidirectional and invisible marks as `\u{N}`. A
 * backslash stays as it is, the result is for people, not for parsing. With `bytes` a text that is UTF-8 is shown as
 * such, and every byte above 0x7f of one that is not becomes `\xNN`.
 */
export function printable(text: string, kind: TextKind = 'text'): string {
  const known = kind === 'bytes' ? decodeBytes(text) : text;
  return replaceUnprintable(known, escapeOne);
}

/** `text` with every character that can make a terminal show something else than what is there as `replacement` has it. */
export function replaceUnprintable(text: string, replacement: (char: string) => string): string {
  return text.replace(UNPRINTABLE, replacement);
}

/** The same for a text of several lines, such as a registry's answer: line breaks stay, the rest is escaped. */
export function printableLines(text: string): string[] {
  return text
    .trimEnd()
    .split(/\r?\n/)
    .map((line) => printable(line));
}

/** `text` cut to at most `width` characters, the last of which is then `…`. */
export function ellipsis(text: string, width: number): string {
  if (text.length <= width) return text;
  return width < 1 ? '' : `${text.slice(0, width - 1)}…`;
}

/** `sha256:0123456789abcdef…` as its first `digits` hexadecimal digits: enough to distinguish layers on a screen. */
export function shortDigest(digest: string, digits = 12): string {
  const hex = digest.slice(digest.indexOf(':') + 1);
  return printable(hex.slice(0, digits));
}

function decodeBytes(text: string): string {
  // A character above 0xff shows that this was no byte string; it is left alone rather than garbled.
  for (const char of text) if (char.codePointAt(0)! > 0xff) return text;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(text, 'latin1'));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return text.replace(HIGH_BYTE, (byte) => `\\x${hex(byte)}`);
  }
}

function escapeOne(char: string): string {
  return char.charCodeAt(0) <= 0xff ? `\\x${hex(char)}` : `\\u{${hex(char)}}`;
}

function hex(char: string): string {
  return char.codePointAt(0)!.toString(16).padStart(2, '0');
}
