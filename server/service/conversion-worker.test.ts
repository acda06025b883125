/** A table of ends of a conversion, and what becomes of each. */
import { describe, expect, it } from 'vitest';
import { AccelError } from '../../base/error.ts';
import type { ConversionOrder, ConversionResult } from './conversion.ts';
import type { ConversionEnd } from './conversion-messages.ts';
import { outcomeOf } from './conversion-worker.ts';
import type { Lease } from './queue.ts';
import { failureOf, lostDelay, MAX_ATTEMPTS, MAX_CRASHES, retryDelay } from './retries.ts';

const options = { mode: 'full', platforms: [], verify: 'off' } as const;
const order: ConversionOrder = {
  repository: 'r.io/team/app',
  tag: '1',
  digest: 'sha256:a',
  rule: { number: 1, identity: 'x', options },
  from: 'harbor',
};
const lease = (attempts: number) => ({ job: { id: 'id', attempts }, token: 't' }) as Lease;
const tag = (name: string, upToDate: boolean) => ({ tag: name, upToDate }) as ConversionResult['tags'][number];
const result = (upToDate: boolean) =>
  ({
    source: { digest: 'sha256:a' },
    tags: [tag('1_accelerated', upToDate), tag('1_containerd_accelerated', upToDate)],
  }) as unknown as ConversionResult;
const sinks = [
  { name: 'all', matches: (name: string) => name.endsWith('_accelerated') },
  { name: 'none', matches: () => false },
];
const follow = (end: ConversionEnd) =>
  outcomeOf(lease(1), order, end, sinks).followUp?.map(({ topic, key }) => `${topic} ${key}`);

describe('a conversion that', () => {
  it('made its tags notifies each sink once, whatever the number of tags', () => {
    expect(follow({ type: 'done', result: result(false), moved: false })).toEqual(['notify all id']);
  });

  it('found its tags notifies nobody', () => {
    expect(follow({ type: 'done', result: result(true), moved: false })).toEqual([]);
  });

  it('was overtaken by a push lets someone look again', () => {
    expect(follow({ type: 'done', result: result(true), moved: true })).toEqual(['event r.io/team/app:1']);
    expect(follow({ type: 'superseded', reason: 'moved', gone: false })).toEqual(['event r.io/team/app:1']);
    expect(follow({ type: 'superseded', reason: 'gone', gone: true })).toEqual([]);
  });

  const ending = (attempts: number, error: unknown) =>
    outcomeOf(lease(attempts), order, { type: 'failed', failure: failureOf(error) }, sinks).ending.kind;
  it.each([
    ['registry-unreachable', 1, 'retry'],
    ['registry-error', MAX_ATTEMPTS - 1, 'retry'],
    ['registry-error', MAX_ATTEMPTS, 'failed'],
    ['unauthorized', 1, 'failed'],
    ['image-unsupported', 1, 'failed'],
    ['verification-failed', 1, 'failed'],
    ['tag-conflict', 1, 'failed'],
    ['timed-out', MAX_CRASHES, 'failed'],
    ['internal', MAX_CRASHES - 1, 'retry'],
    ['internal', MAX_CRASHES, 'failed'],
  ] as const)('failed with %s in attempt %i: %s', (code, attempts, expected) => {
    expect(ending(attempts, new AccelError(code, 'x'))).toBe(expected);
  });
});

it('delays grow, are spread, and are bounded', () => {
  expect([1, 2, 3, 40].map((attempts) => retryDelay(attempts, () => 0.5))).toEqual([2000, 4000, 8000, 900_000]);
  expect([0, 0.999].map((random) => retryDelay(1, () => random))).toEqual([1500, 2499]);
  expect([1, 3, 4, 5, 30].map(lostDelay)).toEqual([0, 0, 500, 1000, 60_000]);
});

it('a failure has no secrets and no stack', () => {
  expect(Object.keys(failureOf(new Error('x'))).sort()).toEqual(['code', 'message', 'temporary', 'where']);
});
