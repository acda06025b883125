/** The demo of the service, built, as `npm run demo:serve` starts it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeWith, run } from '../../tests/support/tools.ts';

const ROOT = join(import.meta.dirname, '../..');
const DEMO = join(ROOT, 'dist/server/demo');

let folder: string;
let child: ChildProcess | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-test-demo-'));
});
afterEach(async () => {
  child?.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

function start(...args: string[]): { readonly output: () => string; readonly exit: Promise<unknown[]> } {
  let text = '';
  child = spawn(process.execPath, [join(DEMO, 'serve-demo.js'), ...args], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  return { output: () => text, exit: once(child, 'exit') };
}

/** The first match in what the demo prints, however long that takes. */
async function printed(output: () => string, expression: RegExp): Promise<RegExpExecArray> {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = expression.exec(output());
    if (found !== null) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`not printed: ${expression}\n${output()}`);
}

it('--once pushes, converts, is notified, and leaves nothing behind', async () => {
  const { output, exit } = start('--once');
  expect([output(), ...(await exit)].slice(1)).toEqual([0, null]);
  expect(output()).toMatch(/2\. Converted: 127\.0\.0\.1:\d+\/team\/app:1\.0_accelerated\n/);
  expect(output()).toContain('its signature is right');
  expect(await readdir(folder)).toEqual([]);
});

it('serves until Ctrl-C: the console answers, and the printed command pushes another image', async () => {
  const { output, exit } = start();
  const [, command = ''] = await printed(output, /node (dist\/server\/demo\/push-image\.js \S+)/);
  const [, url = ''] = await printed(output, /Console {3}(\S+)/);
  expect(await (await fetch(url)).text()).toContain('console-app.js');
  await run(process.execPath, command.split(' '), { cwd: ROOT });
  await printed(output, /notified: \S+\/team\/big:1_accelerated/);
  child!.kill('SIGINT');
  expect(await exit).toEqual([0, null]);
  expect(await readdir(folder)).toEqual([]);
});

describeWith({ tools: ['skopeo'] }, 'with a foreign client', () => {
  it('takes what skopeo pushes, and gives it back', async () => {
    const { output, exit } = start();
    const [, host = ''] = await printed(output, /Registry {2}http:\/\/([^,]+),/);
    await printed(output, /Ctrl-C ends/);
    const image = join(ROOT, 'fixtures/images/demo');
    await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${image}`, `docker://${host}/other/app:2`]);
    await printed(output, /notified: \S+\/other\/app:2_accelerated/);
    await run('skopeo', [
      ...['copy', '--all', '--src-tls-verify=false', `docker://${host}/other/app:2_containerd_accelerated`],
      `oci:${join(folder, 'copy')}:2`,
    ]);
    await rm(join(folder, 'copy'), { recursive: true });
    child!.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
    expect(await readdir(folder)).toEqual([]);
  });
});
