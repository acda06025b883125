/** Signals that come while the main thread can not hear them: real processes, and nothing but signals from outside. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ACCEL, requireBuild } from '../support/accel.ts';
import { runStep } from '../support/runner.ts';
import { withTempDirectory } from '../support/tools.ts';

/** A module that runs `body` once the main thread has handed the signals over to the thread that listens. */
const onceHandedOver = (body: string, imports = ''): string =>
  `${imports}import{isMainThread}from"node:worker_threads";let heard=false;` +
  'if(isMainThread)setInterval(()=>{const count=process.listenerCount("SIGTERM");heard||=count>0;' +
  `if(heard&&count===0){process.stderr.write("busy\\n");${body}}},20)`;

/** Keeps the main thread busy for ever once accel runs, as a layer made to exhaust it might. */
const LOOP = `data:text/javascript,${onceHandedOver('for(;;);')}`;

/** Waits in a system call: for a writer of a pipe that never comes. */
const WAIT = `data:text/javascript,${onceHandedOver('openSync(process.env.ACCEL_TEST_PIPE)', 'import{openSync}from"node:fs";')}`;

const REF = '127.0.0.1:9/app:1';
/** Commands that run for long, each with what it needs to ask a registry that is not there. */
const COMMANDS: readonly (readonly string[])[] = [
  ['convert', REF],
  ['verify', REF],
  ['cp', REF, '/etc', 'copy'],
  ['prefetch', 'record', REF],
  ['prefetch', 'show', REF],
  ['export', 'raw', REF, 'app.img'],
  ['export', 'nbd', REF],
];

interface Started {
  readonly child: ChildProcess;
  /** The exit code, or the signal that ended the process. */
  readonly ended: Promise<unknown>;
}

async function started(
  directory: string,
  loop: boolean,
  command: readonly string[] = ['inspect', REF],
): Promise<Started> {
  await requireBuild();
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const child = spawn(process.execPath, ['--import', loop ? LOOP : WAIT, ACCEL, ...command, '--plain'], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ACCEL_TEST_PIPE: pipe },
  });
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  let stderr = '';
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  while (!stderr.includes('busy')) await new Promise((resolve) => setTimeout(resolve, 50));
  return { child, ended };
}

test('a signal to the Action while it runs a loop ends it after a moment', async () => {
  let isSent = false;
  const { exitCode, log } = await runStep({
    with: { repository: '127.0.0.1:9/app', tag: '1', plain: 'true' },
    // The only way into that process, which its threads read as well.
    env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(onceHandedOver('for(;;);'))}` },
    onLog: (text, signal) => {
      if (isSent || !text.includes('busy')) return;
      isSent = true;
      signal('SIGTERM');
    },
  });
  expect(isSent, log).toBe(true);
  // Ended by the signal itself: there is no exit code.
  expect(exitCode, log).toBeNull();
});

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

test.each(COMMANDS.map((command) => [command.join(' '), command] as const))(
  '%s: the second signal ends it at once while a loop runs',
  async (_, command) => {
    await withTempDirectory(async (directory) => {
      const { child, ended } = await started(directory, true, command);
      child.kill('SIGINT');
      await new Promise((resolve) => setTimeout(resolve, 300));
      child.kill('SIGINT');
      expect(await ended).toBe('SIGINT');
    });
  },
);
