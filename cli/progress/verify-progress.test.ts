import { expect, it } from 'vitest';
import { captured } from '../testing/sample.ts';
import { createVerifyDisplay } from './verify-progress.ts';

it('draws at most ten lines a second, cut to the terminal, and takes the last away', () => {
  const output = Object.assign(captured(), { isTTY: true, columns: 40 });
  let time = 0;
  const display = createVerifyDisplay(output, { TERM: 'xterm' }, () => time);
  display.show('linux/amd64', { stage: 'content', done: 1e6, total: 4e6 });
  display.show('linux/amd64', { stage: 'content', done: 2e6, total: 4e6 });
  time = 100;
  display.show('linux/amd64', { stage: 'tree', done: 7, total: 0 });
  display.stop();
  display.stop();
  expect(output.text.split('\r\u001b[K')).toEqual([
    '',
    'linux/amd64: comparing content 1.0 MB …',
    'linux/amd64: comparing paths 7',
    '',
  ]);
});

it('is silent where lines cannot be redrawn', () => {
  const output = captured();
  const display = createVerifyDisplay(output, {});
  display.show('linux/amd64', { stage: 'source', done: 1, total: 2 });
  display.stop();
  expect(output.text).toBe('');
});
