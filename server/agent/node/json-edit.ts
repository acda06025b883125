/**
 * Puts values into JSON text and takes them out: bytes are added or removed, and nothing else changes. Comments, spaces, numbers
 * and trailing commas of others stay where they are.
 */
import type { Node } from 'jsonc-parser';

/** Adds a key to an object, behind its last one, in the style of the text. */
export function withKey(text: string, object: Node, key: string, value: unknown): string {
  const { offset, length, children = [] } = object;
  const close = offset + length - 1;
  const last = children.at(-1);
  const style = styleOf(text);
  const isFlat = style.isFlat || (last !== undefined && !lineBefore(text, last.offset).isBlank);
  const inner = last === undefined ? indentAt(text, offset) + style.unit : indentAt(text, last.offset);
  const property = `${JSON.stringify(key)}:${style.space}${written(value, isFlat ? undefined : { ...style, inner })}`;
  if (last === undefined) {
    const inside = text.slice(offset + 1, close).trimEnd();
    const added = isFlat ? property : `${style.eol}${inner}${property}${style.eol}${indentAt(text, offset)}`;
    return text.slice(0, offset + 1) + inside + added + text.slice(close);
  }
  const end = last.offset + last.length;
  const comma = commaAt(text, end, close);
  const head = comma === undefined ? `${text.slice(0, end)},` : text.slice(0, comma + 1);
  const tail = text.slice(comma === undefined ? end : comma + 1);
  // Where the last value has a comma, ours has one: taking it out leaves the other.
  const own = comma === undefined ? property : `${property},`;
  if (isFlat) return `${head}${style.gap}${own}${tail}`;
  // A comment behind the last value stays on its line.
  const comment = /^[^\S\n]*(?:\/\/[^\n]*?|\/\*[^\n]*?\*\/[^\S\n]*)?(?=\r?\n)/.exec(tail)?.[0] ?? '';
  return `${head}${comment}${style.eol}${inner}${own}${tail.slice(comment.length)}`;
}

/** Puts a text first in a list. */
export function withFirst(text: string, list: Node, value: string): string {
  const [first] = list.children ?? [];
  const own = JSON.stringify(value);
  if (first === undefined) return text.slice(0, list.offset + 1) + own + text.slice(list.offset + 1);
  const { isBlank, start } = lineBefore(text, first.offset);
  const gap = isBlank ? styleOf(text).eol + text.slice(start, first.offset) : ' ';
  return `${text.slice(0, first.offset)}${own},${gap}${text.slice(first.offset)}`;
}

/** Takes a property or an element out of what it is in. */
export function withoutNode(text: string, node: Node): string {
  const siblings = node.parent?.children ?? [];
  const at = siblings.indexOf(node);
  const [before, next] = [siblings[at - 1], siblings[at + 1]];
  const end = node.offset + node.length;
  const limit = next?.offset ?? node.parent!.offset + node.parent!.length;
  const after = commaAt(text, end, limit);
  const { isBlank, start } = lineBefore(text, node.offset);
  if (after !== undefined) {
    // With its own comma, and with its line where nothing else is on it.
    const rest = /^[^\S\n]*(?:\r?\n)?/.exec(text.slice(after + 1))![0];
    if (isBlank && rest.endsWith('\n')) return text.slice(0, start) + text.slice(after + 1 + rest.length);
    return text.slice(0, node.offset) + text.slice(after + 1).replace(/^[^\S\n]+/, '');
  }
  const comma = before && commaAt(text, before.offset + before.length, node.offset);
  const head =
    comma === undefined ? text.slice(0, node.offset) : text.slice(0, comma) + text.slice(comma + 1, node.offset);
  const isAlone = isBlank && /^[^\S\n]*\r?\n/.test(text.slice(end));
  if (isAlone && siblings.length === 1 && /[[{]$/.test(head.trimEnd()) && /^\s*[}\]]/.test(text.slice(end)))
    return head.trimEnd() + text.slice(end).trimStart();
  // The rest of a line may go up, unless a comment there would swallow it.
  const mayGoUp = isAlone || (isBlank && before !== undefined && !/\/\/[^\n]*\n[^\S\n]*$/.test(head));
  if (mayGoUp) return head.replace(/\r?\n[^\S\n]*$/, '') + text.slice(end);
  return head.replace(/[^\S\n]+$/, (spaces) => (before === undefined ? spaces : '')) + text.slice(end);
}

interface Style {
  readonly eol: string;
  /** One step of indentation. */
  readonly unit: string;
  /** The whole text is one line. */
  readonly isFlat: boolean;
  /** Between a key and its value, and behind a comma in one line. */
  readonly space: string;
  readonly gap: string;
}

function styleOf(text: string): Style {
  const isFlat = !text.trim().includes('\n') && text.trim() !== '{}';
  return {
    eol: text.includes('\r\n') ? '\r\n' : '\n',
    unit: /^[{[]?[^\S\n]*\r?\n([ \t]+)/m.exec(text)?.[1] ?? '  ',
    isFlat,
    space: isFlat && !/":\s/.test(text) ? '' : ' ',
    gap: isFlat && !/,\s/.test(text) ? '' : ' ',
  };
}

function written(value: unknown, lines: (Style & { readonly inner: string }) | undefined): string {
  if (lines === undefined) return JSON.stringify(value);
  return JSON.stringify(value, undefined, lines.unit).replaceAll('\n', lines.eol + lines.inner);
}

function lineBefore(text: string, offset: number): { readonly start: number; readonly isBlank: boolean } {
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  return { start, isBlank: start > 0 && text.slice(start, offset).trim() === '' };
}

function indentAt(text: string, offset: number): string {
  return /^[^\S\n]*/.exec(text.slice(text.lastIndexOf('\n', offset - 1) + 1))![0];
}

/** Where the comma is between two values, or behind the last one; undefined where only comments and spaces are before `to`. */
function commaAt(text: string, from: number, to: number): number | undefined {
  const before = /^(?:\s|\/\/[^\n]*\n|\/\*[\s\S]*?\*\/)*(?=,)/.exec(text.slice(from, to));
  return before === null ? undefined : from + before[0].length;
}
