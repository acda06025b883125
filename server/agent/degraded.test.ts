/** An agent that serves, and says what does not work: no other agent accepts it, its certificate has ended, its disk has gone. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { createAuthority } from '../certificates/authority.ts';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { startDemoRegistry } from '../demo/demo-registry.ts';
import { writeImageLayout } from '../demo/image-layout.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { serveTelemetry } from '../telemetry/exposition.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { issueNodeCertificate } from './certificates.ts';

const HOUR = 3_600_000;
let cluster: Cluster | undefined;
let folder: string | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

const value = async ({ registry }: Metrics, name: string) =>
  (await registry.getSingleMetric(`accel_agent_${name}`)!.get()).values[0]?.value;

it.each([
  ['of another authority', HOUR, true],
  ['that has ended', -HOUR, false],
])('a certificate %s: once in the log, in the report, the metrics and /readyz', async (_, left, isOther) => {
  const validity = { from: new Date(Date.now() - 2 * HOUR), to: new Date(Date.now() + left) };
  const good = { ...validity, to: new Date(Date.now() + HOUR) };
  const [ours, theirs] = [await createAuthority('ours', good), await createAuthority('theirs', good)];
  const log: string[][] = [[], []];
  const metrics = [createMetrics('agent'), createMetrics('agent')];
  const certificates = async (node: number, id: string) => ({
    ca: ours.cert,
    ...(await issueNodeCertificate(node === 0 && isOther ? theirs : ours, id, node === 0 ? validity : good)),
  });
  // Their ports are known when they start: the first start finds them.
  const ids: string[] = [];
  const first = await startCluster({ size: 2, plain: true, upstreams: [] });
  ids.push(...first.nodes.map(({ id }) => id));
  await first.close();
  const identities = await Promise.all(ids.map((id, node) => certificates(node, id)));
  const members = { name: 'test', read: async () => ids.map((id) => ({ id, zone: '' })) };
  cluster = await startCluster({
    size: 2,
    upstreams: [],
    change: (options, node) => ({
      ...options,
      self: { id: ids[node]!, zone: '' },
      peers: { host: '127.0.0.1', port: Number(ids[node]!.split(':')[1]) },
      members,
      identity: identities[node],
      watchEvery: 50,
      metrics: new AgentMetrics(metrics[node]!),
      log: (line) => void log[node]!.push(line),
    }),
  });
  const [bad, fine] = cluster.nodes.map(({ agent }) => agent);
  const lonely = expect.stringMatching(/^peers: no other agent can be reached, 127\.0\.0\.1:\d+: .+ may not accept/);
  const ended = expect.stringMatching(/^certificate: it ended at /);
  await expect.poll(() => bad!.degraded()).toEqual(isOther ? [lonely] : [lonely, ended]);
  const report = await bad!.report();
  expect(report.unready).toBeNull();
  expect(report.peers).toEqual([{ node: ids[1], lastError: expect.any(String), at: expect.any(String) }]);
  expect(await value(metrics[0]!, 'alone')).toBe(1);
  expect(await value(metrics[0]!, 'unreached_members')).toBe(1);
  expect(await value(metrics[0]!, 'certificate_end_seconds')).toBe(Math.floor(validity.to.getTime() / 1000));
  expect(await value(metrics[1]!, 'refused_handshakes_total')).toBeGreaterThan(0);
  // The one that refuses is as alone, and says whom it refuses and why.
  await expect.poll(() => fine!.degraded()).toEqual([expect.stringMatching(/^peers: /)]);
  const count = (node: number, text: string) => log[node]!.filter((line) => line.includes(text)).length;
  expect([count(0, 'no other agent can be reached'), count(1, 'was refused')]).toEqual([1, 1]);
});

it('a disk that has gone, until it is back', async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-degraded-'));
  const { layers } = await writeImageLayout(folder, [randomBytes(10_000)]);
  const registry = await startDemoRegistry({ layout: folder });
  const metrics = createMetrics('agent');
  let directory = '';
  cluster = await startCluster({
    size: 1,
    upstreams: [{ host: registry.host, plain: true, http: {} }],
    change: (options) => {
      directory = options.store.directory;
      return {
        ...options,
        metrics: new AgentMetrics(metrics),
        store: { ...options.store, retryAfter: 100 },
      };
    },
  });
  const { agent, url } = cluster.nodes[0]!;
  expect(agent.degraded()).toEqual([]);
  await rm(directory, { recursive: true });
  await writeFile(directory, '');
  expect((await fetch(`${url}/v2/a/blobs/${layers[0]!.digest}`)).status).toBe(200);
  await expect.poll(() => agent.degraded()).toEqual([expect.stringMatching(/^cache: /)]);
  expect((await agent.report()).degraded).toEqual(agent.degraded());
  expect(await value(metrics, 'cache_off')).toBe(1);
  const exposition = await serveTelemetry({
    host: '127.0.0.1',
    port: 0,
    metrics,
    unready: () => [],
    degraded: () => agent.degraded(),
  });
  const ready = await fetch(`${exposition.url}/readyz`);
  expect([ready.status, await ready.text()]).toEqual([200, expect.stringMatching(/^ok\ndegraded: cache: .+\n$/)]);
  await exposition.close();
  await rm(directory);
  await expect.poll(() => agent.degraded()).toEqual([]);
  expect(await value(metrics, 'cache_off')).toBe(0);
  await registry.close();
});
