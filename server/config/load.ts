/** Reads and checks the configuration file: every problem with its line, and an unknown key with the nearest right one. */
import { open } from 'node:fs/promises';
import { type Document, isMap, isNode, isPair, isScalar, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { AccelError } from '../../base/error.ts';
import { configSchema, schemaAt } from './json-schema.ts';
import { nearest } from './nearest.ts';
import { CONFIG_SCHEMA, type Config } from './schema.ts';

/** A larger file is no configuration. */
const MAX_BYTES = 1024 * 1024;
/** Problems that are listed; the rest is counted. */
const MAX_LISTED = 20;

/** One problem of a file. */
interface Problem {
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

/** The configuration in a file. Fails with `usage` that lists the problems, or `io-error` where it cannot be read. */
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
        text: code === 'MULTIPLE_DOCS' ? 'the file has several YAML documents, expected one' : message,
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
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_BYTES + 1), 0, MAX_BYTES + 1, 0);
  if (bytesRead > MAX_BYTES) {
    throw new AccelError('usage', 'the configuration file is too large', {
      where: { file: path },
      expected: `at most ${MAX_BYTES} bytes`,
    });
  }
  return buffer.toString('utf8', 0, bytesRead);
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
      const advice = meant === undefined ? `known here: ${known.join(', ')}` : `did you mean "${meant}"?`;
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
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${issue.expected === 'int' ? 'a whole number' : `of type ${issue.expected}`}`;
    case 'invalid_value': {
      const found = document.getIn(issue.path);
      const words = issue.values.map(String);
      const meant = typeof found === 'string' ? nearest(found, words) : undefined;
      return `must be one of ${words.join(', ')}${meant === undefined ? '' : `; did you mean "${meant}"?`}`;
    }
    case 'too_small':
      return issue.origin === 'number' || issue.origin === 'int' ? `must be at least ${issue.minimum}` : issue.message;
    case 'too_big':
      return issue.origin === 'number' || issue.origin === 'int' ? `must be at most ${issue.maximum}` : issue.message;
    default:
      return issue.message;
  }
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
