/** Conversions of one process on the same threads. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MemoryTarget } from '../oci/memory-target.ts';
import { request, type TestLayout, testLayout, threadedTar } from '../tests/support/converter.ts';
import { convertBetween } from './convert.ts';
import { Threads } from './layer/workers/threads.ts';

const threads = new Threads(2);
let layout: TestLayout;

beforeEach(async () => {
  layout = await testLayout([{ tar: threadedTar(1) }, { tar: threadedTar(2) }]);
});

afterEach(() => layout.remove());

async function digests(shared?: Threads, signal?: AbortSignal): Promise<string[]> {
  const endpoints = { source: layout.target, target: new MemoryTarget(), mountFrom: undefined };
  const context = { ...(shared === undefined ? {} : { threads: shared }), ...(signal === undefined ? {} : { signal }) };
  const { tags } = await convertBetween(endpoints, request({ workers: 2 }), context);
  return tags.map(({ digest }) => digest);
}

it('make the same images at the same time, one after another, and after one that failed', async () => {
  try {
    const expected = await digests();
    expect(await Promise.all([digests(threads), digests(threads), digests(threads)])).toEqual(Array(3).fill(expected));
    const damaged = await testLayout([
      { tar: threadedTar(1) },
      { tar: threadedTar(2), diffId: `sha256:${'0'.repeat(64)}` },
    ]);
    const endpoints = { source: damaged.target, target: new MemoryTarget(), mountFrom: undefined };
    await expect(convertBetween(endpoints, request(), { threads })).rejects.toMatchObject({ code: 'diff-id-mismatch' });
    await damaged.remove();
    const stop = new AbortController();
    const stopped = digests(threads, stop.signal);
    stop.abort(new Error('enough'));
    await expect(stopped).rejects.toThrow();
    expect(await digests(threads)).toEqual(expected);
  } finally {
    await threads.close();
  }
  await expect(digests(threads)).rejects.toMatchObject({ code: 'internal' });
});
