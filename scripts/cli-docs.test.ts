import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { CLI_DOCS_PATH, renderCliDocs } from './cli-docs.ts';

it('the committed page is what the commands say', async () => {
  expect(readFileSync(new URL(`../${CLI_DOCS_PATH}`, import.meta.url), 'utf8')).toBe(await renderCliDocs());
});

it('every flag of convert is on the page, the same on every machine', async () => {
  const page = await renderCliDocs();
  for (const flag of ['--repository', '--turboOCI', '--fastoci', '--password-stdin', '--referrer', '--workers']) {
    expect(page).toContain(flag);
  }
  expect(page).toContain('one less than the processors');
});
