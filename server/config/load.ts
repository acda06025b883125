/** Reads and checks the configuration file: every problem with its line, and an unknown key with the nearest right one. */
import { open } from 'node:fs/promises';
import { type Document, isMap, isNode, isPair, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { AccelError } from '../../base/error.ts';
import { nearest } from '../../base/nearest.ts';
import { configSchema, schemaAt, sectionsOf } from './json-schema.ts';
import { CONFIG_SCHEMA, type Config } from './schema.ts';

/** A larger file is no configuration. */
const MAX_BYTES = 1024 * 1024;
/** Problems that are listed; the rest is counted. */
const MAX_LISTED = 20;
/** Characters of a value that are shown. */
const MAX_SHOWN = 60;

/** Problems of YAML in other words than the parser's. */
const YAML_WORDS: Readonly<Record<string, string>> = {
  MULTIPLE_DOCS: 'the file has several YAML documents, expected one',
  DUPLICATE_KEY: 'the same key is there a second time',
  TAB_AS_INDENT: 'a line begins with a tab, expected spaces',
};

/** One problem of a file. */
interface Problem {
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

/** The configuration in a file. Fails with `usage` that lists the problems, or says why the file cannot be read. */
export async function loadConfig(path: string): Promise<Config> {
  return parseConfig(await read(path), path);
}

/** The configuration in a text; `path` is its name in errors. */
export function parseConfig(text: string, path: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    // No tags: a configuration has texts, numbers, lists and maps. Problems are reported here, not as warnings of the process.
    resolveKnownTags: false,
    logLevel: 'error',
  });
  const place = (offset: number): Pick<Problem, 'line' | 'column'> => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0) {
    throw configError(
      path,
      broken.map(({ code, message, pos }) => ({
        ...place(pos[0]),
        text: YAML_WORDS[code] ?? message,
      })),
    );
  }
  const checked = CONFIG_SCHEMA.safeParse(readValue(document, path) ?? {});
  if (checked.success) return checked.data;
  throw configError(
    path,
    checked.error.issues.flatMap((issue) =>
      problemsOf(issue, document).map(({ offset, text: what }) => ({ ...place(offset), text: what })),
    ),
  );
}

async function read(path: string): Promise<string> {
  const { buffer, bytesRead } = await readStart(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (bytesRead > MAX_BYTES) {
    throw new AccelError('usage', 'the configuration file is too large', {
      where: { file: path },
      expected: `at most ${MAX_BYTES} bytes`,
    });
  }
  return buffer.toString('utf8', 0, bytesRead);
}

async function readStart(path: string) {
  await using file = await open(path);
  return await file.read(Buffer.alloc(MAX_BYTES + 1), 0, MAX_BYTES + 1, 0);
}

/** The error for a file that is missing, is a folder, or may not be read. */
function unreadable(path: string, cause: unknown): AccelError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'an error';
  const known: Readonly<Record<string, readonly [found: string, hint: string]>> = {
    ENOENT: ['no such file', 'Check the path; docs/agent.md and docs/service.md have a first configuration to copy.'],
    ENOTDIR: ['no such file', 'Check the path: a part of it is a file, and no folder.'],
    EISDIR: ['a folder', 'Name the file in it, such as accel.yaml.'],
    EACCES: ['a file that this user may not read', 'Let this user read it, or run the command as another one.'],
  };
  const [found, hint] = known[code] ?? [code, 'Check the file and its disk.'];
  return new AccelError('usage', 'the configuration cannot be read', {
    where: { file: path },
    expected: 'a YAML file',
    found,
    hint,
    cause,
  });
}

function readValue(document: Document, path: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    // Aliases without an anchor, or so many that they would blow up.
    throw new AccelError('usage', `invalid configuration: ${(error as Error).message}`, {
      where: { file: path },
      cause: error,
    });
  }
}

function problemsOf(issue: z.core.$ZodIssue, document: Document): { offset: number; text: string }[] {
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(schemaAt(configSchema(), issue.path)?.properties ?? {});
    return issue.keys.map((key) => {
      const meant = nearest(key, known);
      const sections = meant === undefined ? sectionsOf(configSchema(), key) : [];
      const advice =
        meant !== undefined
          ? `did you mean "${meant}"?`
          : sections.length > 0
            ? `it is a key of ${sections.map((section) => `"${section}"`).join(' and ')}`
            : `known here: ${known.join(', ')}`;
      return {
        offset: offsetOf(document, [...issue.path, key], 'key'),
        text: `unknown key "${key}"${within(issue.path)}; ${advice}`,
      };
    });
  }
  const name = issue.path.length === 0 ? 'the file' : `"${pathText(issue.path)}"`;
  const missing = issue.code === 'invalid_type' && issue.path.length > 0 && document.getIn(issue.path) === undefined;
  const what = missing ? 'is required' : messageOf(issue, document);
  return [{ offset: offsetOf(document, issue.path, 'value'), text: `${name} ${what}` }];
}

/** The message of an issue as the rest of a sentence. */
function messageOf(issue: z.core.$ZodIssue, document: Document): string {
  const value = document.getIn(issue.path);
  switch (issue.code) {
    case 'invalid_type': {
      const advice = issue.expected === 'object' && value === null ? '; {} is all defaults' : '';
      return `must be ${typeWords(issue.expected)}, found ${kindOf(value)}${advice}`;
    }
    case 'invalid_union':
      return unionMessage(issue, document);
    case 'invalid_value': {
      const words = issue.values.map(String);
      const meant = typeof value === 'string' ? nearest(value, words) : undefined;
      const advice = meant === undefined ? '' : `; did you mean "${meant}"?`;
      return `must be one of ${words.join(', ')}, found ${shown(value)}${advice}`;
    }
    case 'too_small':
      return isNumber(issue.origin) ? `must be at least ${issue.minimum}, found ${shown(value)}` : issue.message;
    case 'too_big':
      return isNumber(issue.origin) ? `must be at most ${issue.maximum}, found ${shown(value)}` : issue.message;
    case 'invalid_format':
      // A URL may hold a password.
      return issue.format === 'regex' ? `${issue.message}, found ${shown(value)}` : issue.message;
    default:
      return issue.message;
  }
}

/** The message of the form whose type the value has; of all forms where it has none of their types. */
function unionMessage({ errors, path }: z.core.$ZodIssueInvalidUnion, document: Document): string {
  const issues = errors.flat().map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
  const closest = issues.find(({ code }) => code !== 'invalid_type' && code !== 'invalid_value') ?? issues[0];
  if (closest !== undefined && closest.code !== 'invalid_type' && closest.code !== 'invalid_value') {
    return messageOf(closest, document);
  }
  const forms = issues.map((issue) =>
    issue.code === 'invalid_type'
      ? typeWords(issue.expected)
      : issue.code === 'invalid_value'
        ? issue.values.map(String).join(', ')
        : '',
  );
  return `must be ${[...new Set(forms)].join(' or ')}, found ${kindOf(document.getIn(path))}`;
}

function isNumber(origin: string): boolean {
  return origin === 'number' || origin === 'int';
}

/** A type of the schema as people call it. */
function typeWords(type: string): string {
  const words: Readonly<Record<string, string>> = {
    array: 'a list',
    boolean: 'true or false',
    int: 'a whole number',
    number: 'a number',
    object: 'a section of keys',
    record: 'a section of keys',
    string: 'a text',
  };
  return words[type] ?? type;
}

/** The kind of a value: not the value, which may be a secret in the wrong place. */
function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (isMap(value)) return 'a section of keys';
  if (isSeq(value)) return 'a list';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return 'a text';
  return Number.isInteger(value) || typeof value === 'bigint' ? 'a whole number' : 'a number';
}

/** A value that is no secret: of an address with a user, who may have a password, the scheme alone. */
function shown(value: unknown): string {
  if (typeof value === 'number') return String(value);
  if (typeof value !== 'string') return kindOf(value);
  return JSON.stringify(value.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@.*$/is, '$1…').slice(0, MAX_SHOWN));
}

/** Where a key, a value, or what is nearest above it, begins in the text. */
function offsetOf(document: Document, path: readonly PropertyKey[], part: 'key' | 'value'): number {
  for (let length = path.length; length > 0; length--) {
    const above = document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    if (isMap(above)) {
      const pair = above.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === key);
      const wanted = part === 'key' || length < path.length ? pair?.key : (pair?.value ?? pair?.key);
      if (isNode(wanted) && wanted.range) return wanted.range[0];
    }
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${String(key)}`))
    .join('');
}

function within(path: readonly PropertyKey[]): string {
  return path.length === 0 ? '' : ` in "${pathText(path)}"`;
}

function configError(path: string, problems: readonly Problem[]): AccelError {
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
  const [first] = sorted;
  const hint = 'docs/configuration.md lists every key.';
  if (sorted.length === 1) {
    return new AccelError('usage', `invalid configuration: ${first!.text}`, {
      where: { file: path, line: first!.line, column: first!.column },
      hint,
    });
  }
  const listed = sorted.slice(0, MAX_LISTED).map(({ line, column, text }) => `line ${line}, column ${column}: ${text}`);
  if (sorted.length > MAX_LISTED) listed.push(`and ${sorted.length - MAX_LISTED} more`);
  return new AccelError('usage', `invalid configuration, ${sorted.length} problems:\n${listed.join('\n')}`, {
    where: { file: path, line: first!.line },
    hint,
  });
}
