import { describe, expect, it } from 'vitest';
import { AccelError } from '../base/error.ts';
import { chooseOutputs, type TagChoice } from './output-tags.ts';

const NOTHING: TagChoice = {
  inputTag: undefined,
  outputTag: undefined,
  overlaybd: undefined,
  turboOci: undefined,
  mode: undefined,
};

function choose(choice: Partial<TagChoice>) {
  return chooseOutputs({ ...NOTHING, ...choice });
}

function failure(choice: Partial<TagChoice>): AccelError {
  try {
    choose(choice);
  } catch (error) {
    if (error instanceof AccelError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('chooseOutputs', () => {
  it.each<[string, Partial<TagChoice>, string[]]>([
    ['default', { inputTag: '1.2' }, ['1.2_accelerated full', '1.2_containerd_accelerated containerd']],
    ['full', { inputTag: '1.2', mode: 'full' }, ['1.2_accelerated full', '1.2_containerd_accelerated containerd']],
    ['index-only', { inputTag: '1.2', mode: 'index-only' }, ['1.2_accelerated index-only']],
    ['output tag', { inputTag: '1.2', outputTag: 'x' }, ['x full']],
    ['output tag, index-only', { inputTag: '1.2', outputTag: 'x', mode: 'index-only' }, ['x index-only']],
    ['output tag of a digest', { outputTag: 'x' }, ['x full']],
    ['overlaybd', { inputTag: '1', overlaybd: 'a' }, ['a full']],
    ['turboOCI', { inputTag: '1', turboOci: 'b' }, ['b index-only']],
    ['both flags of the reference', { overlaybd: 'a', turboOci: 'b' }, ['a full', 'b index-only']],
  ])('%s', (_, choice, expected) => {
    expect(choose(choice).map(({ tag, kind }) => `${tag} ${kind}`)).toEqual(expected);
  });

  it.each<[string, Partial<TagChoice>]>([
    ['digest alone', {}],
    ['-o and --overlaybd', { outputTag: 'x', overlaybd: 'a' }],
    ['-o and --turboOCI', { outputTag: 'x', turboOci: 'a' }],
    ['--mode and --turboOCI', { mode: 'full', turboOci: 'a' }],
    ['one tag twice', { overlaybd: 'a', turboOci: 'a' }],
  ])('refuses %s', (_, choice) => expect(failure(choice)).toMatchObject({ code: 'usage', hint: expect.any(String) }));

  // 128 less the 23 characters of the longest suffix, and less the 12 of the other.
  it.each([
    ['both_105', 105, undefined],
    ['index_only_116', 116, 'index-only'],
  ] as const)('takes the longest tag that leaves room: %s', (_, length, mode) => {
    expect(() => choose({ inputTag: 'x'.repeat(length), mode })).not.toThrow();
    const error = failure({ inputTag: 'x'.repeat(length + 1), mode });
    expect(error).toMatchObject({ code: 'tag-too-long', found: 129 });
    expect(error.hint).toContain('outputTag');
  });

  it('measures a named tag too', () => {
    expect(() => choose({ outputTag: 'x'.repeat(128) })).not.toThrow();
    expect(failure({ outputTag: 'x'.repeat(129) }).code).toBe('tag-too-long');
  });
});
