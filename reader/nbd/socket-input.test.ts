import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { ByteInput } from './socket-input.ts';

const content = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 7) % 251));

describe.each([1, 321, 4096])('in chunks of %i', (size) => {
  it('gives exactly what is asked for', async () => {
    const stream = new PassThrough();
    const input = new ByteInput(stream);
    void (async () => {
      for (let at = 0; at < content.length; at += size) {
        if (!stream.write(content.subarray(at, at + size)))
          await new Promise((resolve) => stream.once('drain', resolve));
      }
      stream.end();
    })();
    const pieces: Buffer[] = [];
    for (const length of [1, 28, 4, 20_000, 16, 30_000]) pieces.push(await input.readAll(length));
    await input.skip(19_000);
    pieces.push(await input.readAll(951));
    expect(await input.read(28)).toBeUndefined();
    const expected = Buffer.concat([content.subarray(0, 50_049), content.subarray(69_049)]);
    expect(Buffer.concat(pieces).equals(expected)).toBe(true);
  });
});

it('says so when the stream ends inside of what is asked for', async () => {
  const stream = new PassThrough();
  const input = new ByteInput(stream);
  stream.end(Buffer.alloc(27));
  await expect(input.read(28)).rejects.toMatchObject({ code: 'io-error', found: 27 });
});

it('passes on the error of the stream', async () => {
  const stream = new PassThrough();
  const input = new ByteInput(stream);
  const waiting = input.read(1);
  stream.destroy(new Error('cable'));
  await expect(waiting).rejects.toThrow('cable');
});

it('ends a read that waits when it is stopped', async () => {
  const input = new ByteInput(new PassThrough());
  const waiting = input.read(1);
  input.stop();
  expect(await waiting).toBeUndefined();
});
