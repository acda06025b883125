/** Removing a large part of the tree is work in steps, so that signals are heard meanwhile; both trees. */
import { expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { SourceTreeBuilder } from '../../verify/source-tree/flatten.ts';
import { TarApplier } from '../ext4/apply-tar.ts';
import { Ext4Image } from '../ext4/ext4-image.ts';
import { GROUP_BYTES } from '../ext4/layout.ts';
import { TarParser } from '../tar/parser.ts';

const FILES = 6000;
/** Of the step that removes most. */
const MOST = 300;

const lower = (): TarBuilder => {
  const tar = new TarBuilder().file('t', 'target').dir('d/').dir('d/sub/');
  for (let i = 0; i < FILES; i++) tar.file(`d/${i % 2 === 0 ? 'sub/' : ''}f${i}`, '');
  return tar;
};

const REMOVALS: readonly (readonly [string, () => TarBuilder, number])[] = [
  ['an opaque whiteout', () => new TarBuilder().opaque('d'), 2],
  ['a whiteout of a directory', () => new TarBuilder().whiteout('d'), 1],
  ['a file in place of a directory', () => new TarBuilder().file('d', 'x'), 2],
  ['a hard link in place of a directory', () => new TarBuilder().link('d', 't'), 1],
];

/** Files before each step and after the last, as the steps of the upper layer go. */
function run(parser: TarParser, tar: Uint8Array, files: () => number): number[] {
  const counts = [files()];
  for (const _ of parser.steps(tar)) counts.push(files());
  parser.end();
  return [...counts, files()];
}

test.each(REMOVALS)('%s of 6000 files goes in steps: conversion', (_, upper, left) => {
  const image = new Ext4Image({ virtualSize: 8 * GROUP_BYTES });
  const sink = { beginRun: () => undefined, write: () => undefined };
  const parser = () => {
    image.beginLayer();
    return new TarParser(new TarApplier(image, sink, () => undefined));
  };
  parser().push(lower().build());
  const counts = run(parser(), upper().build(), () => image.files);
  expect(counts.at(-1)).toBe(left);
  for (const [i, count] of counts.slice(1).entries()) expect(counts[i]! - count).toBeLessThan(MOST);
});

test('an opaque whiteout of 6000 files goes in steps: verification', () => {
  const builder = new SourceTreeBuilder();
  const report = { changed: () => undefined, differs: () => undefined };
  const apply = (tar: TarBuilder): number => {
    const layer = builder.nextLayer(report);
    let steps = 0;
    const parser = new TarParser({
      *entry(entry) {
        const applied = layer.apply(entry);
        if (typeof applied === 'object') yield* applied as Generator<undefined, void>;
      },
      data: () => undefined,
      entryEnd: () => undefined,
    });
    for (const _ of parser.steps(tar.build())) steps++;
    return steps;
  };
  expect(apply(lower())).toBe(0);
  expect(apply(new TarBuilder().opaque('d'))).toBeGreaterThanOrEqual(Math.floor(FILES / MOST));
  expect(builder.finish().child('d')?.names).toEqual([]);
});
