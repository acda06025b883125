/** Each field of a document in turn missing, null and of other types, and what a reader makes of that. */
import { expect } from 'vitest';
import { asAccelError } from '../../base/error.ts';
import { JsonNumber } from '../../base/exact-json.ts';

/** Any value of a document. */
export type Json = unknown;

const VALUES: readonly [name: string, value: Json][] = [
  ['missing', undefined],
  ['null', null],
  ['true', true],
  ['a_number', 7],
  ['a_large_number', new JsonNumber('12345678901234567890')],
  ['an_empty_text', ''],
  ['a_text', 'text'],
  ['an_empty_list', []],
  ['a_list_of_null', [null]],
  ['an_empty_object', {}],
  ['an_object_of_null', { a: null }],
];

/** A document with the field at a path replaced. */
function replaced(document: Json, [key, ...rest]: readonly string[], value: Json): Json {
  if (key === undefined) return value;
  const change = (inner: Json): Json => replaced(inner, rest, value);
  if (Array.isArray(document)) return document.map((item, index) => (String(index) === key ? change(item) : item));
  const record = document as Record<string, Json>;
  return { ...record, [key]: change(record[key]) };
}

/** The path of every field and list item of a document. */
function pathsOf(document: Json, path: readonly string[] = []): string[][] {
  if (typeof document !== 'object' || document === null) return [];
  return Object.entries(document).flatMap(([key, value]) => [[...path, key], ...pathsOf(value, [...path, key])]);
}

/** Codes that say what is wrong with a document or with the image that it describes. */
const PRECISE = new Set([
  'manifest-invalid',
  'layout-invalid',
  'image-unsupported',
  'layer-unsupported',
  'limit-exceeded',
  'not-found',
  'size-mismatch',
  'diff-id-mismatch',
  'already-accelerated',
  'unauthorized',
  'usage',
  'reference-invalid',
]);

/** Runs a reading of every variant of a document; answers what became of each null. */
export async function sweep(
  document: Json,
  read: (variant: Json) => Promise<unknown> | unknown,
): Promise<Map<string, string>> {
  const nulls = new Map<string, string>();
  for (const path of pathsOf(document)) {
    for (const [name, value] of VALUES) {
      const where = `${path.join('.')} ${name}`;
      let outcome = 'read';
      try {
        await read(replaced(document, path, value));
      } catch (error) {
        const known = asAccelError(error);
        expect({ where, code: known.code, precise: PRECISE.has(known.code), message: known.message }).toMatchObject({
          precise: true,
        });
        outcome = known.code;
      }
      if (name === 'null') nulls.set(path.join('.'), outcome);
    }
  }
  return nulls;
}

/** The paths at which null is refused. */
export const required = (nulls: ReadonlyMap<string, string>): string[] =>
  [...nulls].filter(([, outcome]) => outcome !== 'read').map(([path]) => path);
