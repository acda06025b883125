import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { passMemoryRejections } from './memory-rejections.ts';

it('passes what Node says about memory, and throws the rest', () => {
  const target = new EventEmitter();
  passMemoryRejections(target as unknown as NodeJS.Process);
  const short = new RangeError(
    'WebAssembly.instantiate(): Out of memory: Cannot allocate Wasm memory for new instance',
  );
  expect(target.emit('unhandledRejection', short)).toBe(true);
  expect(() => target.emit('unhandledRejection', new Error(short.message))).toThrow(short.message);
  expect(() => target.emit('unhandledRejection', new RangeError('no such digit'))).toThrow('no such digit');
});
