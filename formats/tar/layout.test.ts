import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { gnuHeader, gnuSparseBlock, gnuSparseElement, paddingOf, starHeader, ustarHeader } from './layout.ts';

const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');

/** Rows of the README's table under a heading: field, offset, size. */
function table(heading: string): [string, number, number][] {
  const section = readme.split(/^### /m).find((part) => part.startsWith(heading));
  const rows = [...(section ?? '').matchAll(/^\| (\w+) +\| (\d+) +\| (\d+) +\|/gm)];
  return rows.map(([, field, offset, size]) => [field!, Number(offset), Number(size)]);
}

describe('the tables of the README are the structures of the code', () => {
  for (const struct of [ustarHeader, gnuHeader, starHeader, gnuSparseBlock, gnuSparseElement]) {
    test(struct.name, () => {
      const rows = table(struct.name);
      expect(rows.map(([field, offset]) => [field, offset])).toEqual(Object.entries(struct.offsets));
      const last = rows.at(-1)!;
      expect(last[1] + last[2]).toBe(struct.size);
      for (const [i, [field, offset, size]] of rows.slice(0, -1).entries()) {
        expect(offset + size, field).toBe(rows[i + 1]![1]);
      }
    });
  }
});

test('padding', () => {
  expect([0, 1, 511, 512, 513, 2 ** 44 + 1].map(paddingOf)).toEqual([0, 511, 1, 0, 511, 511]);
});
