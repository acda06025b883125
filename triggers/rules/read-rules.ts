/**
 * Reads the section `rules` of a parsed configuration without the schema of the service, which is in another package. A
 * test compares both: they accept the same entries, and understand them alike.
 */
import { AccelError } from '../../base/error.ts';
import { isRecord } from '../../base/is-record.ts';
import { nearest } from '../../base/nearest.ts';
import type { RuleEntry } from './rule-entries.ts';

/** Checks a value; returns what it must be where it is not. */
type Check = (value: unknown) => string | undefined;

const text: Check = (value) => (typeof value === 'string' && value !== '' ? undefined : 'a text that is not empty');
const texts: Check = (value) =>
  Array.isArray(value) && value.every((one) => text(one) === undefined) ? undefined : 'a list of texts';
const patterns: Check = (value) =>
  texts(value) === undefined && (value as unknown[]).length > 0 ? undefined : 'a list of at least one pattern';
const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value as string) ? undefined : `one of ${words.join(', ')}`;
const blockSize: Check = (value) => {
  const isNumber = Number.isInteger(value) && (value as number) >= 4096 && (value as number) <= 65_536;
  const isText = typeof value === 'string' && /^(4|8|16|32|64)Ki?$/.test(value);
  return isNumber || isText ? undefined : 'a power of two from 4Ki to 64Ki';
};
const level: Check = (value) =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 22 ? undefined : 'a number from 1 to 22';

/** The keys of a rule. */
const KEYS: Readonly<Record<string, Check>> = {
  repositories: patterns,
  excludeRepositories: patterns,
  tags: () => undefined,
  mode: oneOf('full', 'index-only'),
  platforms: texts,
  prefetch: texts,
  prefetchFile: text,
  targetRepository: text,
  verify: oneOf('off', 'quick', 'full'),
  algorithm: oneOf('lz4', 'zstd'),
  level,
  blockSize,
  layout: oneOf('source', 'startup'),
};
const TAG_KEYS: Readonly<Record<string, Check>> = { include: patterns, exclude: patterns };

/**
 * The entries of the section, with their defaults; other sections of the configuration are the service's. Throws `usage`
 * for the first thing that is wrong, with its key. `file` is the name in errors.
 */
export function readRules(configuration: unknown, file: string): RuleEntry[] {
  const { rules } = isRecord(configuration) ? configuration : { rules: undefined };
  if (!Array.isArray(rules) || rules.length === 0) {
    throw wrong(file, 'rules', { expected: 'a list of rules', found: kindOf(rules) });
  }
  return rules.map((rule: unknown, index) => readRule(rule, `rules[${index}]`, file));
}

function readRule(rule: unknown, key: string, file: string): RuleEntry {
  checkKeys(rule, KEYS, { key, file });
  if (rule.repositories === undefined)
    throw wrong(file, `${key}.repositories`, { expected: KEYS.repositories!(undefined)!, found: 'nothing' });
  const { tags = {} } = rule;
  checkKeys(tags, TAG_KEYS, { key: `${key}.tags`, file });
  const { mode = 'full', verify = 'off' } = rule;
  return { ...rule, mode, verify, tags } as unknown as RuleEntry;
}

function checkKeys(
  value: unknown,
  keys: Readonly<Record<string, Check>>,
  { key, file }: { readonly key: string; readonly file: string },
): asserts value is Record<string, unknown> {
  if (!isRecord(value)) throw wrong(file, key, { expected: 'a section of keys', found: kindOf(value) });
  for (const [name, entry] of Object.entries(value)) {
    const check = Object.hasOwn(keys, name) ? keys[name] : undefined;
    if (check === undefined) {
      const known = Object.keys(keys);
      const meant = nearest(name, known);
      throw wrong(file, `${key}.${name}`, {
        expected: `one of ${known.join(', ')}`,
        found: name,
        ...(meant === undefined ? {} : { hint: `Did you mean ${meant}?` }),
      });
    }
    const expected = check(entry);
    if (expected === undefined) continue;
    const isNumbered = Array.isArray(entry) && entry.some((one) => typeof one === 'number');
    throw wrong(file, `${key}.${name}`, {
      expected,
      found: kindOf(entry),
      ...(isNumbered ? { hint: "Quote what looks like a number, such as '1.2'." } : {}),
    });
  }
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) {
    if (value.length === 0) return 'an empty list';
    const odd = value.findIndex((one) => text(one) !== undefined);
    return odd < 0 ? 'a list' : `a list with ${JSON.stringify(value[odd])?.slice(0, 60) ?? 'nothing'} at ${odd + 1}`;
  }
  return typeof value === 'string' || typeof value === 'number' ? JSON.stringify(value).slice(0, 60) : typeof value;
}

function wrong(
  file: string,
  key: string,
  facts: { readonly expected: string; readonly found: string; readonly hint?: string },
): AccelError {
  return new AccelError('usage', 'the rules cannot be used', { where: { file, key }, ...facts });
}
