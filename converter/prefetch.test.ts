import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFiles } from '../reader/files.ts';
import { type AcceleratedImage, openImage } from '../reader/image.ts';
import { readCarriedPrefetch } from '../reader/prefetch/carried.ts';
import { parsePrefetchLines } from '../reader/prefetch/lines.ts';
import { resolvePrefetch } from '../reader/prefetch/resolve.ts';
import { replay } from '../reader/testing/replay.ts';
import { convertWithin, request, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { NOT_UTF8, ODD_NAMES, prefetchLayers } from '../tests/support/prefetch-image.ts';
import type { ConvertEvent } from './events.ts';
import type { ConvertRequest, ConvertResult, PrefetchRequest } from './options.ts';

/** A list of every kind of line that the form `list` can say. */
const PLAIN = ['# a comment', '', '/bin/app', '/usr/bin/current', '/srv/data', '/srv/empty', '/crowd/', '/srv/zer*'];
const ODD = [...ODD_NAMES.map((name) => `/opt/${name}`), Buffer.concat([Buffer.from('/'), NOT_UTF8])];

const FULL = 'base_accelerated';
const INDEXED = 'base_containerd_accelerated';

let layout: TestLayout;
beforeAll(async () => {
  layout = await testLayout(prefetchLayers(), { config: { Cmd: ['/bin/app'] } });
});
afterAll(() => layout.remove());

async function convert(
  prefetch: PrefetchRequest,
  more: Partial<ConvertRequest> = {},
): Promise<{ result: ConvertResult; events: ConvertEvent[] }> {
  const events: ConvertEvent[] = [];
  const wanted = request({ prefetch, force: true, ...more });
  const result = await convertWithin(layout.target, wanted, { onEvent: (event) => events.push(event) });
  return { result, events };
}

/** The image opened anew with room for everything that is read, and what it carries. */
async function open(tag: string): Promise<{ image: AcceleratedImage; trace: Uint8Array }> {
  const image = await openImage(layout.target, tag, { cacheBytes: 1 << 28 });
  const carried = await readCarriedPrefetch(layout.target, image.manifest.layers);
  return { image, trace: carried!.trace };
}

/** Requests that reading every file of a list takes, the look-ups included. */
async function costOf(image: AcceleratedImage, lines: PrefetchRequest['lines']): Promise<number> {
  const { items } = await resolvePrefetch(image.device, parsePrefetchLines(lines));
  const before = image.statistics().requests;
  const files = await openFiles(image);
  for (const { path } of items.flatMap((item) => item.files)) for await (const _ of files.content(path));
  return image.statistics().requests - before;
}

describe('after the replay', () => {
  it.each([
    ['a trace', FULL, 'trace', [...PLAIN, ...ODD]],
    ['a list', INDEXED, 'list', PLAIN],
  ] as const)('of %s reading every file of the list takes no request', async (_name, tag, form, lines) => {
    const { result, events } = await convert({ lines });
    const made = result.tags.find((one) => one.tag === tag)!.manifests[0]!.prefetch!;
    expect(made.form).toBe(form);
    expect(events.filter(({ type }) => type === 'prefetch')).toHaveLength(2);
    const { image, trace } = await open(tag);
    await replay(image, trace);
    expect(await costOf(image, lines)).toBe(0);
    // The judge must see a difference, or it judges nothing.
    expect(await costOf(image, ['/unwanted'])).toBeGreaterThan(0);
  });
});
