import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { noise, rejects } from './contract.ts';
import { assertDigest, Digester, digestOf, verified } from './digest.ts';

async function* chunks(...list: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* list;
}

async function read(stream: AsyncIterable<Uint8Array>, seen: Uint8Array[] = []): Promise<Buffer> {
  for await (const chunk of stream) seen.push(chunk);
  return Buffer.concat(seen);
}

describe('digests', () => {
  test('of nothing, as everyone knows it', () => {
    expect(digestOf(new Uint8Array(0))).toBe('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });

  test.each([`sha256:${'0'.repeat(64)}`, `sha512:${'f'.repeat(128)}`])('%s is valid', (text) =>
    expect(assertDigest(text)).toBe(text),
  );

  test.each([
    '',
    'sha256',
    'sha256:',
    `sha256:${'0'.repeat(63)}`,
    `sha256:${'0'.repeat(65)}`,
    `sha256:${'G'.repeat(64)}`,
    `sha256:${'A'.repeat(64)}`,
    `sha512:${'0'.repeat(64)}`,
    `sha384:${'0'.repeat(96)}`,
    `constructor:${'0'.repeat(64)}`,
    `sha256:${'0'.repeat(63)}\n`,
    `sha256:../${'0'.repeat(61)}`,
  ])('%j is refused', (text) => {
    expect(() => assertDigest(text)).toThrow(expect.objectContaining({ code: 'reference-invalid' }));
  });

  test('a digester in pieces agrees with the whole', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 500 }), { maxLength: 20 }), (list) => {
        const digester = new Digester('sha512');
        for (const chunk of list) digester.update(chunk);
        const whole = Buffer.concat(list);
        expect(digester.size).toBe(whole.length);
        expect(digester.digest()).toBe(`sha512:${createHash('sha512').update(whole).digest('hex')}`);
        expect(digester.digest()).toMatch(/^sha512:/);
      }),
      { numRuns: 100 },
    );
  });
});

describe('verified', () => {
  const bytes = noise(1000, 1);
  const expected = { digest: digestOf(bytes), size: bytes.length };

  test('passes right content on, in the chunks it came in', async () => {
    const seen: Uint8Array[] = [];
    await read(verified(chunks(bytes.subarray(0, 1), new Uint8Array(0), bytes.subarray(1)), expected), seen);
    expect(seen.map((chunk) => chunk.length)).toEqual([1, 999]);
  });

  test('sha512', async () => {
    const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    expect((await read(verified(chunks(bytes), { digest, size: 1000 }))).length).toBe(1000);
  });

  test.each([
    ['a flipped bit', [bytes.subarray(0, 500), noise(500, 2)], 'digest-mismatch'],
    ['too short', [bytes.subarray(0, 999)], 'size-mismatch'],
    ['nothing', [], 'size-mismatch'],
    ['too long', [bytes, new Uint8Array(1)], 'size-mismatch'],
  ] as const)('%s ends in an error, and the last piece is never passed on', async (_, list, code) => {
    const seen: Uint8Array[] = [];
    const error = await rejects(read(verified(chunks(...list), expected, { layer: 3 }), seen), code);
    expect(error.where).toMatchObject({ layer: 3, digest: expected.digest });
    expect(seen.length).toBeLessThan(Math.max(list.length, 1));
  });

  test('too long is found at once, not at the end of an endless stream', async () => {
    async function* endless() {
      for (;;) yield bytes;
    }
    await rejects(read(verified(endless(), expected)), 'size-mismatch');
  });

  test('a reader that stops early closes the source', async () => {
    let closed = false;
    async function* source() {
      try {
        for (;;) yield bytes.subarray(0, 10);
      } finally {
        closed = true;
      }
    }
    for await (const _ of verified(source(), expected)) break;
    expect(closed).toBe(true);
  });
});
