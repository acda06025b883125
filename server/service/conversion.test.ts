import { expect, it } from 'vitest';
import { conversionOf } from './conversion.ts';
import type { Job } from './queue.ts';
import { CONVERSION } from './routes/schemas.ts';

const JOB: Job = {
  id: '1',
  topic: 'convert',
  key: 'k',
  repository: 'registry.example.com/team/app',
  data: {
    repository: 'registry.example.com/team/app',
    tag: 'latest',
    rule: { number: 1, identity: 'one', options: {} },
    from: 'api',
  },
  state: 'superseded',
  attempts: 1,
  created: 1,
};

it('a superseded conversion says why, and is a document of the API', () => {
  // As both stores keep it.
  const conversion = conversionOf({ ...JOB, result: { superseded: 'the tag has moved' } });
  expect(CONVERSION.parse(conversion)).toEqual(conversion);
  expect(conversion).toMatchObject({ reason: { code: 'superseded', message: 'the tag has moved', temporary: false } });
  expect(conversion.result).toBeUndefined();
});

it('a failed conversion that another one took the place of keeps its reason', () => {
  const failure = { code: 'not-found', message: 'gone', temporary: false };
  expect(conversionOf({ ...JOB, failure }).reason).toEqual(failure);
});
