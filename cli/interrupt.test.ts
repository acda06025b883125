import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { handleInterrupts } from './interrupt.ts';
import { captured } from './testing/sample.ts';

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'])('%s asks once; then the system has its way', (signal) => {
  const source = new EventEmitter();
  const controller = new AbortController();
  const stderr = captured();
  const release = handleInterrupts(source, controller, stderr);
  source.emit(signal, signal);
  expect(controller.signal.aborted).toBe(true);
  expect(stderr.text).toContain(`${signal}, cleaning up`);
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) expect(source.listenerCount(name)).toBe(0);
  release();
});

/** A program whose main thread loops without end as soon as another one hears signals. */
const BUSY = `
import { handleInterrupts, watchInterrupts } from ${JSON.stringify(new URL('../dist/cli/interrupt.js', import.meta.url).href)};
const controller = new AbortController();
watchInterrupts(handleInterrupts(process, controller, process.stderr), controller, process.stderr);
const wait = setInterval(() => {
  if (process.listenerCount('SIGTERM') > 0) return;
  clearInterval(wait);
  process.stdout.write('busy', () => {
    for (;;);
  });
}, 10);
`;

/** Whether this Node lets a thread listen: 20 does, 24 does not. */
function hasSignalWrapper(): boolean {
  try {
    return (process as unknown as { binding(name: string): unknown }).binding('signal_wrap') !== undefined;
  } catch {
    return false;
  }
}

it.skipIf(!hasSignalWrapper())('a thread ends a main thread that does not listen', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', BUSY], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  // Whichever comes first: a program that fails is not waited for.
  await Promise.race([once(child.stdout, 'data'), ended]);
  child.kill('SIGTERM');
  expect(await ended).toEqual([null, 'SIGTERM']);
});

/** A program that gets a signal while the thread that will listen starts, and is busy until after that. */
const BUSY_MEANWHILE = `
import { handleInterrupts, watchInterrupts } from ${JSON.stringify(new URL('../dist/cli/interrupt.js', import.meta.url).href)};
const controller = new AbortController();
const release = handleInterrupts(process, controller, process.stderr);
watchInterrupts(release, controller, process.stderr);
// As late as the thread starts, right after it.
setTimeout(() => {
  process.kill(process.pid, 'SIGTERM');
  for (const end = Date.now() + 1500; Date.now() < end; );
  const wait = setInterval(() => {
    if (process.listenerCount('SIGTERM') > 0) return;
    clearInterval(wait);
    process.stdout.write(controller.signal.aborted ? 'heard' : 'lost', () => process.exit());
  }, 10);
}, 500);
`;

it('hears a signal that comes while the thread starts', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', BUSY_MEANWHILE], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  expect(out).toBe('heard');
  expect(err.match(/cleaning up/g)).toHaveLength(1);
});
