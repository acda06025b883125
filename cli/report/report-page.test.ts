/** The page of the report in a real browser, at three widths, light and dark: no request, nothing refused, everything reachable. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RepositoryReport, StoredFacts } from '../../inspect/report/report-facts.ts';
import { describeWith, requireTool, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { renderReport } from './report-document.ts';
import { reportPage } from './report-page.ts';

const HOSTILE = '"><img src=x onerror=alert(1)>\u202e\x1b[2J';
const sum = (bytes: number) => ({ bytes, blobs: 3 });
const stored: StoredFacts = {
  ...{ base: sum(5e9), accelerated: sum(7e9), shared: sum(2e9), baseOwn: sum(3e9), acceleratedOwn: sum(5e9) },
  ...{ other: sum(1e6), total: sum(10_001e6), documents: sum(4e3), pieceLists: sum(2e3) },
};
const report = (repository: string): RepositoryReport => ({
  ...{ repository, tags: 9, manifests: { base: 3, accelerated: 2, other: 1 }, stored },
  images: [
    {
      ...{ digest: `sha256:${'a'.repeat(64)}`, tags: ['1_accelerated', 'prod'], platform: 'linux/amd64', mode: 'full' },
      ...{ ownBytes: 5e9, bytes: 5e9, baseBytes: 4e9, start: { form: 'trace', bytes: 123e6, entries: 77 } },
    },
    {
      ...{ digest: `sha256:${'b'.repeat(64)}`, tags: [HOSTILE], mode: 'index-only', ownBytes: 12e6 },
      startUnknown: 'it carries no prefetch list',
    },
  ],
  fleet: { nodes: 200, images: 1, unknown: 1, pulled: 800e9, started: 24.6e9, saved: 775.4e9 },
  problems: [],
});
const page = reportPage(
  { repositories: [report('registry.example.com/team/app'), report(HOSTILE)], problems: [`${HOSTILE}: gone`] },
  '1.2.3',
);

it('allows its own style, by hash, and nothing else', () => {
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)![1]!;
  const style = /<style>([\s\S]*?)<\/style>/.exec(page)![1]!;
  const hash = createHash('sha256').update(style).digest('base64');
  expect(policy).toBe(`default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`);
  expect(page).not.toMatch(/<script|<link|<img|<iframe|url\(|@import|https?:/i);
  const tags = [...page.matchAll(/<[a-z][^>]*>/gi)].map(([tag]) => tag.replace(/"[^"]*"/g, '""'));
  expect(tags.filter((tag) => /\s(src|style|on\w+)=/i.test(tag))).toEqual([]);
  expect([...page.matchAll(/href="([^"]*)"/g)].map(([, to]) => to)).toEqual(['#main']);
});

it('the table in the terminal says what is unknown, and obeys no name', () => {
  const text = renderReport(report(HOSTILE));
  for (const control of ['\u202e', '\x1b']) expect(text).not.toContain(control);
  expect(text).toMatch(/1_accelerated \+1 +linux\/amd64 +full +5\.0 GB +5\.0 GB +4\.0 GB +123 MB +3\.1 %/);
  expect(text).toMatch(/index-only +12\.0 MB +\? +\? +\? +\?\n/);
  expect(text).toContain('pulled whole 800 GB, starts fetch at least 24.6 GB, saved at most 775 GB (97 %)');
});

describeWith({ tools: ['chromium'] }, 'in a browser', () => {
  const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  let browser: Browser;
  let folder: TempDirectory;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: requireTool('chromium'), args: ['--no-sandbox'] });
    folder = await tempDirectory();
    await writeFile(join(folder.path, 'report.html'), page);
  });
  afterAll(async () => {
    await browser?.close();
    await folder?.remove();
  });

  describe.each([320, 768, 1400])('%d pixels', (width) => {
    it.each(['light', 'dark'] as const)('%s', async (colorScheme) => {
      const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
      try {
        const tab = await context.newPage();
        const complaints: string[] = [];
        tab.on('pageerror', (error) => complaints.push(error.message));
        tab.on('console', (message) => complaints.push(message.text()));
        tab.on('request', (request) => {
          if (!request.url().endsWith('/report.html')) complaints.push(`asked ${request.url()}`);
        });
        await tab.goto(pathToFileURL(join(folder.path, 'report.html')).href);
        // The style is in force: the ground of the dark page is dark.
        const ground = await tab.evaluate('getComputedStyle(document.body).backgroundColor');
        expect(ground).toBe(colorScheme === 'dark' ? 'rgb(15, 20, 25)' : 'rgb(255, 255, 255)');
        expect(await tab.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
        // By keyboard: the way past the head, then each table.
        const stops: string[] = [];
        for (let step = 0; step < 7; step++) {
          await tab.keyboard.press('Tab');
          stops.push(await tab.evaluate('document.activeElement.className'));
        }
        expect(stops).toEqual(['skip', 'table', 'table', 'table', 'table', 'table', '']);
        const bar = tab.getByRole('img', { name: 'registry.example.com/team/app: base images alone 3.0 GB' });
        expect(await bar.count()).toBe(1);
        expect(await tab.getByRole('table').count()).toBe(5);
        await tab.evaluate(AXE);
        const axe = (await tab.evaluate('axe.run()')) as { violations: { id: string; nodes: { html: string }[] }[] };
        expect(axe.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)).toEqual([]);
        expect(complaints).toEqual([]);
      } finally {
        await context.close();
      }
    });
  });
});
