/** When a silent process counts as hung: by what the kernel says of real processes, and by the clock for the rest. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { readThread, SIGN_EVERY, SignsOfLife, type ThreadState } from './signs-of-life.ts';

const SILENCE = 4_000;

/** Looks every half second for a minute at a process that gives no sign: when it was found to be hung, and why. */
function lookOn(states: (now: number) => ThreadState | undefined) {
  const signs = new SignsOfLife(SILENCE, 0);
  for (let now = SIGN_EVERY; now <= 60_000; now += SIGN_EVERY) {
    const reason = signs.look(now, () => states(now));
    if (reason !== undefined) return { now, reason };
  }
  return undefined;
}

describe('a process without a sign of life', () => {
  it.each(['T', 't'])('is hung after the silence where the kernel has stopped it (%s)', (state) => {
    expect(lookOn(() => ({ state, processor: 70 }))).toEqual({ now: SILENCE, reason: 'it is stopped' });
  });

  it('is left alone while it waits for a processor', () => {
    expect(lookOn(() => ({ state: 'R', processor: 70 }))).toBeUndefined();
  });

  it('is left alone while it waits for a disk', () => {
    expect(lookOn(() => ({ state: 'D', processor: 70 }))).toBeUndefined();
  });

  it('is left alone where nothing is known of it', () => {
    expect(lookOn(() => undefined)).toBeUndefined();
  });

  it('is left alone while it sleeps and runs in turn', () => {
    expect(lookOn((now) => ({ state: 'S', processor: now / 100 }))).toBeUndefined();
  });

  it('is hung when it sleeps and never runs', () => {
    expect(lookOn(() => ({ state: 'S', processor: 70 }))).toMatchObject({ reason: 'it waits for something for ever' });
  });

  it('is hung when it has used ten seconds of the processor', () => {
    const found = lookOn((now) => ({ state: 'R', processor: now / 2 }));
    expect(found).toEqual({ now: 21_000, reason: 'it runs without an end' });
  });

  it('is left alone when it runs again before the silence is over', () => {
    const stopped = (now: number) => now % SILENCE !== 0;
    expect(lookOn((now) => ({ state: stopped(now) ? 'T' : 'R', processor: 70 }))).toBeUndefined();
  });
});

it('a sign begins the count again', () => {
  const signs = new SignsOfLife(SILENCE, 0);
  for (let now = SIGN_EVERY; now <= 60_000; now += SIGN_EVERY) {
    if (now % 3_000 === 0) signs.sign(now);
    expect(signs.look(now, () => ({ state: 'T', processor: 70 }))).toBeUndefined();
  }
});

it('one who was held up itself does not judge by the time that it missed', () => {
  const signs = new SignsOfLife(SILENCE, 0);
  const look = (now: number) => signs.look(now, () => ({ state: 'T', processor: 70 }));
  expect(look(500)).toBeUndefined();
  expect(look(60_000)).toBeUndefined();
  expect(look(60_500)).toBeUndefined();
});

describe.runIf(process.platform === 'linux')('what the kernel says', () => {
  let child: ChildProcess;
  const start = (code: string) => {
    child = spawn(process.execPath, ['-e', code], { stdio: 'ignore' });
    return child.pid!;
  };
  afterEach(async () => {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  });

  it('distinguishes a stopped process from one that runs again', async () => {
    const pid = start('setInterval(() => undefined, 1000)');
    await sleep(50);
    process.kill(pid, 'SIGSTOP');
    await expect.poll(() => readThread(pid)?.state).toBe('T');
    process.kill(pid, 'SIGCONT');
    await expect.poll(() => readThread(pid)?.state).toBe('S');
  });

  it('counts processor time in milliseconds', async () => {
    const pid = start('for (;;);');
    await expect.poll(() => readThread(pid)?.processor, { interval: 20 }).toBeGreaterThan(300);
    expect(readThread(pid)!.processor).toBeLessThan(60_000);
  });

  it('says nothing of a process that is gone', async () => {
    const pid = start('setInterval(() => undefined, 1000)');
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    expect(readThread(pid)).toBeUndefined();
    start('setInterval(() => undefined, 1000)');
  });
});
