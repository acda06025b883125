/** Agents on loopback pull one image together: what the registry sends, what clients get, and what happens when something breaks. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';

const MIB = 1024 * 1024;
let folder: string;
let image: MadeImage;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-agent-test-'));
  image = await writeImageLayout(folder, [randomBytes(9 * MIB + 1), randomBytes(4 * MIB), randomBytes(100)]);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function pull(url: string, registry: DemoRegistry, headers: Record<string, string> = {}): Promise<string[]> {
  const base = `${url}/v2/team/app`;
  const manifest = await fetch(`${base}/manifests/latest?ns=${registry.host}`, { headers });
  expect(manifest.status).toBe(200);
  await manifest.arrayBuffer();
  return Promise.all(
    image.layers.map(async ({ digest }) => {
      const got = await fetch(`${base}/blobs/${digest}?ns=${registry.host}`, { headers });
      expect(got.status).toBe(200);
      return `sha256:${createHash('sha256')
        .update(Buffer.from(await got.arrayBuffer()))
        .digest('hex')}`;
    }),
  );
}

describe.each([
  ['with certificates', false],
  ['in the clear', true],
])('eight agents pull an image at the same time, %s', (_, plain) => {
  let registry: DemoRegistry;
  let cluster: Cluster;
  beforeAll(async () => {
    registry = await startDemoRegistry({ layout: folder });
    cluster = await startCluster({ size: 8, plain, upstreams: [{ host: registry.host, plain: true, http: {} }] });
  });
  afterAll(async () => {
    await cluster.close();
    await registry.close();
  });

  it('every client gets the right bytes, and the registry sends each blob once', async () => {
    const digests = image.layers.map(({ digest }) => digest);
    const pulled = await Promise.all(cluster.nodes.map(({ url }) => pull(url, registry)));
    for (const layers of pulled) expect(layers).toEqual(digests);
    expect(registry.blobBytes()).toBe(image.layers.reduce((sum, { size }) => sum + size, 0));
  });

  it('a later read of a range costs the registry nothing', async () => {
    const before = registry.blobBytes();
    const { digest } = image.layers[0]!;
    const url = `${cluster.nodes[3]!.url}/dadip2p/http://${registry.host}/v2/team/app/blobs/${digest}`;
    const got = await fetch(url, { headers: { range: 'bytes=3000000-3262143' } });
    expect(got.status).toBe(206);
    expect(got.headers.get('content-range')).toBe(`bytes 3000000-3262143/${9 * MIB + 1}`);
    expect((await got.arrayBuffer()).byteLength).toBe(262_144);
    expect(registry.blobBytes()).toBe(before);
  });
});
