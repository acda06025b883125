/** The next layer is fetched while the one before it is decompressed, by the same threads, and is let go when that fails. */
import { gzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { Ext4Image } from '../../formats/ext4/ext4-image.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import {
  CountingTarget,
  convertWithin,
  request,
  smallTar,
  type TestLayout,
  testLayout,
  threadedTar,
} from '../../tests/support/converter.ts';
import { DEFAULT_ARTIFACT } from '../options.ts';
import type { LayerEngine } from './engines/engine.ts';
import { OpenLayer } from './read-layer.ts';
import { Threads } from './workers/threads.ts';

/** Bytes of zeros: many times what threads decompress ahead, from a blob that is fetched long before. */
const ZEROS = 96 << 20;

let layout: TestLayout | undefined;
afterEach(() => layout?.remove());

/** A layer that is worth threads, and takes longer to apply than to fetch. */
function longTar(): Uint8Array {
  const noise = threadedTar(1).subarray(0, -1024);
  return Buffer.concat([noise, new TarBuilder().file('zeros', new Uint8Array(ZEROS)).build()]);
}

/** An engine that only looks at the bytes of files. */
function observer(onWrite: (bytes: Uint8Array) => void): LayerEngine {
  const nothing = (): void => undefined;
  return {
    ...{ kind: 'full', saturated: false, beginRun: nothing, discard: nothing, metadata: nothing, write: onWrite },
    drain: () => Promise.resolve(),
    finish: () => Promise.reject(new Error('is not finished here')),
    close: () => Promise.resolve(),
  };
}

/** Waits for an abort, and fails then. */
function given(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(signal?.reason);
    if (signal?.aborted) fail();
    else signal?.addEventListener('abort', fail, { once: true });
  });
}

test('the next layer is fetched before the last byte of this one is applied, and takes its threads', async () => {
  const tars = [longTar(), threadedTar(2)];
  const source = new MemoryTarget();
  const [first, second] = tars.map((tar) =>
    source.put('application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(tar, { level: 1 })),
  );
  const threads = new Threads(1);
  const open = (descriptor: Descriptor, after?: Promise<void>): Promise<OpenLayer> =>
    OpenLayer.open({
      ...{ source, descriptor, span: undefined, mustIndex: false, threads, after, signal: undefined },
      onRead: () => undefined,
      onWarning: () => undefined,
    });
  const image = new Ext4Image();
  const job = (tar: Uint8Array) => ({ maxSize: 1 << 28, diffId: digestOf(tar), image });
  try {
    const layer = await open(first!);
    let next: Promise<OpenLayer> | undefined;
    let zeros = 0;
    let wasFetched: boolean | undefined;
    const engine = observer((bytes) => {
      zeros += bytes[0] === 0 ? bytes.length : 0;
      if (zeros >= ZEROS / 2) wasFetched ??= next !== undefined;
    });
    await layer.apply({
      ...job(tars[0]!),
      engines: [engine],
      onFetched() {
        next = open(second!, layer.decompressed);
      },
    });
    expect(wasFetched).toBe(true);
    const { entries } = await (await next!).apply({ ...job(tars[1]!), engines: [], onFetched: () => undefined });
    expect(entries).toBe(2);
    // One that decompresses and its companion: without waiting there would be four.
    expect(threads.started).toBe(2);
  } finally {
    await threads.close();
  }
});

test.each([
  ['plain', 'no answer'],
  ['plain', 'no bytes'],
  ['plain', 'no more bytes'],
  ['flattened', 'no answer'],
  ['flattened', 'no more bytes'],
] as const)('%s, %s for the next layer: after a layer that fails nothing is left open', async (kind, silence) => {
  const zeros = `sha256:${'0'.repeat(64)}`;
  layout = await testLayout([{ tar: longTar(), diffId: zeros }, { tar: threadedTar(2) }, { tar: smallTar(3) }]);
  const target = new CountingTarget(layout.target);
  const open = new Set<number>();
  let layers = 0;
  const fetch = target.fetch.bind(target);
  target.fetch = async (...args) => {
    // Manifests and configs are small.
    if (args[0].size < 100_000) return await fetch(...args);
    const number = layers++;
    open.add(number);
    // Of a later layer nothing more comes: only giving it up ends the wait.
    const silent = () => given(args[1]?.signal).finally(() => open.delete(number));
    if (number > 0 && silence === 'no answer') await silent();
    const blob = (await fetch(...args))[Symbol.asyncIterator]();
    let pieces = silence === 'no bytes' ? 1 : 0;
    return {
      [Symbol.asyncIterator]: () => ({
        async next() {
          if (number > 0 && pieces++ > 0) await silent().finally(() => blob.return?.());
          const piece = await blob.next();
          if (piece.done === true) open.delete(number);
          return piece;
        },
        async return() {
          open.delete(number);
          await blob.return?.();
          return { done: true as const, value: undefined };
        },
      }),
    };
  };
  const artifact = kind === 'plain' ? DEFAULT_ARTIFACT : { ...DEFAULT_ARTIFACT, flattenAbove: 0 };
  await expect(convertWithin(target, request({ workers: 1, artifact }))).rejects.toMatchObject({
    code: 'diff-id-mismatch',
  });
  expect([...open]).toEqual([]);
});
