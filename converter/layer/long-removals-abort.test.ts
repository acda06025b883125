/** An abort signal ends a layer while a whiteout of it removes a large part of the tree. */
import { expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { Ext4Image } from '../../formats/ext4/ext4-image.ts';
import { digestOf } from '../../oci/digest.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { applyLayer } from '../../verify/source-tree/apply-layer.ts';
import { OpenLayer } from './read-layer.ts';
import { Threads } from './workers/threads.ts';

const FILES = 250_000;

test('of a conversion', async () => {
  const image = new Ext4Image();
  image.beginLayer();
  const attributes = { mode: 0o755, uid: 0, gid: 0, mtime: { seconds: 0, nanoseconds: 0 } };
  const directory = image.create(image.root, 'd', { type: 'directory', attributes });
  for (let i = 0; i < FILES; i++) image.create(directory, `file-${i}`, { type: 'file', attributes });

  const tar = new TarBuilder().opaque('d').build();
  const source = new MemoryTarget();
  const descriptor = source.put('application/vnd.oci.image.layer.v1.tar', tar);
  const interrupt = new AbortController();
  const layer = await OpenLayer.open({
    ...{ source, descriptor, span: undefined, mustIndex: false, threads: new Threads(0), signal: interrupt.signal },
    onRead: () => undefined,
    onWarning: () => undefined,
  });
  let over = false;
  // The first turn of the event loop that finds files removed interrupts: without turns on the way it finds all of them gone.
  const look = (): void => {
    if (image.files <= FILES) interrupt.abort(new Error('enough'));
    else if (!over) setImmediate(look);
  };
  setImmediate(look);
  const job = { maxSize: 1 << 20, diffId: digestOf(tar), image, engines: [], onFetched: () => undefined };
  await expect(layer.apply(job).finally(() => (over = true))).rejects.toThrow('enough');
  expect(image.files).toBeGreaterThan(1);
});

test('of a verification', async () => {
  const interrupt = new AbortController();
  const endless = function* (): Generator<undefined, undefined> {
    for (;;) yield;
  };
  setTimeout(() => interrupt.abort(new Error('enough')), 20);
  const layer = { apply: endless, setContent: () => undefined };
  const options = {
    hashContent: true,
    maxEntries: 10,
    tooMany: () => {
      throw new Error('too many');
    },
    signal: interrupt.signal,
  };
  const tar = async function* (): AsyncGenerator<Uint8Array> {
    yield new TarBuilder().opaque('d').build();
  };
  await expect(applyLayer(tar(), layer, options)).rejects.toThrow('enough');
});
