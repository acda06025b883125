import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { specTable, structRows } from '../zfile/testing/spec-table.ts';
import { headerStruct, type IndexEntry, readEntry, writeEntry, writePadding } from './layout.ts';

const readme = new URL('README.md', import.meta.url);

describe('formats/lsmt/README.md', () => {
  it('describes the structure that the code writes', () => {
    expect(structRows(headerStruct)).toEqual(specTable(readme, 'Header and trailer'));
  });

  it('describes the entries that the code writes, bit by bit', () => {
    const rows = specTable(readme, 'Index entry');
    expect(rows.reduce((sum, { size }) => sum + size, 0)).toBe(128);
    const entry = fc.record({
      start: fc.integer({ min: 0, max: 2 ** 50 - 2 }),
      length: fc.integer({ min: 0, max: 16_383 }),
      moffset: fc.maxSafeInteger().map((n) => Math.abs(n)),
      zeroed: fc.boolean(),
      tag: fc.nat(255),
    });
    fc.assert(
      fc.property(entry, (value) => {
        const view = new DataView(new ArrayBuffer(24));
        writeEntry(view, 8, value);
        const bits = view.getBigUint64(8, true) | (view.getBigUint64(16, true) << 64n);
        for (const { field, offset, size } of rows) {
          const found = (bits >> BigInt(offset)) & ((1n << BigInt(size)) - 1n);
          expect(found, field).toBe(BigInt(value[field as keyof typeof value]));
        }
        const back: IndexEntry = { start: 0, length: 0, moffset: 0, zeroed: false, tag: 0 };
        expect(readEntry(view, 8, back)).toBe(true);
        expect(back).toEqual(value);
      }),
    );
  });

  it('pads with what the goldens hold', () => {
    const view = new DataView(new ArrayBuffer(16));
    writePadding(view, 0);
    expect([view.getBigUint64(0, true), view.getBigUint64(8, true)]).toEqual([0x0003_ffff_ffff_ffffn, 0n]);
    expect(readEntry(view, 0, { start: 0, length: 0, moffset: 0, zeroed: false, tag: 0 })).toBe(false);
  });
});
