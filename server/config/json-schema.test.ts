import { describe, expect, it } from 'vitest';
import { configSchema, type JsonSchema, schemaAt, valuesSchema } from './json-schema.ts';
import { CONFIG_SCHEMA } from './schema.ts';

function everyKey(schema: JsonSchema, path: string): [path: string, schema: JsonSchema][] {
  const inner = schema.items ?? schema;
  return Object.entries(inner.properties ?? {}).flatMap(([name, part]) => [
    [`${path}${name}`, part] as [string, JsonSchema],
    ...everyKey(part, `${path}${name}.`),
  ]);
}

describe('the schema as JSON Schema', () => {
  const keys = everyKey(configSchema(), '');

  it.each(keys)('%s has a description', (_, schema) => expect(schema.description).toMatch(/^\S.*[^.]$/));

  it('refuses unknown keys at every level, as the check does', () => {
    const open = keys.filter(([, part]) => (part.items ?? part).properties !== undefined);
    expect(open.length).toBeGreaterThan(5);
    for (const [path, part] of open) expect((part.items ?? part).additionalProperties, path).toBe(false);
    expect(configSchema().additionalProperties).toBe(false);
  });

  it('patterns have no flag, which JSON Schema would lose', () => {
    for (const [path, part] of keys) {
      const { pattern } = part as { pattern?: string };
      if (pattern !== undefined) expect(new RegExp(pattern).source, path).toBe(pattern);
    }
    expect(CONFIG_SCHEMA.safeParse({ registries: [{ host: 'Registry.Example.COM:5000' }] }).success).toBe(true);
    const { pattern } = schemaAt(configSchema(), ['registries', 0, 'host']) as { pattern?: string };
    expect(new RegExp(pattern!).test('Registry.Example.COM:5000')).toBe(true);
  });

  it('every default passes its own check', () => {
    const defaults = CONFIG_SCHEMA.parse({});
    expect(CONFIG_SCHEMA.parse(defaults)).toEqual(defaults);
  });

  it('the values of a chart hold the file under one key', () => {
    expect(valuesSchema().properties?.config?.properties).toEqual(configSchema().properties);
  });

  it.each([
    [[], true],
    [['rules', 3, 'tags', 'exclude'], true],
    [['rules', 'tags'], false],
    [['nothing'], false],
    [['nothing', 'below', 1], false],
  ] as [PropertyKey[], boolean][])('schemaAt(%j)', (path, found) => {
    expect(schemaAt(configSchema(), path) !== undefined).toBe(found);
  });
});
