/** The rules of a file, for `--rules`: the section `rules` of a configuration of `accel serve`, in YAML, of which JSON is a part. */
import type { Document, Node } from 'yaml';
import { AccelError, withPlace } from '../../base/error.ts';
import { compileRules, type RuleSet } from '../../triggers/rules/match-rule.ts';
import { readRules } from '../../triggers/rules/read-rules.ts';
import { ruleSources } from '../../triggers/rules/rule-entries.ts';
import { readBytes } from '../prefetch-flags.ts';
import { type OpenedYaml, openYaml, type YamlParser } from '../settings/open-yaml.ts';

/** Bytes of a file that are read, as by `accel serve`. */
const MAX_BYTES = 1024 * 1024;

/** Reads and compiles the rules; `-` is standard input. Throws `usage` for what cannot be used, with its key, line and column. */
export async function loadRuleFile(file: string, stdin: AsyncIterable<Uint8Array | string>): Promise<RuleSet> {
  const [bytes, { YAML }] = await Promise.all([readBytes(file, stdin, MAX_BYTES), import('../settings/yaml.ts')]);
  const name = file === '-' ? 'standard input' : file;
  const opened = openYaml(Buffer.from(bytes).toString('utf8'), name, YAML);
  try {
    return compileRules(await ruleSources(readRules(contentOf(opened, name), name)));
  } catch (error) {
    throw error instanceof AccelError ? located(error, opened, YAML) : error;
  }
}

function contentOf({ document, placeAt }: OpenedYaml, name: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    // Aliases without an anchor, or so many that they would blow up.
    throw new AccelError('usage', `${name} is not valid YAML: ${(cause as Error).message}`, {
      where: { ...placeAt(document.contents?.range?.[0] ?? 0) },
      cause,
    });
  }
}

/** The error with the line and the column of what it is about. */
function located(error: AccelError, { document, placeAt }: OpenedYaml, yaml: YamlParser): AccelError {
  const path = pathOf(error);
  if (path === undefined) return error;
  return withPlace(error, { ...placeAt(offsetOf(document, path, yaml)) });
}

/** `rules[0].tags.include` of the reader, or the number of a rule and its key of what comes after it. */
function pathOf({ where: { rule, key } }: AccelError): readonly (string | number)[] | undefined {
  if (typeof rule === 'number') return ['rules', rule - 1, ...partsOf(key)];
  const [, index, rest] = /^rules(?:\[(\d+)\](?:\.(.*))?)?$/s.exec(String(key ?? '')) ?? [];
  return index === undefined ? (key === 'rules' ? ['rules'] : undefined) : ['rules', Number(index), ...partsOf(rest)];
}

/** The parts of a key. Only `tags` has keys below it: a dot of another key, which is unknown, is its own. */
function partsOf(key: unknown): readonly string[] {
  if (typeof key !== 'string') return [];
  return key.startsWith('tags.') ? ['tags', key.slice('tags.'.length)] : [key];
}

/** Where the node at a path, or the nearest above it, begins. */
function offsetOf(document: Document, path: readonly (string | number)[], { isMap, isScalar }: YamlParser): number {
  const rangeOf = (node: unknown): number | undefined => (node as Node | null | undefined)?.range?.[0];
  for (let length = path.length; length > 0; length--) {
    const above = document.getIn(path.slice(0, length - 1), true);
    const pair = isMap(above)
      ? above.items.find(({ key }) => isScalar(key) && key.value === path[length - 1])
      : undefined;
    const offset = pair === undefined ? rangeOf(document.getIn(path.slice(0, length), true)) : rangeOf(pair.key);
    if (offset !== undefined) return offset;
  }
  return document.contents?.range?.[0] ?? 0;
}
