import { describe, expect, it } from 'vitest';
import { specTable, structRows } from '../zfile/testing/spec-table.ts';
import { header64, segment64 } from './layout.ts';

const README = new URL('README.md', import.meta.url);

describe('formats/elf/README.md', () => {
  it.each([
    ['Elf64_Ehdr', header64],
    ['Elf64_Phdr', segment64],
  ])('describes %s as the code reads it', (name, struct) => {
    expect(structRows(struct)).toEqual(specTable(README, name));
  });
});
