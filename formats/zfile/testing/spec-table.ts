/** Reads the table of a structure out of a format's README, so that a test can compare it with the code. */
import { readFileSync } from 'node:fs';

/** A row: what the specification calls the field, where it begins and how many bytes it takes. */
export interface SpecRow {
  readonly field: string;
  readonly offset: number;
  readonly size: number;
}

/** The rows of the first table behind the heading that starts with `heading`; its columns are field, offset, size. */
export function specTable(readme: URL, heading: string): SpecRow[] {
  const lines = readFileSync(readme, 'utf8').split('\n');
  const from = lines.findIndex((line) => line.startsWith(`## ${heading}`));
  if (from < 0) throw new Error(`no heading ${heading} in ${readme}`);
  const table = lines.slice(lines.findIndex((line, i) => i > from && line.startsWith('|')));
  return table
    .slice(
      2,
      table.findIndex((line) => !line.startsWith('|')),
    )
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, field, offset, size]) => ({
      field: field!.replaceAll('`', ''),
      offset: Number(offset),
      size: Number(size),
    }));
}

/** The same rows, taken from a structure of formats/bytes/struct.ts. */
export function structRows(struct: {
  readonly size: number;
  readonly offsets: Readonly<Record<string, number>>;
}): SpecRow[] {
  const fields = Object.entries(struct.offsets);
  return fields.map(([field, offset], i) => ({ field, offset, size: (fields[i + 1]?.[1] ?? struct.size) - offset }));
}
