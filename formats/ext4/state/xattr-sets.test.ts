/** The attributes of inodes: what is not made again while entries name one directory many times. */
import { expect, test } from 'vitest';
import { MemoryBudget } from './memory-budget.ts';
import { XattrSets } from './xattr-sets.ts';

const set = (text: string): Map<string, Uint8Array> => new Map([['user.a', Buffer.from(text)]]);

test('the set that was added last is answered as it came, others as they were stored', () => {
  const sets = new XattrSets(new MemoryBudget());
  const [first, second] = [set('one'), set('two')];
  const numbers = [sets.add(first), sets.add(second)];
  expect(sets.get(numbers[1]!)).toBe(second);
  expect(sets.get(numbers[0]!)).not.toBe(first);
  expect(Buffer.from(sets.get(numbers[0]!).get('user.a')!).toString()).toBe('one');
  // Its number goes to another set.
  sets.release(numbers[1]!);
  expect(sets.add(set('three'))).toBe(numbers[1]);
  expect(Buffer.from(sets.get(numbers[1]!).get('user.a')!).toString()).toBe('three');
});
