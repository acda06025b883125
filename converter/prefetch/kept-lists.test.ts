import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildLayout, type LayerSpec } from '../../fixtures/image-builder.ts';
import { fetchBytes } from '../../oci/content.ts';
import { openLayout } from '../../oci/layout-target.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { readCarriedPrefetch } from '../../prefetch/carried.ts';
import { filesOfTrace } from '../../prefetch/trace-files.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { openFiles } from '../../reader/files.ts';
import { BOTH, convertWithin, request, smallTar, type TestLayout, testLayout } from '../../tests/support/converter.ts';
import type { ConvertEvent } from '../events.ts';
import type { ConvertRequest } from '../options.ts';
import { addPrefetch } from './add-prefetch.ts';

const BEFORE: readonly LayerSpec[] = [{ tar: smallTar(1) }, { tar: smallTar(2) }];
const AFTER: readonly LayerSpec[] = [{ tar: smallTar(1) }, { tar: smallTar(3) }, { tar: smallTar(2) }];
const FULL = BOTH[0]!.tag;

let layout: TestLayout;
beforeEach(async () => {
  layout = await testLayout(BEFORE);
});
afterEach(() => layout.remove());

async function run(options: Partial<ConvertRequest> = {}) {
  const kept: string[] = [];
  const onEvent = (event: ConvertEvent): void => {
    if (event.type === 'prefetch-kept') kept.push(`${event.kind} keeps ${event.lines}`);
    if (event.type === 'prefetch-dropped') kept.push(`${event.kind} drops: ${event.reason}`);
  };
  const target = await openLayout(layout.directory);
  const result = await convertWithin(target, request({ cache: true, ...options }), { onEvent });
  return { kept, upToDate: result.tags.map((tag) => tag.upToDate), warnings: result.warnings, result };
}

/** The files that a tag's image prefetches, and the form. */
async function carried(tag: string): Promise<{ readonly form: string; readonly files: readonly string[] } | undefined> {
  const target = await openLayout(layout.directory);
  const named = await target.resolve(tag);
  const manifest = parseManifest(await fetchBytes(target, named, 1e6), named);
  const content = (await readCarriedPrefetch(target, manifest.layers))?.content;
  if (content === undefined) return undefined;
  if (content.form === 'list') return { form: 'list', files: content.list.kept };
  const image = await openImage(target, named.digest, {});
  const files = await filesOfTrace(image, await openFiles(image), content.reads);
  // A hard link is as good a name.
  return { form: 'trace', files: files.map((file) => file.replace('again', 'text')) };
}

describe.each(['list', 'trace'] as const)('a %s', (format) => {
  const prefetch = { lines: ['/d1/text', '/d2/text'], format };
  const expected = { form: format, files: ['/d1/text', '/d2/text'] };

  it('stays on the image of a new source, and of other options; the same run again finds it up to date', async () => {
    await run({ prefetch });
    expect(await carried(FULL)).toEqual(expected);
    expect(await run()).toMatchObject({ kept: [], upToDate: [true, true] });
    await buildLayout(layout.directory, 'base', AFTER);
    const { kept, warnings } = await run();
    const both = format === 'list' ? ['full keeps 2', 'containerd keeps 2'] : expect.arrayContaining(['full keeps 2']);
    expect(kept).toEqual(both);
    expect(await carried(FULL)).toEqual(expected);
    expect(warnings.filter((text) => text.includes('not in the image'))).toEqual([]);
    expect(await run()).toMatchObject({ kept: [], upToDate: [true, true] });
    await run({ artifact: { ...request().artifact, blockSize: 8192 } });
    expect(await carried(FULL)).toEqual(expected);
    await run({ force: true });
    expect(await carried(FULL)).toEqual(expected);
  });

  it('goes when the caller says so, and is replaced by another one', async () => {
    await run({ prefetch });
    const dropped = await run({ noPrefetch: true });
    expect(dropped.kept).toContain('full drops: as asked for');
    expect(dropped.upToDate[0]).toBe(false);
    expect(await carried(FULL)).toBeUndefined();
    expect(await run()).toMatchObject({ kept: [], upToDate: [true, true] });
    await run({ prefetch });
    const other = await run({ prefetch: { lines: ['/d1/text'], format } });
    expect(other.kept).toEqual([]);
    expect(await carried(FULL)).toEqual({ form: format, files: ['/d1/text'] });
  });

  it('that was put onto one tag alone stays there alone', async () => {
    await run();
    const target = await openLayout(layout.directory);
    await addPrefetch({ target, tagOrDigest: FULL, prefetch });
    expect((await run()).upToDate).toEqual([true, true]);
    await buildLayout(layout.directory, 'base', AFTER);
    expect((await run()).kept).toEqual(['full keeps 2']);
    expect([await carried(FULL), await carried(BOTH[1]!.tag)]).toEqual([expected, undefined]);
  });
});

it('a file that the new image lacks is named in a warning, the others stay', async () => {
  await run({ prefetch: { lines: ['/d1/text', '/d2/text'], format: 'list' } });
  await buildLayout(layout.directory, 'base', [BEFORE[0]!]);
  const { warnings } = await run();
  expect(warnings).toContainEqual(expect.stringContaining('/d2/text'));
  expect(await carried(FULL)).toEqual({ form: 'list', files: ['/d1/text'] });
});

it('without upload the list is resolved on what was converted', async () => {
  await run({ prefetch: { lines: ['/d1/text'], format: 'trace' } });
  await buildLayout(layout.directory, 'base', AFTER);
  const { result } = await run({ noUpload: true, cache: false });
  expect(result.tags[0]!.manifests[0]!.prefetch).toMatchObject({ form: 'trace', files: 1 });
});
