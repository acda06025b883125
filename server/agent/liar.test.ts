/** A node that signs wrong bytes: no client gets them as the whole blob, the next pull is right, and the node is banned. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PIECE_BYTES, pieceBytes, pieceCount } from '../../formats/piece-list/piece-list.ts';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { writeImageLayout } from '../demo/image-layout.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { AgentOptions } from './agent.ts';
import { Attestations, type Voucher } from './pieces/attestation.ts';
import { encodePieceFile } from './pieces/piece-file.ts';

/** Enough pieces that the liar owns some, whatever the ports are. */
const BLOB_BYTES = 12 * PIECE_BYTES + 1;
const LIAR = 1;

let folder: string;
let layer: { readonly digest: string; readonly size: number };
let registry: DemoRegistry;
let cluster: Cluster | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-liar-'));
  layer = (await writeImageLayout(folder, [randomBytes(BLOB_BYTES)])).layers[0]!;
  registry = await startDemoRegistry({ layout: folder });
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

/** Fills a node's cache, before it starts, with pieces that it signs itself and that are not the blob's. */
function poison({ store, identity, self }: AgentOptions, as: Voucher): void {
  const own = join(store.directory, layer.digest.replace(':', '-'));
  mkdirSync(own, { recursive: true });
  for (let index = 0; index < pieceCount(layer.size); index++) {
    const bytes = randomBytes(pieceBytes(layer.size, index));
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const statement = { digest: layer.digest, size: layer.size, index, sha256 };
    const attestation = new Attestations(identity!).sign(statement, as, self.id);
    writeFileSync(join(own, String(index)), Buffer.concat(encodePieceFile({ bytes, sha256, attestation })));
  }
}

/** Pulls through a node: the digest of what came, or `broken` where the connection ended early. */
async function pull(node: number): Promise<string> {
  try {
    const got = await fetch(`${cluster!.nodes[node]!.url}/v2/team/app/blobs/${layer.digest}`);
    const bytes = Buffer.from(await got.arrayBuffer());
    return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  } catch {
    // fetch rejects a body that ends before its announced length.
    return 'broken';
  }
}

async function banned(metrics: AgentMetrics): Promise<number> {
  return (await metrics.banned.get()).values.reduce((sum, { value }) => sum + value, 0);
}

it.each(['owner', 'holder'] as const)('a node that signs wrong bytes as %s', async (as) => {
  cluster = await startCluster({
    size: 2,
    upstreams: [{ host: registry.host, plain: true, http: {} }],
    change: (options, node) => {
      if (node === LIAR) poison(options, as);
      return options;
    },
  });
  expect(await pull(0)).toBe('broken');
  expect(await pull(0)).toBe(layer.digest);
  expect(await banned(cluster.nodes[0]!.agent.metrics)).toBe(1);
});
