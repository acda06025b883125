/** Doctor on nodes with one thing wrong at a time: the check that says so. */

import { randomBytes } from 'node:crypto';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildLayout } from '../../../fixtures/image-builder.ts';
import { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { createAuthority } from '../../certificates/authority.ts';
import { type Cluster, startCluster } from '../../demo/cluster.ts';
import { startDemoRegistry } from '../../demo/demo-registry.ts';
import { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import { serveTelemetry } from '../../telemetry/exposition.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { issueNodeCertificate } from '../certificates.ts';
import { checkDisk } from './check-disk.ts';
import { examineNode } from './doctor.ts';
import type { Check } from './node-check.ts';
import { sumOf } from './probe.ts';
import { RootedFiles } from './rooted-files.ts';
import { setupNode } from './setup.ts';
import { configOf, NodeRoot } from './testing/node-root.ts';

const HOUR = 3_600_000;
let cluster: Cluster;
let telemetry: { readonly url: string; close(): Promise<void> };
/** A registry whose clock is as far ahead as this, in milliseconds. */
let ahead = 0;
const registry = createServer((_, response) => {
  response.sendDate = false;
  response.writeHead(401, { date: new Date(Date.now() + ahead).toUTCString() }).end();
});
let node: NodeRoot;

beforeAll(async () => {
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
  cluster = await startCluster({ size: 3, plain: true, upstreams: [] });
  const metrics = createMetrics('agent');
  telemetry = await serveTelemetry({ host: '127.0.0.1', port: 0, metrics, unready: () => [] });
});
afterEach(() => node.remove());
afterAll(async () => {
  registry.close();
  await cluster.close();
  await telemetry.close();
});

/** The configuration of the cluster's first node. */
function settings(agent: Record<string, unknown> = {}) {
  const [first, ...others] = cluster.nodes;
  return {
    registries: [{ host: `127.0.0.1:${(registry.address() as AddressInfo).port}`, plain: true }],
    agent: {
      listen: new URL(first!.url).host,
      peerListen: first!.id,
      advertise: first!.id,
      peers: { static: [first!, ...others].map(({ id }) => id), plaintext: true },
      cache: { path: '/var/cache/accel', keepFree: 0 },
      ...agent,
    },
    telemetry: { listen: new URL(telemetry.url).host },
  };
}

const CONTAINERD = {
  '/etc/containerd/config.toml': 'version = 2\n',
  '/usr/bin/containerd': {
    text: '#!/bin/sh\ncase "$*" in *dump*) exit 1;; *) echo "containerd x 1.7.1 y";; esac\n',
    mode: 0o755,
  },
};

async function diagnose(values: unknown, isSetUp = true): Promise<readonly Check[]> {
  const config = configOf(values);
  if (isSetUp) await setupNode(config, { root: node.path, restart: false });
  const { checks, ok } = await examineNode(config, { root: node.path });
  expect(ok).toBe(checks.every(({ status }) => status !== 'failed'));
  for (const check of checks)
    if (check.status === 'failed' || check.status === 'warning') expect(check.fix).toBeTruthy();
  return checks;
}

const bad = (checks: readonly Check[]) =>
  checks.filter(({ status }) => status !== 'ok' && status !== 'skipped').map(({ name, status }) => `${status} ${name}`);

it('a node in order', async () => {
  node = await NodeRoot.make(CONTAINERD);
  const checks = await diagnose(settings());
  expect(bad(checks)).toEqual([]);
  expect(checks.find(({ name }) => name === 'peers')?.found).toBe('2 reached, and each reached this node');
  expect(checks.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['disk', 'port of clients', 'config_path of containerd']),
  );
});

it('looking changes nothing', async () => {
  node = await NodeRoot.make(CONTAINERD);
  const before = await node.hash();
  expect(bad(await diagnose(settings(), false))).toEqual(['failed setup', 'failed config_path of containerd']);
  expect(await node.hash()).toBe(before);
});

describe('one thing wrong', () => {
  it.each<[string, string, () => Record<string, unknown>]>([
    ['the agent does not run', 'failed port of clients', () => ({ listen: '127.0.0.1:9' })],
    ['nothing listens for agents', 'failed port of agents', () => ({ peerListen: '127.0.0.1:9' })],
    ['the cache is too large for the disk', 'warning disk', () => ({ cache: { path: '/c', capacity: '900T' } })],
    [
      'no peer answers',
      'failed peers',
      () => ({ peers: { static: ['127.0.0.1:9', cluster.nodes[0]!.id], plaintext: true } }),
    ],
    [
      'one of two peers does not answer',
      'warning peers',
      () => ({ peers: { static: ['127.0.0.1:9', cluster.nodes[1]!.id], plaintext: true } }),
    ],
    ['peers do not know this node', 'failed peers', () => ({ advertise: '127.0.0.1:9' })],
  ])('%s', async (_, expected, change) => {
    node = await NodeRoot.make(CONTAINERD);
    expect(bad(await diagnose(settings(change())))).toEqual([expected]);
  });

  it('a peer cannot connect back', async () => {
    node = await NodeRoot.make(CONTAINERD);
    const pair = await startCluster({ size: 2, plain: true, upstreams: [] });
    const [up, down] = pair.nodes;
    await down!.agent.close();
    const peers = { static: [up!.id, down!.id], plaintext: true };
    const checks = await diagnose(settings({ advertise: down!.id, peers }));
    await pair.close();
    expect(checks.find(({ name }) => name === 'peers')?.found).toMatch(
      `${up!.id} cannot reach this node: connect ECONNREFUSED`,
    );
    expect(bad(checks)).toEqual(['failed peers']);
  });

  it('the clock of the registry is two minutes ahead', async () => {
    node = await NodeRoot.make(CONTAINERD);
    ahead = 120_000;
    const checks = await diagnose(settings());
    ahead = 0;
    expect(bad(checks)).toEqual([expect.stringContaining('failed clock against')]);
  });

  it('the registry is not there', async () => {
    node = await NodeRoot.make(CONTAINERD);
    const checks = await diagnose({ ...settings(), registries: [{ host: '127.0.0.1:9', plain: true }] });
    expect(bad(checks)).toEqual(['failed registry 127.0.0.1:9']);
  });

  it('someone took the agent out of hosts.toml', async () => {
    node = await NodeRoot.make(CONTAINERD);
    const values = settings();
    await setupNode(configOf(values), { root: node.path, restart: false });
    const path = `/etc/containerd/certs.d/${values.registries[0]!.host}/hosts.toml`;
    await writeFile(join(node.path, path), 'server = "https://x"\n');
    const checks = await diagnose(values, false);
    expect(bad(checks)).toEqual(['failed setup']);
    expect(checks.find(({ status }) => status === 'failed')?.found).toContain(path);
  });

  it.each([
    ['it ends soon', 5 * 24 * HOUR, '', 'warning', 'it ends in 4 days'],
    ['it has ended', -HOUR, '', 'failed', 'it ended at'],
    ['it is for another node', 90 * 24 * HOUR, '10.9.9.9:65002', 'failed', 'it is not for 127.0.0.1'],
  ])('the certificate: %s', async (_, left, other, status, found) => {
    node = await NodeRoot.make(CONTAINERD);
    const validity = { from: new Date(Date.now() - 48 * HOUR), to: new Date(Date.now() + left) };
    const authority = await createAuthority('test', { ...validity, to: new Date(Date.now() + 365 * 24 * HOUR) });
    const { cert, key } = await issueNodeCertificate(authority, other || cluster.nodes[0]!.id, validity);
    const file = (name: string) => join(node.path, name);
    await node.add({ '/ca.pem': authority.cert, '/cert.pem': cert, '/key.pem': key });
    const certificates = { caFile: file('ca.pem'), certFile: file('cert.pem'), keyFile: file('key.pem') };
    const checks = await diagnose(settings({ peers: { static: [cluster.nodes[0]!.id], certificates } }));
    expect(checks.find(({ name }) => name === 'certificate')?.found).toContain(found);
    // The cluster of this test speaks in the clear.
    expect(bad(checks)).toEqual([`${status} certificate`, 'failed certificate of the running agent']);
  });

  it.each([
    ['was removed', (folder: string) => rm(folder, { recursive: true }), '/cache does not exist'],
    [
      'was removed and made again',
      (folder: string) => rm(folder, { recursive: true }).then(() => mkdir(folder)),
      '/cache is empty',
    ],
    ['is a file', (folder: string) => rm(folder, { recursive: true }).then(() => writeFile(folder, '')), '/cache is'],
  ])('the folder of the cache %s while the agent runs', async (_, damage, found) => {
    node = await NodeRoot.make(CONTAINERD);
    const layout = join(node.path, 'layout');
    await mkdir(layout);
    await buildLayout(layout, 'latest', [
      { tar: new TarBuilder({ mtime: '1' }).file('a', randomBytes(9_000)).build() },
    ]);
    const images = await startDemoRegistry({ layout });
    const metrics = createMetrics('agent');
    const alone = await startCluster({
      size: 1,
      plain: true,
      upstreams: [{ host: images.host, plain: true, http: {} }],
      change: (options) => ({
        ...options,
        metrics: new AgentMetrics(metrics),
        store: { ...options.store, directory: join(node.path, 'cache') },
      }),
    });
    const [{ agent, url, id }] = alone.nodes as [Cluster['nodes'][0]];
    metrics.document('/api/v1/agent', () => agent.report());
    const exposed = await serveTelemetry({ host: '127.0.0.1', port: 0, metrics, unready: () => [] });
    const config = {
      ...settings({ listen: new URL(url).host, peerListen: id, advertise: id, cache: { path: '/cache', keepFree: 0 } }),
      telemetry: { listen: new URL(exposed.url).host },
    };
    const { layers } = (await (await fetch(`${url}/v2/a/manifests/latest`)).json()) as { layers: { digest: string }[] };
    await (await fetch(`${url}/v2/a/blobs/${layers[0]!.digest}`)).arrayBuffer();
    await expect.poll(async () => (await agent.report()).cache.used).toBeGreaterThan(9_000);
    const disk = async () =>
      (await checkDisk({ config: configOf(config), files: await RootedFiles.open(node.path), canary: undefined }))[0];
    expect(await disk()).toMatchObject({ status: 'ok' });
    await damage(join(node.path, 'cache'));
    expect(await disk()).toMatchObject({
      status: 'failed',
      found: expect.stringContaining(found),
      fix: expect.any(String),
    });
    await exposed.close();
    await alone.close();
    // Without an agent that runs, a folder that is missing is made by the next one.
    if (found.includes('not exist')) expect(await disk()).toMatchObject({ status: 'ok' });
    await images.close();
  });

  it('overlaybd without its snapshotter, with credentials that others can read', async () => {
    node = await NodeRoot.make({
      ...CONTAINERD,
      '/etc/overlaybd/overlaybd.json': '{}',
      '/opt/overlaybd/cred.json': { text: '{"auths": {}}', mode: 0o644 },
    });
    expect(bad(await diagnose(settings()))).toEqual([
      'failed overlaybd snapshotter',
      'warning credentials of overlaybd',
    ]);
    await chmod(join(node.path, '/opt/overlaybd/cred.json'), 0o600);
    const checks = await diagnose(settings());
    expect(checks.find(({ name }) => name === 'credentials of overlaybd')?.found).toContain(
      'has no entry for 127.0.0.1',
    );
  });
});

it('counters are summed over the labels that match', () => {
  const text =
    '# HELP a b\na{kind="mirror",status="200"} 3\na{kind="block",status="200"} 4\na{kind="mirror",status="404"} 1 1700\nab{kind="mirror"} 9\nb 7\n';
  expect([sumOf(text, 'a', 'kind="mirror"'), sumOf(text, 'a'), sumOf(text, 'b')]).toEqual([4, 8, 7]);
});
