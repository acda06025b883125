import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockAssembler } from './block-assembler.ts';

/** Collects the assembler's output in one array, and the units that came twice or unaligned. */
function collect(unit: number, size: number, feed: (assembler: BlockAssembler) => void) {
  const device = new Uint8Array(size).fill(0xee);
  const problems: string[] = [];
  const seen = new Set<number>();
  const assembler = new BlockAssembler(unit, (offset, bytes, zeros) => {
    const end = offset + bytes.length + zeros;
    if (offset % unit !== 0 || end % unit !== 0 || zeros >= unit) problems.push(`unaligned ${offset} to ${end}`);
    for (let at = offset; at < end; at += unit) {
      if (seen.has(at)) problems.push(`twice ${at}`);
      seen.add(at);
    }
    device.set(bytes, offset);
    device.fill(0, offset + bytes.length, end);
  });
  feed(assembler);
  assembler.flush();
  return { device, problems, seen };
}

describe('BlockAssembler', () => {
  it.each(
    [1, 511, 512, 513, 4096, 10_000].flatMap((length) => [
      { length, ends: false, cut: length },
      { length, ends: true, cut: length },
      { length, ends: true, cut: 300 },
    ]),
  )('pads $length bytes in pieces of $cut to whole units (their end is known: $ends)', ({ length, ends, cut }) => {
    const { device, problems } = collect(512, 20_480, (assembler) => {
      assembler.seek(1024, ends ? length : 0);
      const bytes = new Uint8Array(length).fill(7);
      for (let i = 0; i < length; i += cut) assembler.write(bytes.subarray(i, i + cut));
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

  it('copies nothing of a file that comes in one piece, whose end is known', () => {
    const file = new Uint8Array(5000).fill(7);
    const emitted: Uint8Array[] = [];
    const assembler = new BlockAssembler(4096, (_, bytes) => emitted.push(bytes));
    assembler.seek(8192, file.length);
    assembler.write(file);
    expect(emitted).toEqual([file]);
    expect(emitted[0]!.buffer).toBe(file.buffer);
  });
});
