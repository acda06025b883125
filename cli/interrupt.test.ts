import { EventEmitter } from 'node:events';
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
