import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { abortableInput } from './abortable-input.ts';

async function textOf(input: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of input) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

test('passes everything on', async () => {
  const stream = new PassThrough();
  stream.write('secret');
  stream.end('\n');
  expect(await textOf(abortableInput(stream, new AbortController().signal))).toBe('secret\n');
});

test('an abort ends a read that waits, and closes the stream, also through two limits', async () => {
  const stream = new PassThrough();
  const [user, clock] = [new AbortController(), new AbortController()];
  const reading = textOf(abortableInput(abortableInput(stream, user.signal), clock.signal));
  const reason = new Error('time is over');
  setImmediate(() => clock.abort(reason));
  await expect(reading).rejects.toBe(reason);
  expect(stream.destroyed).toBe(true);
});

test('nothing is read after an abort', async () => {
  const reason = new Error('interrupted');
  await expect(textOf(abortableInput(new PassThrough(), AbortSignal.abort(reason)))).rejects.toBe(reason);
});
