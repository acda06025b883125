/**
 * Changes values of a JSON file in place: order, comments, numbers, indentation and line ends of the rest stay as they are. Each
 * change is recorded, so that it can be taken back from a text that was edited since.
 */
import { findNodeAtLocation, getNodeValue, type JSONPath, type ParseError, parseTree } from 'jsonc-parser';
import { AccelError } from '../../../base/error.ts';
import { withFirst, withKey, withoutNode } from './json-edit.ts';

/** A value to set, or a text to put first in a list of texts. */
export type JsonChange =
  | { readonly path: readonly string[]; readonly value: boolean | string | number }
  | { readonly path: readonly string[]; readonly first: string };

/** A change that was made. */
export interface MadeJsonChange {
  readonly path: readonly string[];
  /** The value that was set, or the text that was put first; as JSON. */
  readonly ours: string;
  readonly isFirst: boolean;
  /** The text of the value before; absent where the key was missing. */
  readonly before?: string;
  /** Length of the path of the outermost value that the change made. */
  readonly made?: number;
}

/** Makes changes. `name` is the file in errors. Fails with `io-error` for a text that is no JSON object. */
export function changeJson(
  text: string,
  changes: readonly JsonChange[],
  name: string,
): { readonly text: string; readonly made: readonly MadeJsonChange[] } {
  const made: MadeJsonChange[] = [];
  let changed = text;
  for (const change of changes) {
    const root = rootOf(changed, name);
    const node = findNodeAtLocation(root, [...change.path]);
    const ours = JSON.stringify('first' in change ? change.first : change.value);
    const isFirst = 'first' in change;
    const before = node === undefined ? undefined : changed.slice(node.offset, node.offset + node.length);
    if (isFirst && node !== undefined && node.type !== 'array') throw notWhat(name, change.path, 'a list');
    if (isFirst ? node?.children?.[0]?.value === change.first : node !== undefined && node.value === change.value)
      continue;
    const record = { path: change.path, ours, isFirst };
    if (before === undefined) {
      const length = change.path.findIndex(
        (_, at) => findNodeAtLocation(root, change.path.slice(0, at + 1)) === undefined,
      );
      changed = set(changed, [...change.path], isFirst ? [change.first] : change.value);
      made.push({ ...record, made: length + 1 });
    } else {
      changed = isFirst
        ? withFirst(changed, node!, change.first)
        : changed.slice(0, node!.offset) + ours + changed.slice(node!.offset + node!.length);
      made.push({ ...record, before });
    }
    rootOf(changed, name);
  }
  return { text: changed, made };
}

/** Takes changes back, the last one first; a value that someone has changed since stays. */
export function revertJson(text: string, made: readonly MadeJsonChange[], name: string): string {
  return [...made].reverse().reduce((current, { path, ours, isFirst, before, made: length }) => {
    const root = rootOf(current, name);
    const node = findNodeAtLocation(root, [...path]);
    if (node === undefined) return current;
    if (isFirst) {
      const at = node.children?.findIndex(({ value }) => JSON.stringify(value) === ours) ?? -1;
      if (at < 0) return current;
      return node.children!.length === 1 && length !== undefined
        ? set(current, path.slice(0, length), undefined)
        : set(current, [...path, at], undefined);
    }
    if (current.slice(node.offset, node.offset + node.length) !== ours) return current;
    if (before !== undefined) return current.slice(0, node.offset) + before + current.slice(node.offset + node.length);
    const without = set(current, [...path], undefined);
    // The object that was made for it goes when nothing else is in it.
    const above = path.slice(0, -1);
    if (length === undefined || length > above.length) return without;
    const rest = findNodeAtLocation(rootOf(without, name), above);
    return rest?.children?.length === 0 ? set(without, above, undefined) : without;
  }, text);
}

/** The value at a path; undefined where the key is missing. Fails with `io-error` for a text that is no JSON object. */
export function jsonValue(text: string, path: readonly string[], name: string): unknown {
  const node = findNodeAtLocation(rootOf(text, name), [...path]);
  return node && getNodeValue(node);
}

/** Takes a key out; the rest of the text stays as it is. Fails with `io-error` for a text that is no JSON object. */
export function withoutJsonKey(text: string, path: readonly string[], name: string): string {
  return findNodeAtLocation(rootOf(text, name), [...path]) === undefined ? text : set(text, [...path], undefined);
}

function rootOf(text: string, name: string) {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true, disallowComments: false });
  const [error] = errors;
  if (root?.type === 'object' && error === undefined) return root;
  throw new AccelError('io-error', 'the file is not a JSON object', {
    where: { file: name, ...(error === undefined ? {} : { offset: error.offset }) },
    hint: 'Mend the file; it is left as it is.',
  });
}

/** Sets a key that is missing, with the objects that it is in; undefined takes a key or an element out. */
function set(text: string, path: JSONPath, value: unknown): string {
  const root = parseTree(text, [], { allowTrailingComma: true, disallowComments: false })!;
  if (value === undefined) {
    const node = findNodeAtLocation(root, path)!;
    return withoutNode(text, node.parent?.type === 'property' ? node.parent : node);
  }
  const depth = path.findIndex((_, at) => findNodeAtLocation(root, path.slice(0, at + 1)) === undefined);
  const inner = path.slice(depth + 1).reduceRight<unknown>((held, key) => ({ [key]: held }), value);
  return withKey(text, findNodeAtLocation(root, path.slice(0, depth))!, String(path[depth]), inner);
}

function notWhat(name: string, path: readonly string[], expected: string): AccelError {
  return new AccelError('io-error', 'a value has another type than expected', {
    where: { file: name, key: path.join('.') },
    expected,
    hint: 'Mend the file; it is left as it is.',
  });
}
