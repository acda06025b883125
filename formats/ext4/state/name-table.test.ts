import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Arena } from './arena.ts';
import { InodeTable } from './inode-table.ts';
import { FIXED_KEY } from './keyed-hash.ts';
import { MemoryBudget } from './memory-budget.ts';
import { NameTable } from './name-table.ts';

function emptyTable(memory = new MemoryBudget()): NameTable {
  const inodes = new InodeTable(memory);
  for (const directory of [2, 3]) inodes.add(directory, 'directory', 0);
  return new NameTable({ arena: new Arena(memory), inodes, memory, key: FIXED_KEY });
}

function listed(table: NameTable, directory: number): [string, number][] {
  const out: [string, number][] = [];
  for (let ref = table.first(directory); ref !== 0; ref = table.next(ref))
    out.push([table.text(ref), table.inode(ref)]);
  return out;
}

test('names are found and listed as in a Map of each directory, in the order in which they were added', () => {
  const step = fc.record({
    directory: fc.constantFrom(2, 3),
    name: fc.string({ minLength: 1, maxLength: 9, unit: fc.constantFrom('a', 'b', '\xff') }),
    remove: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const table = emptyTable();
      const model = new Map([2, 3].map((directory) => [directory, new Map<string, number>()]));
      steps.forEach(({ directory, name, remove }, i) => {
        const names = model.get(directory)!;
        const ref = table.find(directory, name);
        expect(ref === 0 ? undefined : table.inode(ref)).toBe(names.get(name));
        if (ref === 0) {
          table.add(directory, name, i + 10, 0);
          names.set(name, i + 10);
        } else if (remove) {
          table.remove(ref);
          names.delete(name);
        }
      });
      for (const [directory, names] of model) expect(listed(table, directory)).toEqual([...names]);
    }),
    { numRuns: 200 },
  );
});

test('20,000 names are found while their tables grow, and their room is used again', () => {
  const memory = new MemoryBudget();
  const table = emptyTable(memory);
  const names = Array.from({ length: 20_000 }, (_, i) => `name-${i}`);
  for (const [i, name] of names.entries()) table.add(2, name, i + 10, i % 100);
  expect(names.every((name, i) => table.inode(table.find(2, name)) === i + 10)).toBe(true);
  expect(table.layer(table.find(2, 'name-177'))).toBe(77);
  expect(table.find(3, 'name-1')).toBe(0);
  const { used } = memory;
  for (const name of names) table.remove(table.find(2, name));
  expect(table.first(2)).toBe(0);
  for (const [i, name] of names.entries()) table.add(2, name, i + 10, 0);
  expect(memory.used).toBe(used);
});

test('names past the budget are refused, and a part of a budget returns all that it took', () => {
  const whole = new MemoryBudget(4 << 20);
  const part = whole.part();
  const table = emptyTable(part);
  const fill = (): void => {
    for (let i = 0; i < 200_000; i++) table.add(2, `name-${i}`, i + 10, 0);
  };
  expect(fill).toThrow(expect.objectContaining({ code: 'limit-exceeded', expected: expect.stringContaining('4 MiB') }));
  expect(whole.used).toBeGreaterThan(3 << 20);
  part.close();
  expect(whole.used).toBe(0);
});
