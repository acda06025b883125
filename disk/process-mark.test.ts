import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { MARK_PATTERN, ownIdentity, processMark, stateOfMark } from './process-mark.ts';

const self = ownIdentity();
const whole = new RegExp(`^${MARK_PATTERN}$`);

describe('the mark of a process', () => {
  it('is a part of a file name, the same as long as it runs', () => {
    expect(processMark()).toMatch(whole);
    expect(processMark()).toBe(processMark());
    expect(processMark().length).toBeLessThan(80);
    expect(stateOfMark(processMark())).toBe('alive');
  });

  it('of another process shows whether it is running', async () => {
    const child = spawn('sleep', ['60']);
    await once(child, 'spawn');
    const unknownStart = processMark({ ...self, pid: child.pid!, start: '0' });
    expect(stateOfMark(unknownStart)).toBe('alive');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(stateOfMark(unknownStart)).toBe('gone');
  });

  // Without /proc nobody knows when a process began.
  it.runIf(process.platform === 'linux')('whose number was reused is gone', () => {
    expect(stateOfMark(processMark({ ...self, start: String(Number(self.start) + 1) }))).toBe('gone');
  });

  it('of the first process, which belongs to root, is alive', () => {
    expect(stateOfMark(processMark({ ...self, pid: 1, start: '0' }))).toBe('alive');
  });

  it.each([
    ['another machine', { host: 'ffffffff' }],
    ['another boot', { boot: 'ffffffff' }],
    ['another container', { namespace: '1' }],
  ])('from %s is unknown, though no such process runs here', (_, change) => {
    expect(stateOfMark(processMark({ ...self, ...change, pid: 999_999_999 }))).toBe('elsewhere');
  });
});
