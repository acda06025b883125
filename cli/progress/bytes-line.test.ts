import { expect, it } from 'vitest';
import { captured } from '../testing/sample.ts';
import { createBytesLine } from './bytes-line.ts';

/** Returns the output of three reports, 100 ms apart. */
function shown(isTTY: boolean, quiet: boolean): string {
  const output = captured();
  let time = 1000;
  const line = createBytesLine(Object.assign(output, { isTTY }), { TERM: 'xterm' }, quiet, () => time);
  for (const done of [0, 1e6, 2e6]) {
    line.show({ done, total: 4e6 });
    time += 100;
  }
  line.clear();
  line.clear();
  return output.text;
}

it('redraws a few times a second, and is gone in the end', () => {
  expect(shown(true, false)).toBe('\r\x1b[K0 B of 4.0 MB (0.0 %)\r\x1b[K2.0 MB of 4.0 MB (50 %)\r\x1b[K');
});

it.each([
  [false, false],
  [true, true],
])('writes nothing where it cannot be redrawn or is not wanted (%s, %s)', (isTTY, quiet) => {
  expect(shown(isTTY, quiet)).toBe('');
});
