/** Judges documents by the schemas of docs/schemas, with a JSON Schema library. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { isRecord } from '../../base/is-record.ts';

/** Folder of the schemas. */
export const SCHEMAS = join(import.meta.dirname, '../../docs/schemas');

/** A reader may ignore fields that it does not know; here one that no schema lists is a mistake. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (!isRecord(schema)) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, strict(value)]));
  const isObject = inner.type === 'object' && inner.additionalProperties === undefined;
  return isObject ? { ...inner, additionalProperties: false } : inner;
}

function schemaOf(name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(SCHEMAS, `${name}.json`), 'utf8')) as Record<string, unknown>;
}

/** The complaints of a schema about a document; the empty list if it is valid. */
export function complaints(name: string, document: unknown): string[] {
  const ajv = new Ajv2020({ allErrors: true, strict: false });
  const validate = ajv.compile(strict(schemaOf(name)) as object);
  validate(document);
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
  );
}
