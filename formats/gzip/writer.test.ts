import { spawnSync } from 'node:child_process';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, it, test } from 'vitest';
import { GzipStream } from './stream.ts';
import { GzipEncoder, gzipDeterministic } from './writer.ts';

/** Content of `kind`: 0 does not shrink, 1 shrinks a little, 2 much. */
function content(length: number, kind: number, seed: number): Uint8Array {
  let state = seed * 2 + 1;
  const mask = [0xff, 0x1f, 0x03][kind]!;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 24) & mask;
  });
}

test('parts of any size, packed or not, are one member that gunzip and accel read back', () => {
  const part = fc.record({
    length: fc.oneof(fc.nat(20), fc.nat(300_000), fc.constantFrom(65_535, 65_536, 131_070)),
    kind: fc.nat(2),
    seed: fc.nat(1000),
    isPacked: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }), (specs) => {
      const parts = specs.map(({ length, kind, seed, isPacked }) => ({ bytes: content(length, kind, seed), isPacked }));
      const whole = Buffer.concat(parts.map(({ bytes }) => bytes));
      const gzip = gzipDeterministic(parts);
      expect(Buffer.compare(gunzipSync(gzip), whole)).toBe(0);
      const out: Buffer[] = [];
      const stream = new GzipStream({ members: 'single', onOutput: (bytes) => out.push(Buffer.from(bytes)) });
      stream.push(gzip);
      expect(stream.finish()).toMatchObject({ members: 1, uncompressedSize: whole.length, padding: 0 });
      expect(Buffer.compare(Buffer.concat(out), whole)).toBe(0);
    }),
    { numRuns: 60 },
  );
});

it.each([false, true])('packed already %s: no time, no name, the same bytes again; gzip -t is content', (isPacked) => {
  const bytes = content(200_000, 1, 7);
  const gzip = gzipDeterministic([{ bytes, isPacked }]);
  expect([...gzip.subarray(0, 10)]).toEqual([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  expect(Buffer.compare(gzipDeterministic([{ bytes, isPacked }]), gzip)).toBe(0);
  expect(spawnSync('gzip', ['-t'], { input: gzip })).toMatchObject({ status: 0 });
});

it('shrinks the parts that are to shrink, and no others', () => {
  const bytes = content(100_000, 2, 3);
  const [stored, packed] = [
    gzipDeterministic([{ bytes, isPacked: true }]),
    gzipDeterministic([{ bytes, isPacked: false }]),
  ];
  expect(stored.length).toBe(100_000 + 10 + 2 * 5 + 5 + 8);
  expect(packed.length).toBeLessThan(40_000);
  expect(
    gzipDeterministic([
      { bytes, isPacked: false },
      { bytes, isPacked: true },
    ]).length,
  ).toBeLessThan(packed.length + 100_020);
});

test.each([0, 1, 65_534, 65_535, 65_536, 200_000])('stores %d bytes in pieces as it stores them whole', (size) => {
  const bytes = Uint8Array.from({ length: size }, (_, i) => i % 251);
  const [whole, parts] = [new GzipEncoder(), new GzipEncoder()];
  const expected = Buffer.concat([...whole.part({ bytes, isPacked: true }), ...whole.end()]);
  const cuts = [0, 1, 40_000, 65_536, 150_000, size].filter((cut) => cut <= size);
  const pieces = cuts.map((from, i) => bytes.subarray(from, cuts[i + 1] ?? from));
  const found = [...Array.from(parts.store(pieces), (block) => block.slice()), ...parts.end()];
  expect(Buffer.concat(found)).toEqual(expected);
});
