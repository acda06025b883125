/**
 * `npm run pictures:console`: runs `demo:serve`, pushes images, and takes the pictures of the console in docs/images with the Chromium of
 * the system (`CHROMIUM`, /usr/bin/chromium unless given).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DEMO = join(ROOT, 'dist/server/demo');
const IMAGES = join(ROOT, 'docs/images');
/** Bytes of a layer of the image whose conversion is shown: some seconds of work. */
const LAYER_BYTES = 96 * 2 ** 20;
/** Bytes of the largest picture. */
const MAX_BYTES = 150_000;

const { pushMadeImage } = (await import(join(DEMO, 'push-image.js'))) as typeof import('../server/demo/push-image.ts');
const demo = spawn(process.execPath, [join(DEMO, 'serve-demo.js')], { stdio: ['ignore', 'pipe', 'inherit'] });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
try {
  const { registry, console: url } = await addresses(demo);
  await pushMadeImage(`${registry}/team/api:2.4`);
  await pushMadeImage(`${registry}/team/worker:7`, LAYER_BYTES);
  const page = await open(browser, { url, width: 1280, height: 400, theme: 'light' });
  await page.getByText('converting,').first().waitFor();
  await take(page, 'console-conversions');
  const layers = await open(browser, {
    url: `${url}${await runningPath(page)}`,
    width: 1280,
    height: 620,
    theme: 'dark',
  });
  await waitForHalfReadLayer(layers);
  await take(layers, 'console-conversion');
  const narrow = await open(browser, { url: `${url}#/repositories`, width: 380, height: 640, theme: 'light' });
  await narrow.getByText('1 of 1', { exact: true }).nth(2).waitFor({ timeout: 180_000 });
  await take(narrow, 'console-repositories-380');
} finally {
  await browser.close();
  demo.kill('SIGTERM');
}

/** Addresses that the demo prints; resolves when it serves. */
async function addresses({ stdout }: ChildProcess): Promise<{ registry: string; console: string }> {
  let registry = '';
  let address = '';
  for await (const line of createInterface({ input: stdout! })) {
    registry = /^Registry +http:\/\/([^,]+),/.exec(line)?.[1] ?? registry;
    address = /^Console +(\S+)/.exec(line)?.[1] ?? address;
    if (line.startsWith('Look at ')) break;
  }
  stdout!.resume();
  return { registry, console: address };
}

interface View {
  readonly url: string;
  readonly width: number;
  readonly height: number;
  readonly theme: 'light' | 'dark';
}

async function open(from: Browser, { url, width, height, theme }: View): Promise<Page> {
  const context = await from.newContext({ viewport: { width, height }, colorScheme: theme, locale: 'en-GB' });
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/** The page of the conversion that runs. */
async function runningPath(page: Page): Promise<string> {
  const link = page.locator('tr', { hasText: 'running' }).getByRole('link').first();
  return (await link.getAttribute('href')) ?? '';
}

/** A bar that is neither empty nor full shows what the page is for; the page's policy refuses waitForFunction. */
async function waitForHalfReadLayer(page: Page): Promise<void> {
  const halfRead =
    "[...document.querySelectorAll('progress')].some(({ value, max }) => value > max / 4 && value < max)";
  const end = Date.now() + 60_000;
  while (!(await page.evaluate<boolean>(halfRead))) {
    if (Date.now() > end) throw new Error('no layer was seen while it was read');
    await page.waitForTimeout(50);
  }
}

async function take(page: Page, name: string): Promise<void> {
  const path = join(IMAGES, `${name}.png`);
  await page.screenshot({ path, fullPage: true });
  const { size } = await stat(path);
  if (size > MAX_BYTES) throw new Error(`${path} has ${size} bytes, expected at most ${MAX_BYTES}`);
  console.log(`${name}.png: ${size} bytes`);
}
