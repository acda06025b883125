import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryBudget } from './memory-budget.ts';
import { NameIndex } from './name-index.ts';

/** All references with a hash, ascending. */
function all(index: NameIndex, hash: number): number[] {
  const found: number[] = [];
  for (let ref = index.first(hash); ref !== 0; ref = index.next()) found.push(ref);
  return found.sort((a, b) => a - b);
}

test('answers what a Map of sets does, also where hashes are equal and tables wrap around', () => {
  // Few upper bits, so that one table fills, and lower bits at both of its ends.
  const hash = fc
    .tuple(fc.constantFrom(0, 0xff00_0000), fc.constantFrom(0, 1, 2, 29, 30, 31, 62, 63, 0xff_ffff))
    .map(([upper, lower]) => (upper | lower) >>> 0);
  fc.assert(
    fc.property(fc.array(fc.tuple(hash, fc.integer({ min: 0, max: 3 })), { maxLength: 200 }), (steps) => {
      const index = new NameIndex(new MemoryBudget());
      const model = new Map<number, number[]>();
      steps.forEach(([key, victim], i) => {
        const refs = model.get(key) ?? [];
        const ref = refs[victim];
        if (ref === undefined) {
          index.add(key, i + 1);
          model.set(key, [...refs, i + 1]);
        } else {
          index.remove(key, ref);
          model.set(
            key,
            refs.filter((other) => other !== ref),
          );
        }
        for (const [other, expected] of model) expect(all(index, other)).toEqual(expected);
      });
    }),
  );
});

test('takes its memory from the budget as its tables grow', () => {
  const memory = new MemoryBudget();
  const index = new NameIndex(memory);
  for (let i = 1; i <= 96; i++) index.add(i, i);
  // 128 slots of 8 bytes hold 96; the next one doubles them.
  expect(memory.used).toBe(128 * 8);
  index.add(97, 97);
  expect(memory.used).toBe(256 * 8);
});
