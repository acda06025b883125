/** Labels of nodes at a real API server: agents that say yes or no, fall silent, or go, and labels of administrators. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer as createSocket } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { freePort } from '../../tests/support/loopback.ts';
import { setupNode } from '../agent/node/setup.ts';
import { CONFIG_SCHEMA } from '../config/schema.ts';
import { LABELLED } from './controller/node-labels.ts';
import { type KubeObject, RESOURCES } from './kube/kube-resources.ts';
import type { KubeClient } from './kube.ts';
import { CONTROLLER_USER, controllerRules, startTestController, type TestController } from './testing/controller.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';
import { ownAddress } from './testing/own-address.ts';
import { RELEASE } from './testing/webhook.ts';

const NODE = 'alibabacloud.com/image-accelerate-enabled';
const SERVICE = 'accel-agents';
const { nodes, endpointSlices, namespaces } = RESOURCES;
const FIT = { fit: true, reason: null, checked: new Date().toISOString() };
const UNFIT = { ...FIT, fit: false, reason: 'overlaybd: it is not installed' };

/** An agent, as far as the controller sees one. */
interface StandIn {
  /** The next answers: a report, a status, or nothing at all. */
  word: object | undefined | number | 'hang' | 'large' | 'odd';
  asked: number;
  readonly port: number;
  readonly server: Server;
}

describeWithCluster('labels of nodes', { address: true }, () => {
  let cluster: TestCluster;
  let admin: KubeClient;
  let controller: TestController;
  const host = ownAddress() ?? '';
  const agents = new Map<string, StandIn>();

  beforeAll(async () => {
    cluster = await startCluster({ users: [CONTROLLER_USER] });
    admin = await cluster.client();
    await admin.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: RELEASE } });
    const items = controllerRules([]);
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
  });
  afterEach(async () => {
    await controller?.stop();
    for (const { server } of agents.values()) {
      server.closeAllConnections();
      server.close();
    }
    agents.clear();
    for (const resource of [nodes, endpointSlices]) {
      const names: string[] = [];
      const namespace = resource === nodes ? undefined : RELEASE;
      await admin.list(resource, { namespace }, ({ metadata }) => names.push(metadata.name));
      for (const name of names) await admin.remove(resource, { namespace, name });
    }
  });
  afterAll(() => cluster?.stop());

  const start = async (more: object = {}) => {
    controller = await startTestController(cluster, {
      cluster: { p2p: { agents: { service: SERVICE } }, controller: { askAgentsEvery: '100ms', ...more } },
    });
  };
  const addNode = (name: string, metadata: object = {}) =>
    admin.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name, ...metadata } });
  const addSlice = (name: string, port: number) =>
    admin.create(endpointSlices, {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name, namespace: RELEASE, labels: { 'kubernetes.io/service-name': SERVICE } },
      addressType: 'IPv4',
      ports: [
        { name: 'peers', port: 1, protocol: 'TCP' },
        { name: 'metrics', port, protocol: 'TCP' },
      ],
      // An agent that is not ready yet speaks for its node all the same.
      endpoints: [{ addresses: [host], nodeName: name, conditions: { ready: false } }],
    } as KubeObject);
  /** A node and its agent. */
  async function addAgent(name: string, word: StandIn['word'], metadata?: object): Promise<StandIn> {
    const server = createServer((request, response) => {
      const agent = agents.get(name)!;
      agent.asked += 1;
      expect(request.url).toBe('/api/v1/agent');
      if (agent.word === 'hang') return;
      if (typeof agent.word === 'number') response.writeHead(agent.word);
      if (agent.word === 'large') response.end(JSON.stringify({ ...report(FIT), more: 'x'.repeat(2 << 20) }));
      else if (agent.word === 'odd') response.end('{"schemaVersion": 2, "accelerated": {"fit": true}}');
      else response.end(JSON.stringify(report(agent.word)));
    });
    server.listen(0, host);
    await once(server, 'listening');
    const agent: StandIn = { word, asked: 0, port: (server.address() as AddressInfo).port, server };
    agents.set(name, agent);
    await addNode(name, metadata);
    await addSlice(name, agent.port);
    return agent;
  }
  const report = (word: unknown) => ({ schemaVersion: 1, ...(typeof word === 'object' ? { accelerated: word } : {}) });
  const node = async (name: string) => (await admin.get(nodes, { name })).metadata;
  const hasLabel = (name: string, value: string | undefined) =>
    eventually(async () => {
      expect((await node(name)).labels?.[NODE]).toBe(value);
      return true;
    });
  /** Waits until an agent was asked so many times more. */
  const asked = async (agent: StandIn, times: number) => {
    const before = agent.asked;
    await eventually(async () => agent.asked >= before + times);
  };
  const outcomes = (outcome: string) => controller.figure(`accel_controller_node_labels_total{outcome="${outcome}"}`);

  it('follow what the agents say, at once', async () => {
    const [a, b] = [await addAgent('a', FIT), await addAgent('b', UNFIT)];
    await start();
    await hasLabel('a', 'true');
    expect((await node('a')).annotations).toEqual({ [LABELLED]: 'true' });
    await asked(b, 4);
    await hasLabel('b', undefined);
    expect(await controller.figure('accel_controller_labelled_nodes')).toBe(1);
    [a.word, b.word] = [UNFIT, FIT];
    await hasLabel('b', 'true');
    await hasLabel('a', undefined);
    expect((await node('a')).annotations ?? {}).toEqual({});
    expect([await outcomes('set'), await outcomes('removed'), await outcomes('failed')]).toEqual([2, 1, 0]);
    expect(controller.log.join('\n')).toContain('the node a loses the label');
    expect(controller.log.join('\n')).toContain(UNFIT.reason);
  });

  it.each<[string, StandIn['word'], string]>([
    ['answers nothing', 'hang', 'no answer within 3 s'],
    ['fails', 500, 'it answered 500'],
    ['answers too much', 'large', ''],
    ['answers something else', 'odd', 'no report of an agent'],
    ['does not look at its node any more', undefined, 'its agent does not look at it'],
  ])('go after three questions in a row to an agent that %s', async (_, word, reason) => {
    const agent = await addAgent('a', FIT);
    await start();
    await hasLabel('a', 'true');
    // Two are not enough.
    let left = 2;
    agent.server.prependListener('request', () => {
      if (agent.word !== FIT && left-- === 0) agent.word = FIT;
    });
    agent.word = word;
    await asked(agent, 6);
    expect(agent.word).toBe(FIT);
    expect((await node('a')).labels?.[NODE]).toBe('true');
    expect(await outcomes('removed')).toBe(0);
    left = Number.POSITIVE_INFINITY;
    agent.word = word;
    await hasLabel('a', undefined);
    expect(controller.log.join('\n')).toContain(`loses the label ${NODE}: `);
    expect(controller.log.join('\n')).toContain(reason);
    agent.word = FIT;
    await hasLabel('a', 'true');
  });

  it('go with the agent, and with a connection that is refused', async () => {
    const [a] = [await addAgent('a', FIT), await addAgent('b', FIT)];
    await start();
    await hasLabel('a', 'true');
    await hasLabel('b', 'true');
    a.server.closeAllConnections();
    a.server.close();
    await admin.remove(endpointSlices, { namespace: RELEASE, name: 'b' });
    await hasLabel('a', undefined);
    await hasLabel('b', undefined);
  });

  it('of an administrator stay, whatever the agent says', async () => {
    const own = { labels: { [NODE]: 'true' } };
    const [a, b, c] = [
      await addAgent('a', UNFIT, own),
      await addAgent('b', FIT, { labels: { [NODE]: 'false' } }),
      await addAgent('c', FIT),
    ];
    await start();
    await hasLabel('c', 'true');
    await Promise.all([asked(a, 4), asked(b, 4)]);
    await hasLabel('a', 'true');
    await hasLabel('b', 'false');
    for (const name of ['a', 'b']) expect((await node(name)).annotations ?? {}).toEqual({});
    // One who takes a node out keeps it out, also when the agent changes its mind.
    await cluster.kubectl(['label', '--overwrite', 'node', 'c', `${NODE}=false`]);
    await eventually(async () => (await node('c')).annotations?.[LABELLED] === undefined);
    c.word = UNFIT;
    await asked(c, 3);
    await hasLabel('c', 'false');
  });

  it('are set on a node that comes later or is made again', async () => {
    const agent = await addAgent('a', FIT);
    await start();
    await hasLabel('a', 'true');
    await admin.remove(nodes, { name: 'a' });
    await asked(agent, 0);
    await addNode('a');
    await hasLabel('a', 'true');
    await addAgent('late', FIT);
    await hasLabel('late', 'true');
    expect(await outcomes('failed')).toBe(0);
  });

  it('go on after the API server was away, with what the agents said meanwhile', async () => {
    const [a, b] = [await addAgent('a', FIT), await addAgent('b', UNFIT)];
    await start();
    await hasLabel('a', 'true');
    await cluster.down();
    [a.word, b.word] = [UNFIT, FIT];
    await asked(a, 2);
    await cluster.up();
    await eventually(async () => (await node('a')).labels?.[NODE] === undefined);
    await eventually(async () => (await node('b')).labels?.[NODE] === 'true');
  });

  it('outlive the controller, and go where labelling is switched off', async () => {
    await addAgent('a', FIT);
    await addAgent('b', FIT, { labels: { [NODE]: 'true' } });
    await start();
    await hasLabel('a', 'true');
    await controller.stop();
    await hasLabel('a', 'true');
    await start({ labelNodes: false });
    await hasLabel('a', undefined);
    await hasLabel('b', 'true');
  });

  it('follow a real agent: its snapshotter starts and ends', async () => {
    const root = join(cluster.folder, 'node');
    const socket = join(root, 'run/overlaybd.sock');
    const files = {
      'etc/containerd/config.toml': 'version = 2\n[proxy_plugins.overlaybd]\n  address = "/run/overlaybd.sock"\n',
      'etc/overlaybd/overlaybd.json': '{}',
      'opt/overlaybd/cred.json': '{"auths": {}}',
      'run/none': '',
    };
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), text, { mode: 0o600 });
    }
    const port = await freePort();
    const file = join(cluster.folder, 'agent.json');
    const agent = {
      listen: `127.0.0.1:${await freePort()}`,
      peerListen: `127.0.0.1:${await freePort()}`,
      cache: { path: join(cluster.folder, 'cache') },
      keepSockets: false,
      nodeCheck: { root, every: '1s' },
    };
    const content = { registries: [{ host: 'registry.example.com' }], agent, telemetry: { listen: `${host}:${port}` } };
    await writeFile(file, JSON.stringify(content));
    await setupNode(CONFIG_SCHEMA.parse(content), { root, restart: false });
    const snapshotter = createSocket((client) => client.end());
    snapshotter.listen(socket);
    await once(snapshotter, 'listening');
    const script = fileURLToPath(new URL('./testing/run-role.ts', import.meta.url));
    const child = spawn(process.execPath, [script, 'agent', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    const lines: string[] = [];
    child.stderr.setEncoding('utf8').on('data', (text: string) => lines.push(text));
    try {
      await addNode('real');
      await addSlice('real', port);
      await start();
      await hasLabel('real', 'true').catch((error: Error) => {
        throw new Error(`${error.message}\n${lines.join('')}`);
      });
      snapshotter.close();
      await hasLabel('real', undefined);
      expect(controller.log.join('\n')).toContain('its socket /run/overlaybd.sock does not exist');
    } finally {
      child.kill('SIGKILL');
      snapshotter.close();
    }
  });
});
