/** The process of a conversion: its limits, its crash, and that it does not outlive the service. The registry never answers. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Loopback, listen } from '../../tests/support/loopback.ts';
import type { ConversionDocument } from './conversion-messages.ts';
import { type ConversionLimits, runConversion } from './conversion-process.ts';

let registry: Loopback;
let document: ConversionDocument;
beforeAll(async () => {
  registry = await listen(createServer(() => undefined));
  const options = { mode: 'full', platforms: [], verify: 'off' } as const;
  document = {
    order: { repository: `${registry.host}/app`, tag: '1', rule: { number: 1, identity: 'x', options }, from: 'api' },
    registries: [{ host: registry.host, plain: true }],
  };
});
afterAll(() => registry.stop());

const LIMITS: ConversionLimits = { memory: 2 ** 31, timeout: 120_000 };
const convert = (limits: Partial<ConversionLimits>, signal = new AbortController().signal) =>
  runConversion(document, { limits: { ...LIMITS, ...limits }, signal, onProgress: () => undefined });

/** Processes of conversions whose parent is `parent`. */
function conversions(parent: number): number[] {
  const table = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' });
  return table
    .split('\n')
    .filter((line) => line.includes('conversion-child') && Number(line.trim().split(/\s+/)[1]) === parent)
    .map((line) => Number(line.trim().split(/\s+/)[0]));
}

async function conversionOf(parent: number): Promise<number> {
  for (;;) {
    const [pid] = conversions(parent);
    if (pid !== undefined) return pid;
    await delay(20);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('a conversion', () => {
  it('that takes too long is ended, and may be tried again', async () => {
    expect(await convert({ timeout: 1 })).toMatchObject({
      type: 'failed',
      failure: { code: 'timed-out', temporary: true },
    });
    expect(conversions(process.pid)).toEqual([]);
  });

  it('that uses too much memory is ended, with the limit', async () => {
    expect(await convert({ memory: 2 ** 20 })).toMatchObject({
      type: 'failed',
      failure: { code: 'out-of-memory', expected: 'at most 1048576 bytes', hint: 'Raise service.memory.' },
    });
  });

  it('that crashes is a failure that names the signal', async () => {
    const running = convert({});
    process.kill(await conversionOf(process.pid), 'SIGKILL');
    expect(await running).toMatchObject({ type: 'failed', failure: { code: 'worker-crashed', found: 'SIGKILL' } });
  });

  it('that nobody wants any more is ended at once', async () => {
    const stop = new AbortController();
    const running = convert({}, stop.signal);
    const pid = await conversionOf(process.pid);
    stop.abort(new Error('not wanted'));
    await expect(running).rejects.toThrow('not wanted');
    expect(isAlive(pid)).toBe(false);
  });

  it('ends with the service, however that ends', async () => {
    const url = new URL('./conversion-process.ts', import.meta.url).href;
    const program = `import { runConversion } from ${JSON.stringify(url)};
      await runConversion(${JSON.stringify(document)}, {
        limits: ${JSON.stringify(LIMITS)}, signal: new AbortController().signal, onProgress: () => undefined });`;
    const service = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
    const pid = await conversionOf(service.pid!);
    service.kill('SIGKILL');
    await once(service, 'exit');
    while (isAlive(pid)) await delay(20);
  });
});
