import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mergeScopes, parseChallenges } from './challenge.ts';

test.each([
  ['Basic realm="x"', [['basic', { realm: 'x' }]]],
  ['BASIC', [['basic', {}]]],
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
    [
      [
        'bearer',
        { realm: 'https://auth.docker.io/token', service: 'registry.docker.io', scope: 'repository:a/b:pull,push' },
      ],
    ],
  ],
  ['Bearer  realm = "a" , Service=b', [['bearer', { realm: 'a', service: 'b' }]]],
  [
    'Basic realm="x", Bearer realm="y",error="invalid_token"',
    [
      ['basic', { realm: 'x' }],
      ['bearer', { realm: 'y', error: 'invalid_token' }],
    ],
  ],
  [
    'Negotiate, Basic realm=x',
    [
      ['negotiate', {}],
      ['basic', { realm: 'x' }],
    ],
  ],
  [String.raw`Bearer realm="a\"b\\c"`, [['bearer', { realm: String.raw`a"b\c` }]]],
  [
    'Bearer realm="never closed',
    [
      ['bearer', { realm: '' }],
      ['never', {}],
      ['closed', {}],
    ],
  ],
  ['', []],
  ['",,=;', []],
])('%s', (header, expected) => {
  const found = parseChallenges(header).map(({ scheme, parameters }) => [scheme, { ...parameters }]);
  expect(found).toEqual(expected);
});

test('any header is parsed in time that grows with its length', () => {
  const started = performance.now();
  parseChallenges(`Bearer ${'a="\\"'.repeat(50_000)}`);
  parseChallenges(' '.repeat(100_000));
  parseChallenges('a '.repeat(50_000));
  expect(performance.now() - started).toBeLessThan(5000);
  fc.assert(fc.property(fc.string(), (header) => Array.isArray(parseChallenges(header))));
});

test('scopes merge by resource, in one order', () => {
  expect(
    mergeScopes(['repository:b:push,pull', 'repository:a:pull'], ['repository:b:pull', 'registry:catalog:*', 'junk']),
  ).toEqual(['registry:catalog:*', 'repository:a:pull', 'repository:b:pull,push']);
});
