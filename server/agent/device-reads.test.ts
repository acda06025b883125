/** Containers on four nodes start from lazily loaded images, each read through its own agent: the registry sends each piece once. */
import { randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { openFiles } from '../../reader/files.ts';
import { convertedLayout, FULL, INDEXED } from '../../reader/testing/test-images.ts';
import type { TestLayout } from '../../tests/support/converter.ts';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { DeviceClient } from '../demo/device-client.ts';
import { deviceTarget } from '../demo/device-target.ts';

const MIB = 2 ** 20;
const LOGIN = `Basic ${Buffer.from('ann:secret').toString('base64')}`;
/** A program of 5 MiB among 20 MiB that a start does not read. */
const PROGRAM = randomBytes(5 * MIB);
let layout: TestLayout;
let registry: DemoRegistry;
let cluster: Cluster | undefined;

beforeAll(async () => {
  const tar = new TarBuilder()
    .file('data/first', randomBytes(7 * MIB))
    .file('usr/bin/app', PROGRAM)
    .file('data/last', randomBytes(13 * MIB));
  layout = await convertedLayout([
    { tar: tar.build() },
    { tar: new TarBuilder().file('etc/app.conf', 'on=1\n').build() },
  ]);
  registry = await startDemoRegistry({ layout: layout.directory, login: 'ann:secret' });
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});
afterAll(async () => {
  await registry.close();
  await layout.remove();
});

interface Read {
  readonly url: string;
  readonly offset: number;
  readonly bytes: Buffer;
}

/** The reads of a start: recorded once, since unpacking four times in this process would keep the agents waiting. */
async function readsOfStart(tag: string): Promise<readonly Read[]> {
  const reads: Read[] = [];
  const recorder = {
    read: async (url: string, offset: number, length: number) => {
      const whole = await readFile(join(layout.directory, 'blobs/sha256', url.replace(/.*:/, '')));
      const bytes = whole.subarray(offset, offset + length);
      reads.push({ url, offset, bytes });
      return bytes;
    },
  };
  const target = deviceTarget(layout.target, recorder, `http://${registry.host}/v2/team/app/`);
  const files = await openFiles(await openImage(target, tag));
  for (const [path, expected] of [
    ['/usr/bin/app', PROGRAM],
    ['/etc/app.conf', Buffer.from('on=1\n')],
  ] as const) {
    const parts: Uint8Array[] = [];
    for await (const part of files.content(path)) parts.push(Buffer.from(part));
    expect(Buffer.concat(parts).equals(expected)).toBe(true);
  }
  return reads;
}

/** Starts a container on a node: the pieces that its reads lie in, with their bytes. */
async function startContainer(url: string, reads: readonly Read[]): Promise<ReadonlyMap<string, number>> {
  const device = new DeviceClient(`${url}/dadip2p`, LOGIN);
  try {
    for (const { url: blob, offset, bytes } of reads)
      expect((await device.read(blob, offset, bytes.length)).equals(bytes)).toBe(true);
    return await device.pieces;
  } finally {
    device.close();
  }
}

const sum = (pieces: ReadonlyMap<string, number>) => [...pieces.values()].reduce((all, bytes) => all + bytes, 0);

describe.each([FULL, INDEXED])('%s', (tag) => {
  it('four nodes at once cost the registry each piece once, and a later start nothing', async () => {
    cluster = await startCluster({ size: 4, upstreams: [{ host: registry.host, plain: true, http: {} }] });
    const reads = await readsOfStart(tag);
    const before = registry.blobBytes();
    const started = await Promise.all(cluster.nodes.map(({ url }) => startContainer(url, reads)));
    const distinct = new Map(started.flatMap((pieces) => [...pieces]));
    expect(distinct.size).toBeGreaterThan(3);
    // And a byte at most for each blob whose size a node asked for.
    const blobs = new Set([...distinct.keys()].map((piece) => piece.split(' ')[0]));
    const sizes = registry.blobBytes() - before - sum(distinct);
    expect(sizes).toBeGreaterThanOrEqual(0);
    expect(sizes).toBeLessThanOrEqual(4 * blobs.size);
    // The image has more than twice of it.
    expect(sum(distinct)).toBeLessThan(13 * MIB);
    const cold = registry.blobBytes();
    await Promise.all(cluster.nodes.map(({ url }) => startContainer(url, reads)));
    expect(registry.blobBytes()).toBe(cold);
  });
});

it('the question for a size costs the registry a byte, once, and is answered from a piece that is here', async () => {
  cluster = await startCluster({ size: 1, upstreams: [{ host: registry.host, plain: true, http: {} }] });
  const [{ url: first }] = (await readsOfStart(FULL)) as [Read];
  const { size } = await stat(join(layout.directory, 'blobs/sha256', first.replace(/.*:/, '')));
  const whole = await readFile(join(layout.directory, 'blobs/sha256', first.replace(/.*:/, '')));
  const path = `${cluster.nodes[0]!.url}/dadip2p/${first}`;
  const read = async (range: string) => {
    const response = await fetch(path, { headers: { authorization: LOGIN, range: `bytes=${range}` } });
    const bytes = Buffer.from(await response.arrayBuffer());
    return [response.status, response.headers.get('content-range'), bytes.toString('hex')];
  };
  const before = registry.blobBytes();
  for (let time = 0; time < 2; time++)
    expect(await read('0-0')).toEqual([206, `bytes 0-0/${size}`, whole.subarray(0, 1).toString('hex')]);
  expect(registry.blobBytes() - before).toBe(1);
  await read('0-9');
  const withPiece = registry.blobBytes();
  expect(await read('0-0')).toEqual([206, `bytes 0-0/${size}`, whole.subarray(0, 1).toString('hex')]);
  expect(registry.blobBytes()).toBe(withPiece);
  expect((await fetch(path, { headers: { range: 'bytes=0-0' } })).status).toBe(401);
});
