/** Real runtimes pull through what setup wrote, which the agent's counters prove, and directly after cleanup. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { buildLayout } from '../../../fixtures/image-builder.ts';
import { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { type HostProxy, startHostProxy } from '../../../tests/support/host-proxy.ts';
import { describeWith, run } from '../../../tests/support/tools.ts';
import { type Cluster, startCluster } from '../../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../../demo/demo-registry.ts';
import { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import { type Exposition, serveTelemetry } from '../../telemetry/exposition.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { checkCanary } from './canary.ts';
import { cleanupNode } from './cleanup.ts';
import { RootedFiles } from './rooted-files.ts';
import { setupNode } from './setup.ts';
import { configOf, NodeRoot } from './testing/node-root.ts';

const TOOLS = join(
  process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'accel'),
  'tools',
);
const CRICTL = join(TOOLS, 'crictl-1.37.0/crictl');
const CONTAINERD_2 = join(TOOLS, 'containerd-2.4.2');
/** A name that only the agent can reach: through a proxy that leads to the registry. */
const NAMED = 'registry.accel.test';
/** Bytes of the image's one file, which do not compress. */
const SIZE = 50_000;

let folder: string;
let registry: DemoRegistry;
let proxy: HostProxy;
let cluster: Cluster;
let telemetry: Exposition;
const running: ChildProcess[] = [];
const nodes: NodeRoot[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-runtimes-'));
  const tar = new TarBuilder({ mtime: '1700000000' }).file('hello', randomBytes(SIZE)).build();
  await buildLayout(folder, 'latest', [{ tar }]);
  registry = await startDemoRegistry({ layout: folder });
  proxy = await startHostProxy(registry.host);
  const metrics = createMetrics('agent');
  telemetry = await serveTelemetry({ host: '127.0.0.1', port: 0, metrics, unready: () => [] });
  cluster = await startCluster({
    size: 1,
    change: (options) => ({ ...options, metrics: new AgentMetrics(metrics) }),
    upstreams: [
      { host: registry.host, plain: true, http: {} },
      { host: NAMED, plain: true, http: { env: { http_proxy: proxy.url } } },
    ],
  });
});
afterEach(async () => {
  for (const process of running.splice(0)) await stop(process);
  for (const node of nodes.splice(0)) await node.remove();
});
afterAll(async () => {
  await cluster.close();
  await telemetry.close();
  await proxy.stop();
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

const config = (agents = cluster) => {
  const listen = new URL(agents.nodes[0]!.url).host;
  return configOf({ registries: [{ host: registry.host, plain: true }], agent: { listen } });
};

/** Requests that the agent has answered for clients, and bytes. */
async function counted(agents = cluster): Promise<{ readonly requests: number; readonly bytes: number }> {
  const { requests, toClients } = agents.nodes[0]!.agent.metrics;
  const sum = async (counter: typeof requests) =>
    (await counter.get()).values.reduce((total, { value }) => total + value, 0);
  return { requests: await sum(requests), bytes: await sum(toClients) };
}

/** A containerd whose /etc/containerd is the node's. */
async function startContainerd(node: NodeRoot, program: string): Promise<string> {
  const socket = join(node.path, 'run/containerd.sock');
  const script = `mount --bind '${node.path}/etc/containerd' /etc/containerd && exec '${program}' --address '${socket}'`;
  await mkdir(join(node.path, 'run'), { recursive: true });
  running.push(spawn('unshare', ['--mount', 'sh', '-c', script], { stdio: 'ignore' }));
  await run('ctr', ['--address', socket, '--connect-timeout', '60s', 'version']);
  return socket;
}

async function stop(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  process.kill('SIGTERM');
  await once(process, 'exit');
}

async function crictl(socket: string, ...args: string[]): Promise<string> {
  const endpoint = `unix://${socket}`;
  const { stdout } = await run(CRICTL, ['-c', '/dev/null', '-r', endpoint, '-i', endpoint, '-t', '30s', ...args]);
  return stdout.toString('utf8');
}

/** Files of a node with this containerd: all that it writes is below its root. */
async function containerdNode(configPath: string): Promise<NodeRoot> {
  const node = await NodeRoot.make({});
  nodes.push(node);
  await node.add({
    '/etc/containerd/config.toml': [
      'version = 2',
      `root = "${node.path}/root"`,
      `state = "${node.path}/state"`,
      '[grpc]',
      '  address = "/run/containerd.sock"',
      '[plugins."io.containerd.internal.v1.opt"]',
      `  path = "${node.path}/opt"`,
      '[plugins."io.containerd.grpc.v1.cri".containerd]',
      '  snapshotter = "native"',
      '[plugins."io.containerd.grpc.v1.cri".cni]',
      `  conf_dir = "${node.path}/cni"`,
      ...(configPath === ''
        ? []
        : ['[plugins."io.containerd.grpc.v1.cri".registry]', `  config_path = "${configPath}"`]),
      '',
    ].join('\n'),
  });
  return node;
}

describeWith({ tools: ['containerd', 'ctr', 'unshare', 'mount'], root: true }, 'containerd', () => {
  const needed = existsSync(CRICTL) || process.env.CI !== undefined;
  it.runIf(needed).each([
    ['of the system', '', 'containerd', 'ctr'],
    ['2', '', join(CONTAINERD_2, 'containerd'), join(CONTAINERD_2, 'ctr')],
    [
      '2 with two folders',
      '/etc/containerd/certs.d:/etc/docker/certs.d',
      join(CONTAINERD_2, 'containerd'),
      join(CONTAINERD_2, 'ctr'),
    ],
  ])(
    '%s pulls through the agent by CRI and by ctr, and directly after cleanup',
    { timeout: 120_000 },
    async (_, path, program, ctr) => {
      const node = await containerdNode(path);
      // Setup asks the node's containerd for its version.
      const version = `#!/bin/sh\nexec ${program} "$@"\n`;
      await node.add({ '/usr/bin/containerd': { text: version, mode: 0o755 } });
      const before = await node.hash();
      const image = `${registry.host}/team/app:latest`;
      const { problems } = await setupNode(config(), { root: node.path, restart: false });
      expect(problems).toEqual([]);
      const socket = await startContainerd(node, program);
      const start = await counted();
      await crictl(socket, 'pull', image);
      const pulled = await counted();
      expect(pulled.bytes - start.bytes).toBeGreaterThan(SIZE);
      await crictl(socket, 'rmi', image);
      const other = ['--address', socket, '-n', 'other'];
      const hostsDir = join(node.path, 'etc/containerd/certs.d');
      await run(ctr, [...other, 'content', 'fetch', '--hosts-dir', hostsDir, image]);
      expect((await counted()).requests).toBeGreaterThan(pulled.requests);
      await stop(running.pop()!);

      await cleanupNode({ root: node.path, restart: false });
      for (const name of ['root', 'state', 'run', 'opt', 'cni'])
        await rm(join(node.path, name), { recursive: true, force: true });
      expect(await node.hash()).toBe(before);
      const after = await counted();
      const sent = registry.blobBytes();
      await crictl(await startContainerd(node, program), 'pull', image);
      expect(await counted()).toEqual(after);
      expect(registry.blobBytes()).toBeGreaterThan(sent);
    },
  );

  it.runIf(needed)(
    'pulls by the P2P name through the agent, and goes on to the registry when the agent is down',
    { timeout: 120_000 },
    async () => {
      const node = await containerdNode('');
      const listen = new URL(cluster.nodes[0]!.url);
      const named = configOf({ registries: [{ host: NAMED, plain: true }], agent: { listen: listen.host } });
      await setupNode(named, { root: node.path, restart: false });
      const socket = await startContainerd(node, 'containerd');
      const start = await counted();
      await crictl(socket, 'pull', `registry.distributed.accel.test:${listen.port}/team/app:latest`);
      expect((await counted()).bytes - start.bytes).toBeGreaterThan(SIZE);
      expect(proxy.hosts).toContain(NAMED);

      // Nothing listens on the discard port; hosts.toml is read with each pull.
      const dead = configOf({ registries: [{ host: registry.host, plain: true }], agent: { listen: '127.0.0.1:9' } });
      await setupNode(dead, { root: node.path, restart: false });
      const before = await counted();
      await crictl(socket, 'pull', `${registry.host}/team/app:latest`);
      expect(await counted()).toEqual(before);
    },
  );

  it.runIf(needed)('the canary pull of doctor shows whether the agent was asked', async () => {
    const node = await containerdNode('');
    const wrapper = (program: string) => ({ text: `#!/bin/sh\nexec ${program} "$@"\n`, mode: 0o755 });
    await node.add({
      '/usr/bin/containerd': wrapper('containerd'),
      '/usr/bin/ctr': wrapper('ctr'),
      '/usr/bin/crictl': wrapper(CRICTL),
    });
    const examined = async (canary?: string) => ({
      config: configOf({ ...config(), telemetry: { listen: new URL(telemetry.url).host } }),
      files: await RootedFiles.open(node.path),
      canary,
    });
    const image = `${registry.host}/team/app:latest`;
    let socket = await startContainerd(node, 'containerd');
    expect(await checkCanary(await examined())).toMatchObject([{ status: 'skipped' }]);
    expect(await checkCanary(await examined(image))).toMatchObject([
      { name: 'canary pull by crictl', status: 'failed', found: `${image} was pulled, but the agent was not asked` },
    ]);
    await stop(running.pop()!);
    await setupNode(config(), { root: node.path, restart: false });
    socket = await startContainerd(node, 'containerd');
    const checks = await checkCanary(await examined(image));
    expect(checks.map(({ name, status }) => [name, status])).toEqual([
      ['canary pull by crictl', 'ok'],
      ['canary pull by ctr', 'ok'],
    ]);
    // Doctor removes an image that it pulled.
    expect(await crictl(socket, 'images', '-q')).toBe('');
    expect(await checkCanary(await examined(`${registry.host}/team/gone:1`))).toMatchObject([
      { status: 'failed' },
      { status: 'failed' },
    ]);
    // Without a name: an image that the node has.
    await crictl(socket, 'pull', image);
    const [own] = await checkCanary(await examined());
    expect(own).toMatchObject({ status: 'ok', found: expect.stringContaining(image) });
  });
});

describeWith({ tools: ['podman', 'unshare', 'mount'], root: true }, 'podman', () => {
  // containers-image cannot write a port into the path of a mirror: such a registry has to be the agent's only one.
  let alone: Cluster;
  let exposed: Exposition;
  beforeAll(async () => {
    const metrics = createMetrics('agent');
    exposed = await serveTelemetry({ host: '127.0.0.1', port: 0, metrics, unready: () => [] });
    alone = await startCluster({
      size: 1,
      change: (options) => ({ ...options, metrics: new AgentMetrics(metrics) }),
      upstreams: [{ host: registry.host, plain: true, http: {} }],
    });
  });
  afterAll(async () => {
    await alone.close();
    await exposed.close();
  });

  /** Files of a node with podman, on which the registry is plain, as its own entry says. */
  async function podmanNode(): Promise<NodeRoot> {
    const node = await NodeRoot.make({
      '/etc/containers/registries.conf': 'unqualified-search-registries = []\n',
      '/etc/containers/policy.json': '{"default": [{"type": "insecureAcceptAnything"}]}',
      '/etc/containers/registries.conf.d/50-team.conf': `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`,
    });
    nodes.push(node);
    return node;
  }

  it('pulls through the agent, and directly after cleanup', async () => {
    const node = await podmanNode();
    const pull = async (host: string, name: string) => {
      const store = [
        '--root',
        `${node.path}/${name}`,
        '--runroot',
        `${node.path}/${name}-run`,
        '--storage-driver',
        'vfs',
      ];
      const script = `mount --bind '${node.path}/etc/containers' /etc/containers && exec podman ${store.join(' ')} pull -q ${host}/team/app:latest`;
      await run('unshare', ['--mount', 'sh', '-c', script]);
      await rm(join(node.path, name), { recursive: true, force: true });
      await rm(join(node.path, `${name}-run`), { recursive: true, force: true });
    };
    const before = await node.hash();
    const { problems } = await setupNode(config(alone), { root: node.path, restart: false });
    expect(problems).toEqual([]);
    const start = await counted(alone);
    await expect(pull(registry.host, 'through')).resolves.toBeUndefined();
    expect((await counted(alone)).bytes - start.bytes).toBeGreaterThan(SIZE);
    await cleanupNode({ root: node.path, restart: false });
    expect(await node.hash()).toBe(before);
    const after = await counted(alone);
    await pull(registry.host, 'direct');
    expect(await counted(alone)).toEqual(after);
  });

  it('the canary pull of doctor shows whether the agent was asked', async () => {
    const node = await podmanNode();
    const settings = JSON.stringify({ ...config(alone), telemetry: { listen: new URL(exposed.url).host } });
    const child = join(import.meta.dirname, 'testing/canary-pull.ts');
    // Doctor asks podman on the root of the node alone: these mounts make this machine's root one.
    const script = `mount --bind '${node.path}/etc/containers' /etc/containers && exec "$0" "$@"`;
    const canary = async (tag: string): Promise<unknown> => {
      const call = [process.execPath, child, settings, `${registry.host}/team/app:${tag}`];
      const { stdout } = await run('unshare', ['--mount', 'sh', '-c', script, ...call]);
      const checks = JSON.parse(stdout.toString('utf8')) as { name: string }[];
      return checks.find(({ name }) => name === 'canary pull by podman');
    };
    const left = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('accel-doctor-'));
    const before = await left();
    expect(await canary('latest')).toMatchObject({
      status: 'failed',
      found: expect.stringMatching(/but the agent was not asked$/),
    });
    await setupNode(config(alone), { root: node.path, restart: false });
    expect(await canary('latest')).toMatchObject({
      status: 'ok',
      found: expect.stringMatching(/[1-9]\d* requests and [5-9]\d{4} bytes/),
    });
    expect(await canary('gone')).toMatchObject({ status: 'failed', found: expect.stringMatching(/team\/app:gone: /) });
    // Neither images nor folders stay behind.
    expect(await left()).toEqual(before);
  });
});
