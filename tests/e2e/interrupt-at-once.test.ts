/** Signals that come while the main thread can not hear them: real processes, and nothing but signals from outside. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ACCEL, requireBuild } from '../support/accel.ts';
import { withTempDirectory } from '../support/tools.ts';

/** Loops for ever once accel runs, as a layer made to exhaust it might. */
const LOOP =
  'data:text/javascript,setTimeout(()=>{process.stderr.write("busy");for(;;);},1000);setInterval(()=>0,1000)';

async function started(directory: string, loop: boolean): Promise<{ child: ChildProcess; ended: Promise<unknown> }> {
  await requireBuild();
  const config = join(directory, 'config.json');
  execFileSync('mkfifo', [config]);
  const child = spawn(
    process.execPath,
    [...(loop ? ['--import', LOOP] : []), ACCEL, 'inspect', '127.0.0.1:9/app:1', '--plain'],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, DOCKER_CONFIG: directory } },
  );
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  let stderr = '';
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  // It waits for a writer of the pipe that never comes, or in the loop.
  const deadline = Date.now() + 3000;
  while (loop ? !stderr.includes('busy') : Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 50));
  return { child, ended };
}

test.each([
  ['a loop', true],
  ['a system call that never returns', false],
] as const)('%s: the first signal ends it after a moment, the second at once', async (_, loop) => {
  await withTempDirectory(async (directory) => {
    const { child, ended } = await started(directory, loop);
    child.kill('SIGINT');
    // An event loop that turns ends with 130 itself.
    expect([130, 'SIGINT']).toContain(await ended);
  });
  await withTempDirectory(async (directory) => {
    const { child, ended } = await started(directory, loop);
    child.kill('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 300));
    child.kill('SIGTERM');
    expect(await ended).toBe('SIGTERM');
  });
});
