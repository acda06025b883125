/** Soft state of trackers: it expires, and it is bounded. */
import { expect, it } from 'vitest';
import { HOLDER_TTL, MEMBER_TTL, Tracker } from './tracker.ts';

const digest = (index: number) => `sha256:${index.toString(16).padStart(64, '0')}`;
const word = (id: string, more = {}) => ({ id, zone: 'z', view: 'v', ...more });

it('answers with those who joined together, and forgets those who leave or fall silent', async () => {
  let now = 0;
  const tracker = new Tracker(() => now);
  const [first, second] = await Promise.all([tracker.join(digest(1), word('a')), tracker.join(digest(1), word('b'))]);
  expect(first.members).toEqual([
    ['a', 'z'],
    ['b', 'z'],
  ]);
  expect(second.members).toEqual(first.members);
  tracker.note(digest(1), word('a', { leaving: true }));
  expect(tracker.answer(digest(1)).members).toEqual([['b', 'z']]);
  now = MEMBER_TTL * 1000 + 1;
  expect(tracker.answer(digest(1)).members).toEqual([]);
});

it('holders are no members, and expire later', () => {
  let now = 0;
  const tracker = new Tracker(() => now);
  tracker.note(digest(1), word('h', { complete: true }));
  expect(tracker.answer(digest(1))).toMatchObject({ members: [], holders: [['h', 'z']] });
  now = HOLDER_TTL * 1000 - 1;
  expect(tracker.holders(digest(1))).toEqual([{ id: 'h', zone: 'z' }]);
  now += 2;
  expect(tracker.holders(digest(1))).toEqual([]);
});

it('is bounded in blobs, members and holders, and lets go of what has expired', () => {
  let now = 0;
  const tracker = new Tracker(() => now);
  for (let index = 0; index < 20_010; index++) tracker.note(digest(index), word('a'));
  expect(tracker.size).toBe(20_000);
  expect(tracker.answer(digest(0)).members).toEqual([]);
  for (let index = 0; index < 10_010; index++) tracker.note(digest(1), word(`n${index}`));
  expect(tracker.answer(digest(1)).members).toHaveLength(10_000);
  for (let index = 0; index < 300; index++) tracker.note(digest(1), word(`n${index}`, { complete: true }));
  expect(tracker.holders(digest(1))).toHaveLength(200);
  now = HOLDER_TTL * 1000 + 1;
  for (let index = 0; index < 6000; index++) tracker.note(digest(1), word('a'));
  expect(tracker.size).toBe(1);
});

it('is bounded in all entries together: many names in many swarms', () => {
  let now = 0;
  const tracker = new Tracker(() => now);
  for (let index = 0; index < 320_000; index++) tracker.note(digest(index % 64), word(`n${index}`));
  expect(tracker.entries).toBeLessThanOrEqual(300_000);
  expect(tracker.answer(digest(63)).members.length).toBeGreaterThan(0);
  now = HOLDER_TTL * 1000 + 1;
  for (let index = 0; index < 100; index++) tracker.note(digest(100), word('a'));
  expect(tracker.entries).toBe(1);
});

it('leaving what is not tracked leaves no trace', () => {
  const tracker = new Tracker();
  tracker.note(digest(1), word('a', { leaving: true }));
  expect(tracker.size).toBe(0);
});
