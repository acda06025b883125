/** A layer may cause a warning with every entry: how many are reported and kept, and what is said about the others. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { convertWithin, request, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { convertBetween } from './convert.ts';
import type { ConvertEvent } from './events.ts';
import { WarningLimit } from './warning-limit.ts';

const LATE = '99999999999';
let layout: TestLayout | undefined;
beforeEach(() => {
  layout = undefined;
});
afterEach(() => layout?.remove());

function tarOf(files: number): Uint8Array {
  const tar = new TarBuilder();
  for (let i = 0; i < files; i++) tar.file(`f${i}`, '', { mtime: LATE });
  return tar.build();
}

it('a conversion lists a hundred of a kind and counts the others', async () => {
  layout = await testLayout([{ tar: tarOf(250) }]);
  const events: ConvertEvent[] = [];
  const endpoints = { source: layout.target, target: layout.target, mountFrom: undefined };
  const result = await convertBetween(endpoints, request(), { onEvent: (event) => events.push(event) });
  expect(result.warningCount).toBe(250);
  expect(result.warnings).toHaveLength(101);
  expect(result.warnings[99]).toContain('f99');
  expect(result.warnings[100]).toMatch(/^150 more warnings are not listed here: a modification time is outside/);
  expect(events.filter(({ type }) => type === 'warning')).toHaveLength(101);
});

it('a hundred are all listed, and nothing is added', async () => {
  layout = await testLayout([{ tar: tarOf(100) }]);
  const result = await convertWithin(layout.target, request());
  expect([result.warnings.length, result.warningCount]).toEqual([100, 100]);
});

it('kinds differ before the first colon, and a thousand are the most of all kinds', () => {
  const said: string[] = [];
  const limit = new WarningLimit(({ message }) => said.push(message));
  for (let i = 0; i < 3000; i++) limit.add({ type: 'warning', message: `left out: ${i}` });
  for (let i = 0; i < 5000; i++) limit.add({ type: 'warning', message: `kind ${i}` });
  limit.end();
  expect(said).toHaveLength(1002);
  expect(said.slice(1000)).toEqual([
    '2900 more warnings are not listed here: left out',
    '4100 more warnings of several kinds are not listed here',
  ]);
  expect(limit.count).toBe(8000);
});
