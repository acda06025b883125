/** Agents check the pieces of a layer by the list of hashes that its manifest names. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PIECE_BYTES, pieceListBytes } from '../../formats/piece-list/piece-list.ts';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';

const BYTES = 3 * PIECE_BYTES + 1;

let folder: string;
let registry: DemoRegistry;
let cluster: Cluster;

async function start(pieceLists: boolean): Promise<MadeImage> {
  const image = await writeImageLayout(folder, [randomBytes(BYTES)], { pieceLists });
  registry = await startDemoRegistry({ layout: folder });
  // In the clear nothing but the list says which pieces are right before the blob has ended.
  cluster = await startCluster({ size: 3, plain: true, upstreams: [{ host: registry.host, plain: true, http: {} }] });
  return image;
}

/** Bytes of the layer as a client gets them; those that came before the agent ended the connection, if it did. */
async function pull(node: number, digest: string): Promise<{ readonly bytes: Buffer; readonly ended: boolean }> {
  const base = `${cluster.nodes[node]!.url}/v2/team/app`;
  await (await fetch(`${base}/manifests/latest?ns=${registry.host}`)).arrayBuffer();
  const chunks: Uint8Array[] = [];
  try {
    const got = await fetch(`${base}/blobs/${digest}?ns=${registry.host}`);
    if (got.status !== 200) return { bytes: Buffer.alloc(0), ended: false };
    for await (const chunk of got.body!) chunks.push(chunk as Uint8Array);
    return { bytes: Buffer.concat(chunks), ended: true };
  } catch {
    // The agent ended the connection: the bytes before that are the result.
    return { bytes: Buffer.concat(chunks), ended: false };
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-agent-lists-'));
});
afterEach(async () => {
  await cluster.close();
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

describe('an agent whose manifest names a piece list', () => {
  it('reads the list through its peers and gives every client the blob', async () => {
    const [layer] = (await start(true)).layers;
    const pulled = await Promise.all(cluster.nodes.map((_, node) => pull(node, layer!.digest)));
    for (const { bytes, ended } of pulled) {
      expect(ended).toBe(true);
      expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(layer!.digest);
    }
    expect(registry.blobBytes()).toBe(BYTES + pieceListBytes(BYTES));
  });

  it('does without a list that the registry has removed', async () => {
    const [layer] = (await start(true)).layers;
    for (const name of await readdir(join(folder, 'blobs/sha256'))) {
      const path = join(folder, 'blobs/sha256', name);
      if ((await stat(path)).size === pieceListBytes(BYTES)) await rm(path);
    }
    for (const { bytes, ended } of await Promise.all(cluster.nodes.map((_, node) => pull(node, layer!.digest)))) {
      expect(ended).toBe(true);
      expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(layer!.digest);
    }
  });

  it.each([
    // The registry itself has other bytes than the list: the list is dropped, and the digest of the whole decides.
    ['ends a pull before its end where the registry has other bytes', true],
    ['and without a list sends wrong bytes before the digest of the whole says so', false],
  ])('%s', async (_, pieceLists) => {
    const [layer] = (await start(pieceLists)).layers;
    const path = join(folder, 'blobs', layer!.digest.replace(':', '/'));
    const file = await open(path, 'r+');
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, PIECE_BYTES + 5);
    await file.write(Buffer.of(buffer[0]! ^ 1), 0, 1, PIECE_BYTES + 5);
    await file.close();
    const { bytes, ended } = await pull(0, layer!.digest);
    expect(ended).toBe(false);
    expect(bytes.length).toBeLessThan(BYTES);
  });
});
