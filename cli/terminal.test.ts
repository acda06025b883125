import { expect, it } from 'vitest';
import { canRedraw, type Environment, hasUnicode, PLAIN_STYLE, styleFor, wantsColor } from './terminal.ts';
import { captured } from './testing/sample.ts';

const TTY = captured({ isTTY: true });
const PIPE = captured();

it.each<[string, boolean, Environment, boolean, boolean]>([
  ['terminal', true, {}, true, true],
  ['pipe', false, {}, false, false],
  ['NO_COLOR', true, { NO_COLOR: '1' }, false, true],
  ['empty NO_COLOR does not count', true, { NO_COLOR: '' }, true, true],
  ['NO_COLOR beats FORCE_COLOR', true, { NO_COLOR: '1', FORCE_COLOR: '1' }, false, true],
  ['FORCE_COLOR in a pipe', false, { FORCE_COLOR: '1' }, true, false],
  ['FORCE_COLOR=0', true, { FORCE_COLOR: '0' }, false, true],
  ['CI', true, { CI: 'true' }, true, false],
  ['CI=false', true, { CI: 'false' }, true, true],
  ['dumb terminal', true, { TERM: 'dumb' }, false, false],
])('%s', (_, tty, env, color, redraw) => {
  expect(wantsColor(tty ? TTY : PIPE, env)).toBe(color);
  expect(canRedraw(tty ? TTY : PIPE, env)).toBe(redraw);
});

it.each<[Environment, boolean]>([
  [{ LANG: 'de_DE.UTF-8' }, true],
  [{ LC_ALL: 'C', LANG: 'de_DE.UTF-8' }, false],
  [{ LANG: 'C' }, false],
  [{}, true],
  [{ TERM: 'linux', LANG: 'C.UTF-8' }, false],
])('unicode %o', (env, expected) => expect(hasUnicode(env)).toBe(expected));

it('styles only where colours are wanted', async () => {
  expect(await styleFor(PIPE, {})).toBe(PLAIN_STYLE);
  expect((await styleFor(TTY, {})).red('x')).toBe('\x1b[31mx\x1b[39m');
});
