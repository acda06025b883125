import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockAssembler } from './block-assembler.ts';

/** Collects the assembler's output in one array, and the units that came twice or unaligned. */
function collect(unit: number, size: number, feed: (assembler: BlockAssembler) => void) {
  const device = new Uint8Array(size).fill(0xee);
  const problems: string[] = [];
  const seen = new Set<number>();
  const assembler = new BlockAssembler(unit, (offset, bytes) => {
    if (offset % unit !== 0 || bytes.length % unit !== 0) problems.push(`unaligned ${offset}+${bytes.length}`);
    for (let at = offset; at < offset + bytes.length; at += unit) {
      if (seen.has(at)) problems.push(`twice ${at}`);
      seen.add(at);
    }
    device.set(bytes, offset);
  });
  feed(assembler);
  assembler.flush();
  return { device, problems, seen };
}

describe('BlockAssembler', () => {
  it.each([1, 511, 512, 513, 4096, 10_000])('pads %d bytes to whole units', (length) => {
    const { device, problems } = collect(512, 20_480, (assembler) => {
      assembler.seek(1024);
      assembler.write(new Uint8Array(length).fill(7));
    });
    const end = 1024 + Math.ceil(length / 512) * 512;
    expect(problems).toEqual([]);
    expect(device.subarray(1024, 1024 + length).every((byte) => byte === 7)).toBe(true);
    expect(device.subarray(1024 + length, end).every((byte) => byte === 0)).toBe(true);
    expect(device.subarray(end).every((byte) => byte === 0xee)).toBe(true);
  });

  it('lets runs share a unit, with zeros between them, however the bytes are cut', () => {
    const runs = fc.array(
      fc.record({ gap: fc.integer({ min: 0, max: 3000 }), length: fc.integer({ min: 1, max: 3000 }) }),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(runs, fc.constantFrom(512, 4096), fc.integer({ min: 1, max: 700 }), (list, unit, cut) => {
        const size = 65_536;
        const expected = new Uint8Array(size).fill(0xee);
        const touched = new Set<number>();
        let at = 0;
        const placed = list.map(({ gap, length }, index) => {
          at += gap;
          const run = { at, bytes: new Uint8Array(length).fill(index + 1) };
          at += length;
          return run;
        });
        for (const { at: from, bytes } of placed) {
          for (let unitAt = from - (from % unit); unitAt < from + bytes.length; unitAt += unit) touched.add(unitAt);
        }
        for (const unitAt of touched) expected.fill(0, unitAt, unitAt + unit);
        for (const { at: from, bytes } of placed) expected.set(bytes, from);
        const { device, problems } = collect(unit, size, (assembler) => {
          for (const { at: from, bytes } of placed) {
            assembler.seek(from);
            for (let i = 0; i < bytes.length; i += cut) assembler.write(bytes.subarray(i, i + cut));
          }
        });
        expect(problems).toEqual([]);
        expect(Buffer.from(device).equals(Buffer.from(expected))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
