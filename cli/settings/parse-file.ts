/** A file of settings as keys and values with their places; it knows YAML, not flags. */
import type { Node, Pair, ParsedNode } from 'yaml';
import { readSmallFile } from '../../disk/small-file.ts';
import { mistake, openYaml, type Place, type YamlParser } from './open-yaml.ts';

/** Key of the sections, one a command. */
export const SECTIONS_KEY = 'commands';

/** Bytes of a file that are read. */
const MAX_BYTES = 1 << 20;
/** Elements that a list may have. */
const MAX_VALUES = 10_000;

/** Sections of the configuration of accel serve and accel agent, which people also call accel.yaml. */
export const SERVER_KEYS: ReadonlySet<string> = new Set([
  'registries',
  'rules',
  'service',
  'agent',
  'cluster',
  'telemetry',
  'drain',
]);

/** A key and its value. */
export interface Entry {
  readonly key: string;
  /** Place of the key. */
  readonly place: Place;
  /** A switch, a text, or the texts of a list. Numbers are texts as they are written. */
  readonly value: boolean | string | readonly string[];
}

/** The content of a file. */
export interface ParsedFile {
  /** Keys for every command that has the flag. */
  readonly entries: readonly Entry[];
  /** Keys for one command. */
  readonly sections: readonly { readonly name: string; readonly place: Place; readonly entries: readonly Entry[] }[];
}

/**
 * Reads a file; undefined for the configuration of a server, which is none of accel's settings. Throws `usage` with the
 * place of a mistake, and the errors of reading.
 */
export async function parseFile(file: string): Promise<ParsedFile | undefined> {
  const [bytes, { YAML }] = await Promise.all([readSmallFile(file, MAX_BYTES), import('./yaml.ts')]);
  return parseText(Buffer.from(bytes).toString('utf8'), file, YAML);
}

/** {@link parseFile} for a text; `file` is its name in errors. */
export function parseText(text: string, file: string, yaml: YamlParser): ParsedFile | undefined {
  const { document, placeAt } = openYaml(text, file, yaml);
  const reader = new Reader(yaml, (node) => placeAt(node.range?.[0] ?? 0));
  if (document.contents === null) return { entries: [], sections: [] };
  const pairs = reader.pairs(document.contents, 'the file');
  const foreign = pairs.filter(({ name, value }) => SERVER_KEYS.has(name) && !yaml.isScalar(value));
  const known = pairs.filter(({ name }) => !SERVER_KEYS.has(name));
  if (foreign.length > 0) {
    if (known.length === 0) return undefined;
    throw mistake(
      known[0]!.place,
      `has both settings of accel (${known[0]!.name}) and of a server (${foreign[0]!.name})`,
      {
        hint: 'Keep the configuration of accel serve and accel agent in a file of another name.',
      },
    );
  }
  const sections = pairs.find(({ name }) => name === SECTIONS_KEY);
  return {
    entries: pairs.filter(({ name }) => name !== SECTIONS_KEY).map((pair) => reader.entry(pair)),
    sections:
      sections === undefined
        ? []
        : reader.pairs(sections.value, SECTIONS_KEY, sections.place).map(({ name, place, value }) => ({
            name,
            place,
            entries: reader.pairs(value, name, place).map((pair) => reader.entry(pair)),
          })),
  };
}

/** A pair with a plain key. */
interface NamedPair {
  readonly name: string;
  readonly place: Place;
  readonly value: Node | null;
}

class Reader {
  readonly #yaml: YamlParser;
  readonly #place: (node: Node) => Place;

  constructor(yaml: YamlParser, place: (node: Node) => Place) {
    this.#yaml = yaml;
    this.#place = place;
  }

  /** The pairs of a map; nothing for an empty one. */
  pairs(node: Node | null, name: string, at?: Place): NamedPair[] {
    const { isMap, isScalar } = this.#yaml;
    const place = at ?? this.#place(node!);
    if (node === null || (isScalar(node) && node.value === null)) return [];
    if (!isMap(node)) throw mistake(place, `has no keys in ${name}`, { expected: 'keys with values' });
    return (node.items as Pair<ParsedNode, ParsedNode | null>[]).map(({ key, value }) => {
      if (!isScalar(key)) {
        throw mistake(this.#place(key), 'has a key that is a list or a map', { expected: 'the name of a setting' });
      }
      // As it is written: null is the name of a flag.
      return { name: key.source ?? String(key.value), place: this.#place(key), value };
    });
  }

  entry({ name, place, value }: NamedPair): Entry {
    const { isSeq } = this.#yaml;
    if (!isSeq(value)) return { key: name, place, value: this.#scalar(value, name, place) };
    if (value.items.length > MAX_VALUES)
      throw mistake(place, `has too many values for ${name}`, { expected: `at most ${MAX_VALUES}` });
    return { key: name, place, value: value.items.map((item) => String(this.#scalar(item as Node, name, place))) };
  }

  #scalar(node: Node | null, name: string, place: Place): boolean | string {
    const { isScalar } = this.#yaml;
    const at = node === null ? place : this.#place(node);
    if (!isScalar(node)) {
      throw mistake(at, `has no plain value for ${name}`, {
        expected: 'a text, a number, true or false, or a list of them',
        hint: `Settings of one command are below ${SECTIONS_KEY}.`,
      });
    }
    const { value, source, type } = node;
    if (typeof value === 'boolean') return value;
    if (typeof value === 'string') return value;
    if (value === null) throw mistake(at, `has no value for ${name}`, { hint: 'Leave the key out for its default.' });
    // A number as it is written: its parser is the flag's.
    return type === 'PLAIN' && source !== undefined ? source : String(value);
  }
}
