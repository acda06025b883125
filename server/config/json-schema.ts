/** The configuration's schema as JSON Schema: for editors, for the chart, for documentation, and to look keys up in. */
import { z } from 'zod';
import { CONFIG_SCHEMA } from './schema.ts';

/** The part of JSON Schema that the configuration needs. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly anyOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: boolean;
}

/** The schema of the file. */
export function configSchema(): JsonSchema {
  return jsonSchemaOf(CONFIG_SCHEMA);
}

/** A schema as JSON Schema, for what is written in a file. */
export function jsonSchemaOf(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
}

/** values.schema.json: what a chart checks its values with. The file is the value `config`. */
export function valuesSchema(): JsonSchema {
  const { $schema, ...config } = configSchema();
  return {
    ...($schema === undefined ? {} : { $schema }),
    type: 'object',
    properties: { config: { ...config, description: 'The configuration of all roles (docs/configuration.md)' } },
  };
}

/** The schema at a path of keys and indexes; undefined where the schema has none. */
export function schemaAt(root: JsonSchema, at: readonly PropertyKey[]): JsonSchema | undefined {
  let schema: JsonSchema | undefined = root;
  for (const key of at) schema = typeof key === 'number' ? schema?.items : schema?.properties?.[String(key)];
  return schema;
}

/** The sections that have a key of this name, by their path, at most three. */
export function sectionsOf(root: JsonSchema, key: string, path = ''): readonly string[] {
  const found = Object.entries(root.properties ?? {}).flatMap(([name, schema]): readonly string[] => {
    const below = `${path === '' ? '' : `${path}.`}${name}`;
    const part = schema.items ?? schema;
    const here = part.properties !== undefined && Object.hasOwn(part.properties, key) ? [below] : [];
    return [...here, ...sectionsOf(part, key, below)];
  });
  return found.slice(0, 3);
}
