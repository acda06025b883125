import { describe, expect, it } from 'vitest';
import { zfileStruct } from './layout.ts';
import { specTable, structRows } from './testing/spec-table.ts';

describe('formats/zfile/README.md', () => {
  it('describes the structure that the code writes', () => {
    expect(structRows(zfileStruct)).toEqual(specTable(new URL('README.md', import.meta.url), 'Header and trailer'));
  });
});
