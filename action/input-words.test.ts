import { expect, it } from 'vitest';
import { advise, type OptionName, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import { renderError } from '../cli/error-report.ts';
import { INPUT_WORDS, INPUTS } from './input-words.ts';

const rendered = (hint: ReturnType<typeof advise>): string =>
  renderError(new AccelError('usage', 'm', { hint }), { words: INPUT_WORDS });

it.each([
  ['input', advise`Leave ${option('platform')} out.`, 'Leave the input platforms out.'],
  ['placeholder', advise`Name it with ${option('outputTag', 'TAG')}.`, 'Name it with the input output-tag.'],
  ['value', advise`Convert in full mode (${option('mode', 'full')}).`, 'Convert in full mode (mode: full).'],
  [
    'without_an_input',
    advise`Raise ${option('maxMemory')}.`,
    'Raise the bound on memory (an option of the command line, not of the Action).',
  ],
])('%s', (_, hint, text) => expect(rendered(hint)).toContain(`to do     ${text}\n`));

it.each(Object.keys(INPUTS))('%s is never a flag', (name) => {
  expect(rendered(advise`${option(name as OptionName)} ${option(name as OptionName, 'VALUE')}`)).not.toMatch(/ --?\w/);
});

it('neither a long value nor a defect sends the reader to a flag', () => {
  const error = new AccelError('internal', 'm', { found: 'x'.repeat(1e4) });
  expect(renderError(error, { words: INPUT_WORDS })).not.toContain('--');
});
