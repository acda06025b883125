/** Members of the agents' network from a real API server: slices of its own controller, and agents that pull through each other. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { freePort } from '../../tests/support/loopback.ts';
import { type Agent, startAgent } from '../agent/agent.ts';
import { localAgent } from '../demo/cluster.ts';
import { startDemoRegistry } from '../demo/demo-registry.ts';
import { writeImageLayout } from '../demo/image-layout.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { AgentShare } from './admission/agent-share.ts';
import { type KubeObject, RESOURCES } from './kube/kube-resources.ts';
import type { KubeClient } from './kube.ts';
import { PeerSlices } from './peer-slices.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';
import { ownAddress } from './testing/own-address.ts';

const NAMESPACE = 'accel';
const SERVICE = 'accel-agents';
const USER = 'agent';
const { endpointSlices, nodes, pods, namespaces } = RESOURCES;

describeWithCluster('members from EndpointSlices', { controllers: true, address: true }, () => {
  let cluster: TestCluster;
  let admin: KubeClient;
  let folder: string;
  const open: { close(): Promise<unknown> }[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'accel-slices-'));
    cluster = await startCluster({ controllers: true, users: [USER] });
    admin = await cluster.client();
    for (const name of [NAMESPACE, 'other'])
      await admin.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    // The chart gives an agent this permission, and no more.
    const rbac = 'rbac.authorization.k8s.io';
    const items = [
      {
        apiVersion: `${rbac}/v1`,
        kind: 'Role',
        metadata: { name: 'agent', namespace: NAMESPACE },
        rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] }],
      },
      {
        apiVersion: `${rbac}/v1`,
        kind: 'RoleBinding',
        metadata: { name: 'agent', namespace: NAMESPACE },
        roleRef: { apiGroup: rbac, kind: 'Role', name: 'agent' },
        subjects: [{ kind: 'User', name: USER, apiGroup: rbac }],
      },
    ];
    await apply(items);
  });
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
    for (const resource of [endpointSlices, pods]) {
      const names: string[] = [];
      await admin.list(resource, { namespace: NAMESPACE }, ({ metadata }) => names.push(metadata.name));
      for (const name of names) await admin.remove(resource, { namespace: NAMESPACE, name });
    }
  });
  afterAll(async () => {
    await cluster?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const apply = (items: readonly object[]) =>
    cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });

  interface Surroundings {
    readonly self?: string;
    readonly now?: () => number;
    readonly service?: string;
  }
  async function source({ self = '10.0.0.1:65002', now, service = SERVICE }: Surroundings = {}): Promise<PeerSlices> {
    const slices = await PeerSlices.open({
      kubeconfig: cluster.kubeconfig(USER),
      namespace: NAMESPACE,
      service,
      port: 65002,
      self,
      onRestart: () => undefined,
      log: () => undefined,
      ...(now === undefined ? {} : { now }),
    });
    open.push(slices);
    return slices;
  }
  const read = async (slices: PeerSlices) =>
    [...(await slices.read(AbortSignal.timeout(20_000)))].sort((a, b) => (a.id < b.id ? -1 : 1));
  const slice = (name: string, content: object): KubeObject =>
    ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name, namespace: NAMESPACE, labels: { 'kubernetes.io/service-name': SERVICE } },
      addressType: 'IPv4',
      ...content,
    }) as KubeObject;

  it('are what the slice controller makes of pods: zones, readiness, pods that end', async () => {
    const service = 'of-pods';
    const patchStatus = (kind: string, name: string, status: object) =>
      cluster.kubectl([
        ...['patch', kind, name, '--subresource=status', '--type=merge'],
        ...(kind === 'pod' ? ['-n', NAMESPACE] : []),
        ...['--patch', JSON.stringify({ status })],
      ]);
    const readiness = (name: string, ip: string, ready: boolean) =>
      patchStatus('pod', name, {
        phase: 'Running',
        hostIP: ip,
        podIP: ip,
        podIPs: [{ ip }],
        conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      });
    await apply([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: service, namespace: NAMESPACE },
        spec: {
          clusterIP: 'None',
          publishNotReadyAddresses: true,
          selector: { app: service },
          ports: [{ name: 'peers', port: 65102 }],
        },
      },
    ]);
    for (const [index, zone] of ['a', 'b', 'b'].entries()) {
      const name = `node-${index}`;
      const labels = { 'topology.kubernetes.io/zone': zone };
      await admin.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name, labels } });
      const spec = { nodeName: name, hostNetwork: true, containers: [{ name: 'agent', image: 'accel' }] };
      const metadata = { name: `agent-${index}`, namespace: NAMESPACE, labels: { app: service } };
      await admin.create(pods, { apiVersion: 'v1', kind: 'Pod', metadata, spec } as KubeObject);
      await readiness(`agent-${index}`, `10.0.0.${index + 1}`, index < 2);
    }
    let now = 0;
    const slices = await source({ now: () => now, service });
    const share = new AgentShare(admin, {
      namespace: NAMESPACE,
      service,
      nodeSelector: {},
      share: 0.6,
      log: () => undefined,
      onRestart: () => undefined,
    });
    open.push(share);
    const all = [
      { id: '10.0.0.1:65102', zone: 'a' },
      { id: '10.0.0.2:65102', zone: 'b' },
      { id: '10.0.0.3:65102', zone: 'b' },
    ];
    // One that starts is a member before kubelet finds it ready.
    await eventually(async () => (await read(slices)).length === 3);
    expect(await read(slices)).toEqual(all);
    await eventually(async () => share.figures.nodes === 3 && share.figures.ready === 2);
    expect(share.isEnough).toBe(true);
    now = 59_999;
    expect(await read(slices)).toEqual(all);
    now = 60_000;
    expect(await read(slices)).toEqual(all.slice(0, 2));
    await readiness('agent-2', '10.0.0.3', true);
    await eventually(async () => (await read(slices)).length === 3);
    // The agents' node is down: the share of ready ones is what the webhook goes by.
    await readiness('agent-0', '10.0.0.1', false);
    await readiness('agent-1', '10.0.0.2', false);
    await eventually(async () => !share.isEnough);
    expect(share.figures).toEqual({ nodes: 3, ready: 1 });
    await readiness('agent-0', '10.0.0.1', true);
    await eventually(async () => share.isEnough);
    // Without a kubelet the pod stays, and ends for ever.
    await cluster.kubectl(['delete', 'pod', 'agent-0', '-n', NAMESPACE, '--wait=false']);
    await eventually(async () => (await read(slices)).every(({ id }) => id !== '10.0.0.1:65102'));
  });

  it('of several slices are joined, of one family and of this Service alone', async () => {
    const endpoints = (...list: readonly string[]) => list.map((address) => ({ addresses: [address] }));
    const foreign = slice('foreign', { endpoints: endpoints('10.0.0.9') });
    const made = [
      slice('one', { ports: [{ name: 'peers', port: 1 }], endpoints: endpoints('10.0.0.1', '10.0.0.2') }),
      slice('two', {
        ports: [{ name: 'metrics', port: 2 }],
        endpoints: [
          { addresses: ['10.0.0.3'], hints: { forZones: [{ name: 'c' }] } },
          { addresses: ['10.0.0.4'], zone: 'd', hints: { forZones: [{ name: 'c' }] } },
        ],
      }),
      slice('moved', {
        ports: [{ name: 'peers', port: 1 }],
        endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: true, serving: false } }],
      }),
      slice('six', { addressType: 'IPv6', ports: [{ name: 'peers', port: 1 }], endpoints: endpoints('fd00::1') }),
      { ...foreign, metadata: { ...foreign.metadata, labels: { 'kubernetes.io/service-name': 'other' } } },
      {
        ...slice('elsewhere', { endpoints: endpoints('10.0.0.8') }),
        metadata: { ...foreign.metadata, namespace: 'other' },
      },
    ];
    for (const one of made) await admin.create(endpointSlices, one);
    let now = 0;
    const slices = await source({ now: () => now });
    const four = [
      { id: '10.0.0.1:1', zone: '' },
      { id: '10.0.0.2:1', zone: '' },
      { id: '10.0.0.3:65002', zone: 'c' },
      { id: '10.0.0.4:65002', zone: 'd' },
    ];
    expect(await read(slices)).toEqual(four);
    now = 120_000;
    expect(await read(slices)).toEqual(four);
    expect(await read(await source({ self: '[fd00::7]:65002' }))).toEqual([{ id: '[fd00::1]:1', zone: '' }]);
  });

  it('where nobody is ready are all of them', async () => {
    let now = 0;
    const conditions = { ready: false };
    await admin.create(endpointSlices, slice('one', { endpoints: [{ addresses: ['10.0.0.1'], conditions }] }));
    const slices = await source({ now: () => now });
    expect(await read(slices)).toHaveLength(1);
    now = 600_000;
    expect(await read(slices)).toHaveLength(1);
  });

  it('a thousand of them are known with one list, and a change of one is heard', async () => {
    for (let group = 0; group < 10; group += 1) {
      const endpoints = Array.from({ length: 100 }, (_, index) => ({
        addresses: [`10.1.${group}.${index + 1}`],
        zone: `z${index % 3}`,
        nodeName: `node-${group}-${index}`,
      }));
      await admin.create(
        endpointSlices,
        slice(`group-${group}`, { ports: [{ name: 'peers', port: 65002 }], endpoints }),
      );
    }
    const slices = await source();
    const changes: number[] = [];
    slices.onChange(() => changes.push(1));
    const members = await read(slices);
    expect(members).toHaveLength(1000);
    expect(new Set(members.map(({ zone }) => zone))).toEqual(new Set(['z0', 'z1', 'z2']));
    changes.length = 0;
    await admin.remove(endpointSlices, { namespace: NAMESPACE, name: 'group-3' });
    await eventually(async () => changes.length > 0);
    expect(await read(slices)).toHaveLength(900);
  });

  it('agents pull through each other as nodes come, and go on while the API is away', async () => {
    const host = ownAddress() ?? '';
    const layout = join(folder, 'layout');
    const layers = [5, 7, 3].map((mebibytes) => randomBytes(mebibytes << 20));
    const image = await writeImageLayout(layout, layers);
    const registry = await startDemoRegistry({ layout });
    open.push(registry);
    const agents: { readonly agent: Agent; readonly url: string }[] = [];
    const metrics: ReturnType<typeof createMetrics>[] = [];
    async function addAgent(): Promise<number> {
      const number = agents.length;
      const port = await freePort();
      const self = { id: `${host}:${port}`, zone: '' };
      const members = await source({ self: self.id });
      metrics.push(createMetrics('agent'));
      const agent = await startAgent({
        self,
        upstreams: [{ host: registry.host, plain: true, http: {} }],
        members,
        identity: undefined,
        clients: { host: '127.0.0.1', port: 0 },
        peers: { host, port },
        metrics: new AgentMetrics(metrics[number]!),
        ...localAgent(join(folder, `cache-${number}`)),
      });
      open.push(agent);
      agents.push({ agent, url: `http://127.0.0.1:${agent.addresses.clients.port}` });
      const endpoints = [{ addresses: [host], zone: 'z1', nodeName: `n${number}` }];
      const ports = [{ name: 'peers', port }];
      await admin.create(endpointSlices, slice(`agent-${number}`, { ports, endpoints }));
      return number;
    }
    const figure = async (number: number, name: string) =>
      (await metrics[number]!.registry.getSingleMetric(`accel_agent_${name}`)!.get()).values.reduce(
        (sum, { value }) => sum + value,
        0,
      );
    const seen = (number: number, count: number) => eventually(async () => (await figure(number, 'members')) === count);
    const pull = async (number: number, index: number) => {
      const { url } = agents[number]!;
      const { digest } = image.layers[index]!;
      const got = await fetch(`${url}/v2/team/app/blobs/${digest}?ns=${registry.host}`);
      const bytes = Buffer.from(await got.arrayBuffer());
      expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(digest);
    };
    const [first, second] = [await addAgent(), await addAgent()];
    await Promise.all([seen(first, 2), seen(second, 2)]);
    // Each has the zone that the others see, without having been given one.
    expect((await agents[first]!.agent.report()).zone).toBe('z1');
    /** All nodes pull a layer: the registry gives it once, and the nodes the rest. */
    const pullTogether = async (index: number) => {
      const before = registry.blobBytes();
      await Promise.all(agents.map((_, number) => pull(number, index)));
      expect(registry.blobBytes() - before).toBe(image.layers[index]!.size);
    };
    await pullTogether(0);
    // A third node comes.
    const third = await addAgent();
    await Promise.all([seen(first, 3), seen(second, 3), seen(third, 3)]);
    await pullTogether(1);
    const received = await Promise.all(agents.map((_, number) => figure(number, 'peer_received_bytes_total')));
    expect(received.reduce((sum, bytes) => sum + bytes)).toBe(image.layers[0]!.size + 2 * image.layers[1]!.size);
    // The API goes: the members stay, how old they are shows, and pulls go on through the others.
    await cluster.down();
    const aged = async () => (await figure(third, 'members_age_seconds')) > 1;
    await eventually(aged);
    await pullTogether(2);
    expect(await figure(third, 'members')).toBe(3);
    await cluster.up();
    await addAgent();
    await eventually(async () => (await figure(third, 'members')) === 4);
    expect(await figure(third, 'members_age_seconds')).toBeLessThan(60);
  });
});
