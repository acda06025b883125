import { expect, it } from 'vitest';
import { ansiToSvg } from './ansi-svg.ts';

const texts = (svg: string) =>
  [...svg.matchAll(/<text ([^>]*)>([^<]*)<\/text>/g)].map(([, look, text]) => ({ look, text }));

it('places every run at its column, with its style', () => {
  const svg = ansiToSvg('\u001b[32m✔\u001b[39m \u001b[1mdone\u001b[0m\n  plain \u001b[2mdim\u001b[22m', 20, 'a title');
  expect(texts(svg)).toEqual([
    { look: expect.stringMatching(/^x="16\.0" .*fill="#56d364"/), text: '✔' },
    { look: expect.stringMatching(/^x="32\.8" .*font-weight="bold"/), text: 'done' },
    { look: expect.stringMatching(/^x="32\.8" y="48" textLength="42\.0"/), text: 'plain' },
    { look: expect.stringMatching(/^x="83\.2" .*fill="#7d8590"/), text: 'dim' },
  ]);
  expect(svg).toContain('<title>a title</title>');
});

it('carries a look over the end of a line', () => {
  expect(texts(ansiToSvg('\u001b[31ma\nb\u001b[0m', 10, 't')).every(({ look }) => look?.includes('#ff7b72'))).toBe(
    true,
  );
});

it('escapes what XML would take for its own', () => {
  expect(texts(ansiToSvg('a < b & c', 10, 't'))[0]?.text).toBe('a &lt; b &amp; c');
});

it('names an escape that it cannot draw', () => {
  expect(() => ansiToSvg('\u001b[38ma', 10, 't')).toThrow('escape 38');
});
