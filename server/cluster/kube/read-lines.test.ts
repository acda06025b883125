import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readLines } from './read-lines.ts';

async function* chunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let start = 0;
  for (let turn = 0; start < bytes.length; turn++) {
    const end = start + (sizes[turn % sizes.length] ?? 1);
    yield bytes.subarray(start, end);
    start = end;
  }
}

async function all(lines: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const line of lines) found.push(line);
  return found;
}

it('gives the lines, wherever the chunks end', async () => {
  const property = fc.asyncProperty(
    fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '))),
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
    async (lines, sizes) => {
      const bytes = new TextEncoder().encode(lines.join('\n'));
      expect(await all(readLines(chunks(bytes, sizes), 1000))).toEqual(lines.filter((line) => line !== ''));
    },
  );
  await fc.assert(property);
});

it('refuses a line without an end before it is in memory', async () => {
  let given = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) {
      given += 1;
      yield new Uint8Array(10).fill(65);
    }
  }
  await expect(all(readLines(endless(), 95))).rejects.toMatchObject({ code: 'limit-exceeded' });
  expect(given).toBe(10);
});
