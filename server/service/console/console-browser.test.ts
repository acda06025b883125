/** The console in a real browser, against the real HTTP server and a real SQLite queue. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeWith, requireTool } from '../../../tests/support/tools.ts';
import { type ConsoleService, startConsoleService } from './testing/console-service.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WAIT = 15_000;
const WRITE_TOKEN = 'a-token-that-writes';

interface AxeResults {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[];
}

describeWith({ tools: ['chromium'] }, 'the console in a browser', () => {
  let browser: Browser;
  let service: ConsoleService;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: requireTool('chromium'), args: ['--no-sandbox'] });
  });
  afterAll(() => browser?.close());
  beforeEach(async () => {
    context = await browser.newContext({
      viewport: { width: 1280, height: 900 },
      colorScheme: 'light',
      locale: 'en-GB',
    });
    context.setDefaultTimeout(WAIT);
    page = await context.newPage();
    complaints = [];
    page.on('pageerror', (error) => complaints.push(`page error: ${error.message}`));
    page.on('console', (message) => {
      if (/Content Security Policy|Refused to/i.test(message.text())) complaints.push(message.text());
    });
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== new URL(service.url).origin) complaints.push(`asked ${request.url()}`);
    });
  });
  afterEach(async () => {
    await context?.close();
    await service?.stop();
    expect(complaints).toEqual([]);
  });

  const open = (path = ''): Promise<unknown> => page.goto(`${service.url}${path}`);
  const rows = (): ReturnType<Page['locator']> => page.locator('tbody tr');
  const overflow = (): Promise<number> =>
    page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');

  /** Lists the complaints of axe-core. Its code is evaluated by the browser's debugger, which the page's policy does not bind. */
  const accessibility = async (): Promise<string[]> => {
    await page.evaluate(AXE);
    const { violations } = (await page.evaluate('axe.run(document)')) as AxeResults;
    return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
  };

  it('shows what is empty, and how data comes', async () => {
    service = await startConsoleService();
    await open();
    await page.getByText('No conversions yet').waitFor();
    await open('#/repositories');
    await page.getByText('No repositories yet').waitFor();
    await open('#/?state=failed');
    await page.getByText('No such conversions').waitFor();
  });

  it('says that it loads, that the service does not answer, and goes on when it does', async () => {
    service = await startConsoleService();
    await service.fill();
    await page.route('**/api/v1/conversions?*', async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await route.continue();
    });
    await open();
    await page.getByText('Loading …').waitFor();
    await rows().first().waitFor();
    await page.unroute('**/api/v1/conversions?*');
    await service.pause();
    await page.getByRole('alert').getByText('The service does not answer.').waitFor();
    await service.resume();
    await rows().first().waitFor();
    expect(await page.getByRole('alert').count()).toBe(0);
  });

  it('asks for a token, refuses a wrong one, and forgets it', async () => {
    service = await startConsoleService({ token: WRITE_TOKEN });
    await service.fill();
    await open();
    const field = page.getByLabel('Token');
    await field.fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('the token is not known').waitFor();
    await field.fill(WRITE_TOKEN);
    await field.press('Enter');
    await rows().first().waitFor();
    expect(await page.evaluate('JSON.stringify(localStorage)')).not.toContain(WRITE_TOKEN);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
  });

  it('retries what failed and cancels what waits', async () => {
    service = await startConsoleService();
    const { failed, waiting } = await service.fill();
    await open();
    await page.getByRole('button', { name: /^Try again: .*broken:1$/ }).click();
    await expect.poll(async () => (await service.queue.get(failed))?.state, { timeout: WAIT }).toBe('waiting');
    await page.getByRole('button', { name: /^Cancel .*later:1/ }).click();
    await expect.poll(async () => (await service.queue.get(waiting))?.state, { timeout: WAIT }).toBe('cancelled');
    await page.locator('tr', { hasText: 'later:1' }).getByText('cancelled', { exact: true }).waitFor();
  });

  it('filters by state and repository, keeps them in the address, and pages', async () => {
    service = await startConsoleService();
    await service.fill();
    await service.addWaiting(60);
    await open();
    await expect.poll(() => rows().count(), { timeout: WAIT }).toBe(50);
    await page.getByRole('button', { name: 'Show more' }).click();
    await expect.poll(() => rows().count(), { timeout: WAIT }).toBeGreaterThan(60);
    await page.getByLabel('State').selectOption('failed');
    await expect.poll(() => rows().count(), { timeout: WAIT }).toBe(2);
    expect(page.url()).toContain('state=failed');
    await page.reload();
    await expect.poll(() => rows().count(), { timeout: WAIT }).toBe(2);
    await page.getByLabel('Repository').fill('registry.example.com/team/broken');
    await page.getByLabel('Repository').press('Enter');
    await expect.poll(() => rows().count(), { timeout: WAIT }).toBe(1);
  });

  it('follows a conversion layer by layer, to its end', async () => {
    service = await startConsoleService();
    const { running } = await service.fill();
    await open(`#/conversions/${running.id}`);
    await expect.poll(() => rows().count(), { timeout: WAIT }).toBe(50);
    const first = page.getByRole('progressbar', { name: 'layer 2', exact: true });
    const before = Number(await first.getAttribute('value'));
    await running.move(0.9);
    await expect.poll(async () => Number(await first.getAttribute('value')), { timeout: WAIT }).toBeGreaterThan(before);
    await page.getByRole('button', { name: /^Cancel/ }).focus();
    await running.move(0.95);
    await expect.poll(async () => Number(await first.getAttribute('value')), { timeout: WAIT }).toBe(1_992_294);
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Cancel');
    await running.finish();
    await page.getByRole('heading', { name: 'Accelerated tags' }).waitFor();
    await page.getByText('done', { exact: true }).waitFor();
  });

  it('shows what does not work on which agent, as text', async () => {
    const bytes = { toClients: 1, toPeers: 2, fromPeers: 3, fromOrigin: 4 };
    const long = `cache: EACCES: permission denied, mkdir '/${'a-long-folder/'.repeat(20)}'`;
    const at = '2026-11-02T08:15:30Z';
    const agents = [
      { node: '10.0.0.1:65002', reachable: true, bytes, degraded: [], peers: [] },
      {
        node: '10.0.0.2:65002',
        reachable: true,
        bytes,
        degraded: [long, 'peers: <img src=x onerror=alert(1)>'],
        peers: [{ node: '10.0.0.9:65002', lastError: 'connect ECONNREFUSED', at }],
      },
      { node: '10.0.0.3:65002', reachable: false, problem: 'no answer' },
    ];
    service = await startConsoleService({ agents: { agents, images: [] } });
    await open('#/cluster');
    await page.getByRole('heading', { name: 'Problems' }).waitFor();
    const table = (name: string): Promise<string[]> =>
      page.getByRole('table', { name }).locator('tbody tr').allInnerTexts();
    expect((await table('Agents')).map((row) => /answers|see problems|no answer/.exec(row)?.[0])).toEqual([
      'answers',
      'see problems',
      'no answer',
    ]);
    const rows = await table('Problems');
    expect(rows.map((row) => row.replaceAll('\u200b', '').split('\t').slice(0, 2))).toEqual([
      ['10.0.0.2:65002', long],
      ['10.0.0.2:65002', 'peers: <img src=x onerror=alert(1)>'],
      ['10.0.0.2:65002', 'does not reach 10.0.0.9:65002: connect ECONNREFUSED'],
    ]);
    expect(await page.locator('main img').count()).toBe(0);
    expect(await accessibility()).toEqual([]);
    await page.setViewportSize({ width: 380, height: 800 });
    expect(await overflow()).toBe(0);
  });

  it('needs no mouse', async () => {
    service = await startConsoleService();
    await service.fill();
    await open();
    await rows().first().waitFor();
    const focused = (): Promise<string> =>
      page.evaluate('(document.activeElement.textContent || document.activeElement.name || "").trim()');
    const tabTo = async (text: RegExp): Promise<void> => {
      for (let presses = 0; presses < 60; presses += 1) {
        await page.keyboard.press('Tab');
        if (text.test(await focused())) return;
      }
      throw new Error(`Tab does not reach ${text}`);
    };
    await tabTo(/^Skip to the content$/);
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
    await open('#/repositories');
    await page.locator('.skip').focus();
    await page.keyboard.press('Enter');
    expect(page.url()).toMatch(/repositories$/);
    await open('#/');
    await rows().first().waitFor();
    await tabTo(/team\/broken:1$/);
    // The table is drawn again every two seconds, and keeps the focus.
    await page.waitForResponse((response) => response.url().includes('/api/v1/conversions?'));
    await expect.poll(focused, { timeout: WAIT }).toMatch(/team\/broken:1$/);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: /team\/broken:1/ }).waitFor();
    await tabTo(/^Try again$/);
  });

  it.each(['light', 'dark'] as const)(
    '%s: fits 800 and 380 pixels, and axe-core finds nothing on any page',
    async (theme) => {
      service = await startConsoleService();
      const { running, failed, done } = await service.fill();
      await page.emulateMedia({ colorScheme: theme });
      const pages = [
        '#/',
        '#/repositories',
        '#/cluster',
        ...[running.id, failed, done].map((id) => `#/conversions/${id}`),
      ];
      for (const path of pages) {
        await page.setViewportSize({ width: 1280, height: 900 });
        await open(path);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.getByText('Loading …').waitFor({ state: 'detached' });
        expect([path, await accessibility()]).toEqual([path, []]);
        for (const width of [800, 380]) {
          await page.setViewportSize({ width, height: 800 });
          expect([path, width, await overflow()]).toEqual([path, width, 0]);
        }
        expect([path, await accessibility()]).toEqual([path, []]);
        if (process.env.ACCEL_CONSOLE_PICTURES === undefined) continue;
        for (const width of [380, 800, 1280]) {
          await page.setViewportSize({ width, height: width === 380 ? 800 : 760 });
          const name = path
            .replace(/^#\/?/, '')
            .replace(running.id, 'running')
            .replace(failed, 'failed')
            .replace(done, 'done');
          await page.screenshot({
            path: `${process.env.ACCEL_CONSOLE_PICTURES}/${name.replaceAll('/', '-') || 'list'}-${theme}-${width}.png`,
          });
        }
      }
      await service.stop();
      service = await startConsoleService({ token: WRITE_TOKEN });
      await open();
      await page.getByLabel('Token').waitFor();
      expect(await accessibility()).toEqual([]);
    },
  );
});
