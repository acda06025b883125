import { describe, expect, it } from 'vitest';
import { specTable, structRows } from '../zfile/testing/spec-table.ts';
import { traceHeader, traceRecord } from './layout.ts';

const README = new URL('README.md', import.meta.url);

describe('formats/prefetch/README.md', () => {
  it('describes the header that the code writes', () => {
    expect(structRows(traceHeader)).toEqual(specTable(README, 'Header of a trace'));
  });

  it('describes the record that the code writes', () => {
    expect(structRows(traceRecord)).toEqual(specTable(README, 'Record of a trace'));
  });
});
