/** Damage to JSON documents: values of other kinds, at the edges, missing, twice, and keys that mean something to JavaScript. */
import type { FuzzRandom } from './random.ts';

/** A parsed JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const ODD_TEXTS = [
  '',
  ' ',
  '\0',
  '\x1b]0;title\x07\x1b[2J',
  'line\nbreak: yes\r\n',
  '\u202egnp.exe',
  '\ud800',
  'sha256:',
  `sha256:${'0'.repeat(64)}`,
  `sha256:${'F'.repeat(64)}`,
  `sha512:${'0'.repeat(128)}`,
  '../../etc/passwd',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.layer.v1.tar+gzip',
  '9'.repeat(400),
  '-1',
  '1e9',
  'x'.repeat(5000),
];
const ODD_NUMBERS = [-1, 0, 1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e308, -0];
const ODD_KEYS = ['__proto__', 'constructor', 'toString', '', 'mediaType', 'digest', 'size', 'annotations', 'layers'];

/** Something that does not belong there. */
export function oddValue(random: FuzzRandom): Json {
  switch (random.below(8)) {
    case 0:
      return null;
    case 1:
      return random.oneIn(2);
    case 2:
      return random.pick(ODD_NUMBERS);
    case 3:
      return [];
    case 4:
      return {};
    case 5:
      return Array.from({ length: 1 + random.below(70) }).reduce<Json>((inner) => [inner], 'deep');
    default:
      return random.pick(ODD_TEXTS);
  }
}

/** A copy of `value` with one to three pieces of damage. */
export function mutateJson(value: Json, random: FuzzRandom): Json {
  let out = value;
  for (let i = 1 + random.below(3); i > 0; i--) out = damage(out, random, 0);
  return out;
}

/** Walks down a random way and damages what is there. */
function damage(value: Json, random: FuzzRandom, depth: number): Json {
  const goesOn = depth < 8 && !random.oneIn(depth < 2 ? 12 : 4);
  if (Array.isArray(value)) {
    if (!goesOn || value.length === 0) return damageList(value, random);
    const at = random.below(value.length);
    return value.map((item: Json, i) => (i === at ? damage(item, random, depth + 1) : item));
  }
  if (typeof value === 'object' && value !== null) {
    const record = value as { readonly [key: string]: Json };
    const keys = Object.keys(record);
    if (!goesOn || keys.length === 0) return damageRecord(record, random);
    const key = random.pick(keys);
    return { ...record, [key]: damage(record[key]!, random, depth + 1) };
  }
  if (typeof value === 'string' && value.length > 0 && random.oneIn(3)) return damageText(value, random);
  if (typeof value === 'number' && random.oneIn(3)) return value + random.pick([1, -1, 512, 0.5, 1e15]);
  return oddValue(random);
}

function damageList(list: readonly Json[], random: FuzzRandom): Json {
  switch (random.below(5)) {
    case 0:
      return list.slice(1);
    case 1:
      return [...list, ...list];
    case 2:
      return [...list, oddValue(random)];
    case 3:
      return [...list].reverse();
    default:
      return oddValue(random);
  }
}

function damageRecord(record: { readonly [key: string]: Json }, random: FuzzRandom): Json {
  const entries = Object.entries(record);
  switch (random.below(4)) {
    case 0:
      return Object.fromEntries(entries.filter((_, i) => i !== random.below(entries.length)));
    case 1:
      return Object.fromEntries([...entries, [random.pick(ODD_KEYS), oddValue(random)]]);
    case 2: {
      // The value of one key under another.
      const from = random.below(entries.length);
      const to = random.below(entries.length);
      return Object.fromEntries(entries.map(([key, item], i) => [key, i === to ? entries[from]![1] : item]));
    }
    default:
      return oddValue(random);
  }
}

function damageText(text: string, random: FuzzRandom): string {
  const at = random.below(text.length);
  switch (random.below(4)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + random.pick(ODD_TEXTS) + text.slice(at);
    case 2:
      return text.slice(0, at) + String.fromCharCode(random.below(300)) + text.slice(at + 1);
    default:
      return random.oneIn(2) ? text.toUpperCase() : text + text;
  }
}

/** The document as bytes; now and then with bytes damaged that no JSON writer would damage so. */
export function jsonBytes(value: Json, random: FuzzRandom): Uint8Array {
  const bytes = Buffer.from(JSON.stringify(value) ?? 'null');
  if (bytes.length > 0 && random.oneIn(10)) bytes[random.below(bytes.length)] = random.u32();
  return bytes;
}
