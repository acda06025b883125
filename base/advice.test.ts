import { expect, it } from 'vitest';
import { type Advice, advise, libraryWord, type OptionReference, option, renderAdvice } from './advice.ts';
import { AccelError, withPlace } from './error.ts';

const flag = ({ option: name, value }: OptionReference): string => `<${name}${value === undefined ? '' : ` ${value}`}>`;

it.each<[string, Advice, string, string]>([
  ['text_only', advise`Try again.`, 'Try again.', 'Try again.'],
  ['one_option', advise`Raise it with ${option('maxFiles')}.`, 'Raise it with maxFiles.', 'Raise it with <maxFiles>.'],
  ['at_both_ends', advise`${option('plain')} or ${option('insecure')}`, 'plain or insecure', '<plain> or <insecure>'],
  ['value', advise`Use ${option('workers', 0)}.`, 'Use workers: 0.', 'Use <workers 0>.'],
  ['placeholder', advise`Use ${option('outputTag', 'TAG')}.`, 'Use outputTag.', 'Use <outputTag TAG>.'],
  ['text_and_number', advise`${'a'} ${1} ${option('force')}`, 'a 1 force', 'a 1 <force>'],
])('%s', (_, parts, ofLibrary, ofFlags) => {
  expect(renderAdvice(parts, libraryWord)).toBe(ofLibrary);
  expect(renderAdvice(parts, flag)).toBe(ofFlags);
});

it('an error has the hint in the words of the library, and the options for a front end', () => {
  const parts = advise`Raise it with ${option('maxFiles')}.`;
  const error = new AccelError('limit-exceeded', 'm', { hint: parts });
  expect(error.hint).toBe('Raise it with maxFiles.');
  expect(error.advice).toEqual(parts);
  expect(withPlace(error, { image: 'i' }).advice).toEqual(parts);
  expect(structuredClone(error.details)).toEqual({ where: {}, hint: parts });
});

it('a hint without options is text', () => {
  expect(new AccelError('usage', 'm', { hint: 'h' }).advice).toEqual(['h']);
  expect(new AccelError('usage', 'm').advice).toBeUndefined();
});
