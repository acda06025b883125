import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { describeWith, run } from '../../tests/support/tools.ts';
import { specTable, structRows } from '../zfile/testing/spec-table.ts';
import {
  direntHeader,
  extentHeader,
  extentIndex,
  extentLeaf,
  groupDescriptor,
  indexCountLimit,
  indexEntry,
  indexRootInfo,
  inodeStruct,
  superblock,
  xattrEntry,
  xattrHeader,
} from './layout.ts';
import { SMALL, withImage } from './testing/image-box.ts';

const README = new URL('README.md', import.meta.url);

test.each([
  ['Superblock', superblock],
  ['Group descriptor', groupDescriptor],
  ['Inode', inodeStruct],
  ['Extent header', extentHeader],
  ['Extent leaf entry', extentLeaf],
  ['Extent index entry', extentIndex],
  ['Attribute block header', xattrHeader],
  ['Attribute entry', xattrEntry],
  ['Directory entry', direntHeader],
  ['Directory index info', indexRootInfo],
  ['Directory index entry', indexEntry],
  ['Directory index count', indexCountLimit],
])('README.md describes the structure that the code writes: %s', (heading, struct) => {
  expect(structRows(struct)).toEqual(specTable(README, heading));
});

describeWith({ tools: ['dumpe2fs'] }, 'README.md', () => {
  test('lists the features that dumpe2fs finds', async () => {
    await withImage(SMALL, async (box) => {
      box.layer(new TarBuilder());
      const { stdout } = await run('dumpe2fs', ['-h', box.path]);
      const found = /Filesystem features:\s+(.*)/.exec(stdout.toString())![1]!.trim().split(' ');
      const lines = readFileSync(README, 'utf8').split('## Features')[1]!.split('##')[0]!.split('\n');
      const listed = lines.map((line) => /^\| `(\w+)`/.exec(line)?.[1]).filter((name) => name !== undefined);
      expect(listed.sort()).toEqual(found.sort());
    });
  });
});
