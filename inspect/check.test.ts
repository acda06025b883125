import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { renderInspect } from '../cli/inspect-report.ts';
import { LAYER_RECORD } from '../formats/overlaybd/annotations.ts';
import { REF_NAME } from '../oci/image-names.ts';
import { openLayout } from '../oci/layout-target.ts';
import { BOTH, convertWithin, request, smallTar, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { type InspectReport, inspectReference } from './inspect-reference.ts';

const [FULL, INDEX] = BOTH.map(({ tag }) => tag) as [string, string];

let layout: TestLayout;
beforeEach(async () => {
  layout = await testLayout([{ tar: smallTar(1) }, { tar: smallTar(2) }]);
  await convertWithin(layout.target, request({ cache: true }));
});
afterEach(() => layout.remove());

async function check(tag: string): Promise<InspectReport> {
  return inspectReference(await openLayout(layout.directory), tag, { check: true });
}

const outcomes = async (tag: string): Promise<string[]> =>
  ((await check(tag)).check ?? []).map(({ severity, what }) => `${severity}: ${what.replace(/sha256:\w+/g, 'DIGEST')}`);

const remove = (digest: string): Promise<void> => rm(join(layout.directory, 'blobs', ...digest.split(':')));

/** Takes the tag of the base away; its blobs stay. */
async function untag(): Promise<void> {
  const file = join(layout.directory, 'index.json');
  const index = JSON.parse(await readFile(file, 'utf8'));
  index.manifests = index.manifests.filter(
    (entry: { annotations?: Record<string, string> }) => entry.annotations?.[REF_NAME] !== 'base',
  );
  await writeFile(file, JSON.stringify(index));
}

it('all is there', async () => {
  expect([await outcomes(FULL), await outcomes(INDEX), await outcomes('base')]).toEqual([[], [], []]);
  expect(renderInspect({ reference: 'x', ...(await check(FULL)) })).toContain('all that it needs is there');
});

it('nothing names the base: the index-only image will break, the full one does not need it', async () => {
  await untag();
  expect(await outcomes(INDEX)).toEqual(['will-break: nothing names its base DIGEST any more']);
  expect(await outcomes(FULL)).toEqual([]);
  const text = renderInspect({ reference: 'x', ...(await check(INDEX)) });
  expect(text).toContain('will break at the next garbage collection: nothing names its base');
});

it('the manifest of the base is gone', async () => {
  await remove((await layout.target.resolve('base')).digest);
  await untag();
  expect(await outcomes(INDEX)).toEqual(['will-break: its base DIGEST is gone']);
  expect(await outcomes(FULL)).toEqual([]);
});

it('a layer of the base is gone', async () => {
  const { images } = await check('base');
  await remove(images[0]!.layers[1]!.digest);
  expect(await outcomes(INDEX)).toEqual(['broken: the layer of the base under layer 2, DIGEST, is gone']);
  expect(await outcomes(FULL)).toEqual([]);
});

it('a layer of its own is gone', async () => {
  const { images } = await check(FULL);
  await remove(images[0]!.layers[0]!.digest);
  expect(await outcomes(FULL)).toEqual(['broken: layer 1 of 2, DIGEST, is gone']);
});

it('the record of layers is named by what it is', async () => {
  const report = await check(LAYER_RECORD.tag);
  expect(report).toMatchObject({ accelerated: false, images: [], check: [] });
  expect(report.artifact?.record).toEqual({ full: 2, indexOnly: 2, notIndexable: 0, withCode: 0 });
  expect(renderInspect({ reference: 'x', ...report })).toContain(
    "accel's record of converted layers, no image: 4 entries (2 full, 2 index-only, 0 that cannot be indexed)",
  );
});
