import { expect, test } from 'vitest';
import { SourceNames } from './source-names.ts';

/** The names of a directory with their inodes. */
function listed(names: SourceNames, directory: number): [string, number][] {
  return [...names.of(directory)].map((name) => [name, names.find(directory, name)]);
}

test('names are found and listed per directory, in the order in which they were added', () => {
  const names = new SourceNames();
  names.add(1, 'b', 10, 1);
  names.add(2, 'b', 20, 1);
  names.add(1, 'a\xff\0', 11, 2);
  names.add(1, 'x'.repeat(4096), 12, 3);
  expect(listed(names, 1)).toEqual([
    ['b', 10],
    ['a\xff\0', 11],
    ['x'.repeat(4096), 12],
  ]);
  expect([...names.nodes(1)]).toEqual([10, 11, 12]);
  expect([names.find(2, 'b'), names.find(2, 'a'), names.find(3, 'b')]).toEqual([20, 0, 0]);
  expect([names.layer(1, 'b'), names.layer(1, 'a\xff\0')]).toEqual([1, 2]);
  names.setLayer(1, 'b', 7);
  expect([names.layer(1, 'b'), names.layer(2, 'b')]).toEqual([7, 1]);
});

test('a listing goes on while each name is removed as it comes, and another is added after', () => {
  const names = new SourceNames();
  for (let i = 0; i < 5; i++) names.add(1, `n${i}`, i + 1, 1);
  const seen: string[] = [];
  for (const name of names.of(1)) {
    seen.push(name);
    names.remove(1, name);
  }
  expect(seen).toEqual(['n0', 'n1', 'n2', 'n3', 'n4']);
  expect(names.count(1)).toBe(0);
  names.add(1, 'n3', 9, 2);
  expect(listed(names, 1)).toEqual([['n3', 9]]);
});

test('what a map of maps holds after the same 60,000 changes', () => {
  const names = new SourceNames();
  const model = new Map<number, Map<string, number>>();
  let state = 1;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let i = 1; i <= 60_000; i++) {
    const directory = next(50) * 97 + 1;
    const name = `file-${next(400)}`;
    const entries = model.get(directory) ?? new Map<string, number>();
    model.set(directory, entries);
    if (entries.has(name)) {
      names.remove(directory, name);
      entries.delete(name);
    } else {
      names.add(directory, name, i, 1);
      entries.set(name, i);
    }
    if (i % 10_000 === 0)
      for (const [at, expected] of model) {
        expect(listed(names, at)).toEqual([...expected]);
        expect(names.count(at)).toBe(expected.size);
      }
  }
});
