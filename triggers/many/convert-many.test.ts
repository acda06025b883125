/** Runs of many images in a layout on disk: each layer once, each image once, and the end of a run that fails or is ended. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { completeRequest, defaultOutputs } from '../../converter/settings.ts';
import { openLayout } from '../../oci/layout-target.ts';
import type { Target } from '../../oci/storage.ts';
import { fileLayer, pushImage, type SmallLayer } from '../../tests/support/many-images.ts';
import { type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { distinctOrders } from './check-orders.ts';
import { convertMany, type ManyOptions } from './convert-many.ts';
import type { ImageOrder, ManyEvent } from './image-orders.ts';
import { TargetPool } from './target-pool.ts';

let scratch: TempDirectory;
let layout: Target;
let base: SmallLayer[];

beforeEach(async () => {
  scratch = await tempDirectory();
  layout = await openLayout(scratch.path, { create: true });
  base = [fileLayer('base', 2000), fileLayer('lib', 1000)];
});
afterEach(() => scratch.remove());

function order(tag: string, more: Partial<ImageOrder> & { readonly out?: string } = {}): ImageOrder {
  const { out, ...rest } = more;
  const repository = `oci:${scratch.path}`;
  const request = completeRequest({
    repository,
    source: { tag },
    outputs: out === undefined ? defaultOutputs(tag) : [{ tag: out, kind: 'full' }],
  });
  return { reference: `${repository}:${tag}`, request, verify: 'off', found: true, places: [`list:${tag}`], ...rest };
}

async function run(orders: readonly ImageOrder[], more: Partial<ManyOptions> = {}) {
  const events: ManyEvent[] = [];
  const pool = new TargetPool({ registry: {}, dryRun: more.dryRun === true });
  try {
    const outcomes = await convertMany(orders, pool, {
      ...{ jobs: 4, failFast: false, dryRun: false, uploads: 4, workers: 0 },
      signal: new AbortController().signal,
      warn: () => undefined,
      ...more,
      onEvent: (event) => {
        events.push(event);
        more.onEvent?.(event);
      },
    });
    const states = Object.fromEntries(outcomes.map((one) => [one.order.reference.split(':').at(-1), one.state]));
    return { outcomes, states, events };
  } finally {
    await pool.close();
  }
}

/** Digests of the layers that were converted, one for each time. */
function converted(events: readonly ManyEvent[]): string[] {
  return events.flatMap((one) =>
    one.type === 'image-event' && one.event.type === 'layer-done' ? [one.event.layer.digest] : [],
  );
}

const tags = ['a', 'b', 'c', 'd', 'e', 'f'];

async function pushSix(): Promise<void> {
  for (const tag of tags) await pushImage(layout, tag, [...base, fileLayer(tag, 500)]);
}

describe('layers and images', () => {
  test('that images share are converted once, whoever comes first', async () => {
    await pushSix();
    const { states, events } = await run(
      tags.map((tag) => order(tag)),
      { jobs: 6 },
    );
    expect(states).toEqual(Object.fromEntries(tags.map((tag) => [tag, 'converted'])));
    const layers = converted(events);
    expect(layers).toHaveLength(2 + tags.length);
    expect(new Set(layers).size).toBe(layers.length);
  });

  test('a second run finds all done, and reads no layer', async () => {
    await pushSix();
    await run(tags.map((tag) => order(tag)));
    const all = [...tags, ...tags.flatMap((tag) => [`${tag}_accelerated`, `${tag}_containerd_accelerated`])];
    const { states, events } = await run(all.map((tag) => order(tag)));
    expect(tags.map((tag) => states[tag])).toEqual(tags.map(() => 'up-to-date'));
    expect(Object.values(states).filter((state) => state === 'skipped')).toHaveLength(2 * tags.length);
    expect(events.filter(({ type }) => type === 'image-event')).toEqual([]);
  });

  test('another option makes an image again', async () => {
    await pushImage(layout, 'a', base);
    await run([order('a')]);
    const again = order('a');
    const { states } = await run([
      { ...again, request: { ...again.request, artifact: { ...again.request.artifact, algorithm: 'lz4' } } },
    ]);
    expect(states).toEqual({ a: 'converted' });
  });

  test('a dry run makes nothing', async () => {
    await pushImage(layout, 'a', base);
    const { outcomes } = await run([order('a')], { dryRun: true });
    expect(outcomes[0]).toMatchObject({
      state: 'due',
      tags: [{ tag: 'a_accelerated' }, { tag: 'a_containerd_accelerated' }],
    });
    await expect(layout.resolve('a_accelerated')).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('failures', () => {
  const broken = (): Promise<string> =>
    pushImage(layout, 'bad', [{ tar: base[0]!.tar, blob: Buffer.from('no layer') }]);

  test('of one leave the others alone', async () => {
    await broken();
    await pushSix();
    const { states, outcomes } = await run(['bad', ...tags].map((tag) => order(tag)));
    expect(states).toEqual({ bad: 'failed', ...Object.fromEntries(tags.map((tag) => [tag, 'converted'])) });
    expect(outcomes[0]!.error!.where.image).toBe(`oci:${scratch.path}:bad`);
  });

  test('end the run with failFast', async () => {
    await broken();
    await pushSix();
    const { states } = await run(
      ['a', 'bad', 'b', 'c'].map((tag) => order(tag)),
      { jobs: 1, failFast: true },
    );
    expect(states).toEqual({ a: 'converted', bad: 'failed', b: 'not-started', c: 'not-started' });
  });

  test('with failFast interrupt what runs beside', async () => {
    await broken();
    await pushImage(layout, 'large', [fileLayer('large', 6_000_000)]);
    const { states } = await run(
      ['large', 'bad', 'a'].map((tag) => order(tag)),
      { jobs: 2, failFast: true },
    );
    expect(states).toEqual({ large: 'interrupted', bad: 'failed', a: 'not-started' });
    await expect(layout.resolve('large_accelerated')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('an interrupt leaves what is done, and says what is not', async () => {
    await pushSix();
    const stop = new AbortController();
    const { states } = await run(
      tags.map((tag) => order(tag)),
      {
        jobs: 1,
        signal: stop.signal,
        onEvent: ({ type }) => (type === 'image-done' ? stop.abort() : undefined),
      },
    );
    expect(states).toEqual({ a: 'converted', ...Object.fromEntries(tags.slice(1).map((tag) => [tag, 'not-started'])) });
  });
});

describe('a list', () => {
  test('names an image twice: it is converted once', () => {
    const orders = distinctOrders([order('a'), order('b'), order('a', { places: ['list:9'] })]);
    expect(orders.map(({ reference, places }) => [reference.split(':').at(-1), places])).toEqual([
      ['a', ['list:a', 'list:9']],
      ['b', ['list:b']],
    ]);
  });

  test.each<[string, () => ImageOrder[], string]>([
    ['two images make one tag', () => [order('a', { out: 'x' }), order('b', { out: 'x' })], 'get the same tag'],
    ['one image makes a tag twice', () => [order('a'), order('a', { out: 'a_accelerated' })], 'get the same tag'],
    ['a result replaces an image', () => [order('a', { out: 'b' }), order('b')], 'by the result of another'],
  ])('%s: refused', (_, orders, message) => expect(() => distinctOrders(orders())).toThrow(message));

  test('with the results of its own images is in order', () => {
    expect(distinctOrders([order('a'), order('a_accelerated')])).toHaveLength(2);
  });
});
