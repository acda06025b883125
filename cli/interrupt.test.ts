import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { handleInterrupts } from './interrupt.ts';
import { captured } from './testing/sample.ts';

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'])('%s asks once and stops at once the second time', (signal) => {
  const exits: number[] = [];
  const source = Object.assign(new EventEmitter(), { exit: (code: number) => exits.push(code) });
  const controller = new AbortController();
  const stderr = captured();
  const release = handleInterrupts(source, controller, stderr);
  source.emit(signal, signal);
  expect(controller.signal.aborted).toBe(true);
  expect(stderr.text).toContain(`${signal}, cleaning up`);
  expect(exits).toEqual([]);
  source.emit(signal, signal);
  expect(exits).toEqual([130]);
  release();
  expect(source.listenerCount(signal)).toBe(0);
});
