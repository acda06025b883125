/**
 * `npm run demo:agent`: five agents on loopback pull one image at the same time from a small registry; one is killed in the middle.
 * Nothing is installed, and nothing is left behind. Prints what the registry sent, and who gave what to whom.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cluster, type ClusterNode, startCluster } from './cluster.ts';
import { type DemoRegistry, startDemoRegistry } from './demo-registry.ts';
import { type MadeImage, writeImageLayout } from './image-layout.ts';

const MIB = 2 ** 20;
const NODES = 5;
/** Node 5 is killed in the second pull. */
const VICTIM = 4;
/** The registry's link: slow enough to see something, in bytes a second. */
const LINK = 16 * MIB;

interface Pull {
  readonly node: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly outcome: 'pulled' | 'killed' | 'wrong bytes';
}

const folder = await mkdtemp(join(tmpdir(), 'accel-demo-'));
let registry: DemoRegistry | undefined;
let cluster: Cluster | undefined;
const cleanUp = async () => {
  await cluster?.close();
  await registry?.close();
  await rm(folder, { recursive: true, force: true });
};
process.once('SIGINT', () => void cleanUp().then(() => process.exit(130)));
try {
  process.exitCode = await main();
} finally {
  await cleanUp();
}

async function main(): Promise<number> {
  console.log(
    `A registry that sends ${LINK / MIB} MiB a second, and ${NODES} agents on 127.0.0.1 with certificates of their own.\n`,
  );
  const first = await writeImageLayout(join(folder, 'first'), [randomBytes(24 * MIB), randomBytes(8 * MIB)]);
  registry = await startDemoRegistry({ layout: join(folder, 'first'), bytesPerSecond: LINK });
  cluster = await startCluster({ size: NODES, upstreams: [{ host: registry.host, plain: true, http: {} }] });
  console.log(`1. All ${NODES} nodes pull an image of ${megabytes(sizeOf(first))} at the same time.`);
  const together = await pullEverywhere(cluster, registry, first);
  await report(cluster, registry, { image: first, pulls: together });
  await cluster.close();
  await registry.close();

  const second = await writeImageLayout(join(folder, 'second'), [randomBytes(24 * MIB), randomBytes(8 * MIB)]);
  registry = await startDemoRegistry({ layout: join(folder, 'second'), bytesPerSecond: LINK });
  cluster = await startCluster({ size: NODES, upstreams: [{ host: registry.host, plain: true, http: {} }] });
  console.log(`\n2. The same with another image, and the agent of node ${VICTIM + 1} is killed in the middle.`);
  const victim = cluster.nodes[VICTIM]!;
  const killing = setTimeout(() => void victim.agent.close(), 1_500);
  const broken = await pullEverywhere(cluster, registry, second);
  clearTimeout(killing);
  await report(cluster, registry, { image: second, pulls: broken });
  console.log(
    `   A container runtime on node ${VICTIM + 1} would go on from the registry: it has both in its list of hosts.`,
  );
  const good = [...together, ...broken.filter(({ node }) => node !== VICTIM)].every(
    ({ outcome }) => outcome === 'pulled',
  );
  console.log(
    good ? '\nEvery byte was checked. Next: docs/agent.md has two nodes in five minutes.' : '\nSomething went wrong.',
  );
  return good ? 0 : 1;
}

function pullEverywhere({ nodes }: Cluster, { host }: DemoRegistry, image: MadeImage): Promise<Pull[]> {
  return Promise.all(nodes.map((node, number) => pullOn(node, { number, host, image })));
}

/** Pulls as a container runtime does: the manifest by its tag, then the layers side by side, each checked. */
async function pullOn(
  { url }: ClusterNode,
  { number, host, image }: { readonly number: number; readonly host: string; readonly image: MadeImage },
): Promise<Pull> {
  const started = performance.now();
  const base = `${url}/v2/team/app`;
  let bytes = 0;
  let outcome: Pull['outcome'] = 'pulled';
  try {
    const manifest = await fetch(`${base}/manifests/latest?ns=${host}`);
    await manifest.arrayBuffer();
    await Promise.all(
      image.layers.map(async ({ digest }) => {
        const got = await fetch(`${base}/blobs/${digest}?ns=${host}`);
        const hash = createHash('sha256');
        for await (const chunk of got.body ?? []) {
          bytes += chunk.length;
          hash.update(chunk);
        }
        if (`sha256:${hash.digest('hex')}` !== digest) outcome = 'wrong bytes';
      }),
    );
  } catch {
    // The connection broke: its agent was killed.
    outcome = 'killed';
  }
  return { node: number, bytes, outcome, seconds: (performance.now() - started) / 1000 };
}

async function report(
  { nodes }: Cluster,
  { blobBytes }: DemoRegistry,
  { image, pulls }: { readonly image: MadeImage; readonly pulls: readonly Pull[] },
): Promise<void> {
  console.log('   node   got        from peers   to peers   from the registry   time     outcome');
  for (const { node, bytes, outcome, seconds } of pulls) {
    const { metrics } = nodes[node]!.agent;
    const [fromPeers, toPeers, fromOrigin] = await Promise.all(
      [metrics.fromPeers, metrics.toPeers, metrics.fromOrigin].map(total),
    );
    const columns = [
      megabytes(bytes).padEnd(10),
      megabytes(fromPeers!).padEnd(12),
      megabytes(toPeers!).padEnd(10),
      megabytes(fromOrigin!).padEnd(19),
    ];
    console.log(
      `   ${String(node + 1).padEnd(6)} ${columns.join(' ')} ${`${seconds.toFixed(1)} s`.padEnd(8)} ${outcome}`,
    );
  }
  const ratio = blobBytes() / sizeOf(image);
  const direct = megabytes(sizeOf(image) * NODES);
  console.log(
    `   The registry sent ${megabytes(blobBytes())}, ${ratio.toFixed(2)} × the image. Without agents: ${direct}, ${NODES} × the image.`,
  );
}

async function total(counter: { get(): Promise<{ values: readonly { value: number }[] }> }): Promise<number> {
  return (await counter.get()).values.reduce((sum, { value }) => sum + value, 0);
}

function sizeOf({ layers }: MadeImage): number {
  return layers.reduce((sum, { size }) => sum + size, 0);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
