/** A text of YAML as a document whose nodes have places; the files of settings and the file of --rules are read by it. */
import type { Document, ParsedNode } from 'yaml';
import { AccelError } from '../../base/error.ts';

/** The package, where it is loaded. */
export type YamlParser = typeof import('./yaml.ts')['YAML'];

/** A place in a file; lines and columns count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A document, and where in the file its nodes are. */
export interface OpenedYaml {
  readonly document: Document.Parsed<ParsedNode>;
  /** The place of a character, which nodes have in `range`. */
  readonly placeAt: (offset: number) => Place;
}

/** Parses a text; `file` is its name in errors. Throws `usage` with the place of the first mistake. */
export function openYaml(text: string, file: string, yaml: YamlParser): OpenedYaml {
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    // No tags: a file has texts, numbers, lists and maps. Problems are reported here, not as warnings of the process.
    resolveKnownTags: false,
    logLevel: 'error',
  });
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const [broken] = [...document.errors, ...document.warnings];
  if (broken !== undefined) throw mistake(placeAt(broken.pos[0]), `is not valid YAML: ${broken.message}`);
  return { document: document as Document.Parsed<ParsedNode>, placeAt };
}

/** The error for a mistake at a place of a file. */
export function mistake(
  place: Place,
  message: string,
  details: { expected?: string; found?: string; hint?: string } = {},
) {
  return new AccelError('usage', `${place.file} ${message}`, { where: { ...place }, ...details });
}
