import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { AccelError, asAccelError, withPlace } from './error.ts';

describe('AccelError', () => {
  test('carries what happened, where, what was expected and found, and what to do', () => {
    const cause = new Error('below');
    const error = new AccelError('tar-invalid', 'message', {
      where: { path: 'a', tarOffset: 512 },
      expected: 1,
      found: 'x',
      hint: 'do that',
      cause,
    });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'AccelError',
      code: 'tar-invalid',
      expected: 1,
      found: 'x',
      hint: 'do that',
      cause,
    });
  });

  test('has no cause where none was given', () => {
    const error = new AccelError('usage', 'message');
    expect('cause' in error).toBe(false);
    expect(error.where).toEqual({});
  });
});

describe('withPlace', () => {
  test('adds the outer place in front, and what the error knew wins', () => {
    const inner = new AccelError('tar-invalid', 'm', { where: { path: 'inner' }, expected: 1, found: 2, hint: 'h' });
    const outer = withPlace(withPlace(inner, { layer: 3, path: 'outer' }), { image: 'i', layer: 9 });
    expect(Object.entries(outer.where)).toEqual([
      ['image', 'i'],
      ['layer', 3],
      ['path', 'inner'],
    ]);
    expect(outer).toMatchObject({ code: 'tar-invalid', message: 'm', expected: 1, found: 2, hint: 'h' });
    expect(outer.stack).toBe(inner.stack);
  });

  test('keeps the original of anything else as its cause', () => {
    const original = new TypeError('a defect');
    expect(withPlace(original, { layer: 1 })).toMatchObject({
      code: 'internal',
      message: 'a defect',
      where: { layer: 1 },
      cause: original,
    });
  });
});

describe('asAccelError', () => {
  test('leaves an AccelError alone', () => {
    const error = new AccelError('usage', 'm');
    expect(asAccelError(error)).toBe(error);
  });

  test('a system error is io-error with its path', async () => {
    const error = await readFile('/no/such/file').catch(asAccelError);
    expect(error).toMatchObject({ code: 'io-error', where: { path: '/no/such/file' } });
  });

  test('an abort is aborted', () => {
    expect(asAccelError(AbortSignal.abort().reason)).toMatchObject({ code: 'aborted' });
  });

  test.each([
    ['a thrown string', 'a thrown string'],
    [null, 'null'],
    [new RangeError(), 'RangeError'],
  ])('%s is internal', (thrown, message) => {
    expect(asAccelError(thrown)).toMatchObject({ code: 'internal', message, cause: thrown });
  });
});

test.each([
  new RangeError('WebAssembly.Memory(): could not allocate memory'),
  new RangeError('Array buffer allocation failed'),
  Object.assign(new Error('Worker terminated due to reaching memory limit'), { code: 'ERR_WORKER_OUT_OF_MEMORY' }),
  Object.assign(new Error('ENOMEM: not enough memory, read'), { code: 'ENOMEM', syscall: 'read' }),
])('%s is about memory, and no defect', (cause) => {
  expect(asAccelError(cause)).toMatchObject({
    code: 'limit-exceeded',
    message: expect.stringContaining('memory'),
    found: cause.message,
    hint: expect.stringContaining('ulimit -v'),
  });
});
