/** Setup and cleanup on the files of nodes: what each runtime gets, and that everything comes back. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'smol-toml';
import { afterEach, describe, expect, it } from 'vitest';
import { cleanupNode } from './cleanup.ts';
import { type NodeReport, setupNode } from './setup.ts';
import { configOf, type NodeFiles, NodeRoot } from './testing/node-root.ts';

const CONFIG = configOf({ registries: [{ host: 'registry.example.com' }, { host: 'docker.io' }], agent: {} });
const AGENT = 'http://127.0.0.1:65001';

const CONTAINERD_V2 = `# kept by hand
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "pause:3.6"   # with a comment
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""
      [plugins."io.containerd.grpc.v1.cri".registry.headers]
`;
const CONTAINERD_V3 = `version = 3
imports = ["conf.d/*.toml"]

[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'native'
`;
const OVERLAYBD = `{
    // the device's log
    "logConfig": { "logLevel": 1, "logPath": "/var/log/overlaybd.log" },
    "cacheConfig": {
        "cacheType": "file",
        "cacheSizeGB": 4.0
    },
    "ioEngine": 0
}
`;
const FOREIGN_HOSTS = `server = "https://registry.example.com"

# the company's mirror
[host."https://mirror.example.com"]
  capabilities = ["pull"]
  ca = "mirror.pem"
`;

/** Where a node starts, and what setup has to have done. */
interface State {
  readonly files: NodeFiles;
  readonly check?: (node: NodeRoot, report: NodeReport) => Promise<void> | void;
}

const hosts = (host: string) => `/etc/containerd/certs.d/${host}/hosts.toml`;
const hostOrder = async (node: NodeRoot, path: string) =>
  Object.keys((parse(await node.read(path)) as { host: Record<string, unknown> }).host);

const STATES: Readonly<Record<string, State>> = {
  'nothing is installed': {
    files: { '/etc/hostname': 'node\n' },
    check: (_, report) => expect(report).toMatchObject({ changes: [], problems: [], restarts: [] }),
  },
  'containerd 1 with its defaults written out': {
    files: { '/etc/containerd/config.toml': { text: CONTAINERD_V2, mode: 0o640, owner: 1234 } },
    check: async (node, { restarts }) => {
      const text = await node.read('/etc/containerd/config.toml');
      expect(parse(text)).toMatchObject({
        plugins: { 'io.containerd.grpc.v1.cri': { registry: { config_path: '/etc/containerd/certs.d' } } },
      });
      expect(text).toContain('sandbox_image = "pause:3.6"   # with a comment\n');
      expect(await hostOrder(node, hosts('registry.example.com'))).toEqual([AGENT]);
      expect(parse(await node.read(hosts('registry.example.com')))).toMatchObject({
        server: 'https://registry.example.com',
        host: { [AGENT]: { capabilities: ['pull', 'resolve'], dial_timeout: '200ms' } },
      });
      expect(parse(await node.read(hosts('docker.io')))).toMatchObject({ server: 'https://registry-1.docker.io' });
      expect(parse(await node.read(hosts('registry.distributed.example.com:65001')))).toMatchObject({
        server: 'https://registry.example.com',
      });
      expect(restarts.map(({ service }) => service)).toEqual(['containerd']);
    },
  },
  'containerd 2, with the section in an imported file': {
    files: {
      '/etc/containerd/config.toml': CONTAINERD_V3,
      '/etc/containerd/conf.d/a.toml':
        "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/srv/certs'\n",
      '/etc/containerd/conf.d/b.toml': 'version = 2\n[debug]\nlevel = "info"\n',
    },
    check: async (node) => {
      expect(await hostOrder(node, '/srv/certs/registry.example.com/hosts.toml')).toEqual([AGENT]);
      // The transfer service had no folder.
      expect(parse(await node.read('/etc/containerd/config.toml'))).toMatchObject({
        plugins: { 'io.containerd.transfer.v1.local': { config_path: '/srv/certs' } },
      });
      expect(await node.read('/etc/containerd/conf.d/a.toml')).not.toContain('accel');
    },
  },
  'containerd 2 without a configuration': {
    files: { '/usr/bin/containerd': { text: '#!/bin/sh\necho "containerd x v2.4.2 y"\n', mode: 0o755 } },
    check: async (node) => {
      expect(parse(await node.read('/etc/containerd/config.toml'))).toEqual({
        version: 3,
        plugins: {
          'io.containerd.cri.v1.images': { registry: { config_path: '/etc/containerd/certs.d' } },
          'io.containerd.transfer.v1.local': { config_path: '/etc/containerd/certs.d' },
        },
      });
    },
  },
  'several folders in config_path, which containerd 2.1 reads as one': {
    files: {
      '/usr/bin/containerd': { text: '#!/bin/sh\necho "containerd x v2.1.0 y"\n', mode: 0o755 },
      '/etc/containerd/config.toml': CONTAINERD_V2.replace('""', '"/etc/containerd/certs.d:/etc/docker/certs.d"'),
    },
    check: async (node, { notes }) => {
      expect(notes.join()).toContain('reads as one folder');
      expect(parse(await node.read('/etc/containerd/config.toml'))).toMatchObject({
        plugins: { 'io.containerd.grpc.v1.cri': { registry: { config_path: '/etc/containerd/certs.d' } } },
      });
    },
  },
  'several folders in config_path, which containerd 1.7 splits': {
    files: {
      '/usr/bin/containerd': { text: '#!/bin/sh\necho "containerd x 1.7.1 y"\n', mode: 0o755 },
      '/etc/containerd/config.toml': CONTAINERD_V2.replace('""', '"/etc/containerd/certs.d:/etc/docker/certs.d"'),
      '/etc/docker/certs.d/registry.example.com/ca.crt': 'PEM',
    },
    check: async (node) => {
      expect(await node.read('/etc/containerd/config.toml')).not.toContain('accel');
      // The first folder that containerd finds, and the authority that it took from there by itself.
      expect(parse(await node.read('/etc/docker/certs.d/registry.example.com/hosts.toml'))).toMatchObject({
        ca: ['/etc/docker/certs.d/registry.example.com/ca.crt'],
      });
    },
  },
  'foreign mirrors for the registry, for all registries, and for a port': {
    files: {
      '/etc/containerd/config.toml': CONTAINERD_V2.replace('""', '"/etc/containerd/certs.d"'),
      [hosts('registry.example.com')]: { text: FOREIGN_HOSTS, mode: 0o600 },
      [hosts('_default')]: '[host."https://everything.example.com"]\n  ca = "all.pem"\n',
      [hosts('registry.distributed.example.com_65001_')]: '[host."https://port.example.com"]\n',
    },
    check: async (node, { restarts }) => {
      expect(await hostOrder(node, hosts('registry.example.com'))).toEqual([AGENT, 'https://mirror.example.com']);
      expect(await node.read(hosts('registry.example.com'))).toContain(
        '# the company\'s mirror\n[host."https://mirror.example.com"]',
      );
      expect(await hostOrder(node, hosts('docker.io'))).toEqual([AGENT, 'https://everything.example.com']);
      expect(await node.read(hosts('docker.io'))).toContain('"/etc/containerd/certs.d/_default/all.pem"');
      expect(await hostOrder(node, hosts('registry.distributed.example.com_65001_'))).toEqual([
        AGENT,
        'https://port.example.com',
      ]);
      expect(restarts).toEqual([]);
    },
  },
  'mirrors of the old form, which containerd refuses beside config_path': {
    files: {
      '/etc/containerd/config.toml': `${CONTAINERD_V2}      [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\n        endpoint = ["https://x"]\n`,
    },
    check: (_, { changes, problems }) => {
      expect(changes).toEqual([]);
      expect(problems.join()).toContain('registry.mirrors');
    },
  },
  'podman and CRI-O, with a mirror of their own': {
    files: {
      '/usr/bin/crio': '',
      '/etc/containers/registries.conf': 'unqualified-search-registries = ["docker.io"]\n',
      '/etc/containers/registries.conf.d/10-team.conf':
        '[[registry]]\nprefix = "registry.example.com/team"\nlocation = "registry.example.com/team"\n[[registry.mirror]]\nlocation = "mirror.example.com"\n',
    },
    check: async (node, { restarts }) => {
      const { registry } = parse(await node.read('/etc/containers/registries.conf.d/zzz-accel-agent.conf')) as never;
      expect(registry).toEqual([
        {
          prefix: 'registry.example.com',
          location: 'registry.example.com',
          mirror: [{ location: '127.0.0.1:65001/registry.example.com', insecure: true }],
        },
        {
          prefix: 'registry.example.com/team',
          location: 'registry.example.com/team',
          mirror: [
            { location: '127.0.0.1:65001/registry.example.com/team', insecure: true },
            { location: 'mirror.example.com' },
          ],
        },
        {
          prefix: 'docker.io',
          location: 'docker.io',
          mirror: [{ location: '127.0.0.1:65001/docker.io', insecure: true }],
        },
      ]);
      expect(restarts).toMatchObject([{ service: 'crio', action: 'reload' }]);
    },
  },
  'Docker, with a mirror': {
    files: {
      '/etc/docker/daemon.json': '{\n\t"registry-mirrors": ["https://mirror.example.com"],\n\t"log-level": "warn"\n}\n',
    },
    check: async (node, { notes }) => {
      const text = await node.read('/etc/docker/daemon.json');
      expect(JSON.parse(text)).toEqual({
        'registry-mirrors': [AGENT, 'https://mirror.example.com'],
        'log-level': 'warn',
      });
      expect(text).toContain('\n\t"log-level": "warn"\n}\n');
      expect(notes.join()).toContain('dockerd pulls from registry.example.com directly');
    },
  },
  'overlaybd, with comments and numbers': {
    files: { '/etc/overlaybd/overlaybd.json': { text: OVERLAYBD, mode: 0o400 } },
    check: async (node, { restarts }) => {
      const text = await node.read('/etc/overlaybd/overlaybd.json');
      expect(text.startsWith(OVERLAYBD.slice(0, OVERLAYBD.indexOf('"ioEngine": 0') + 13))).toBe(true);
      expect(JSON.parse(text.replace(/\/\/.*/, ''))).toMatchObject({
        p2pConfig: { enable: true, address: `${AGENT}/dadip2p` },
      });
      expect(text).toMatch(/\n {4}"p2pConfig": \{\n {8}"enable": true,\n/);
      expect(restarts).toMatchObject([{ service: 'overlaybd-tcmu' }]);
    },
  },
  'overlaybd, with P2P switched off': {
    files: {
      '/etc/overlaybd/overlaybd.json': '{"a":1e2,"p2pConfig":{"enable":false,"address":"https://localhost:1/x"}}',
    },
    check: async (node) => {
      const text = await node.read('/etc/overlaybd/overlaybd.json');
      expect(text).toBe(`{"a":1e2,"p2pConfig":{"enable":true,"address":"${AGENT}/dadip2p"}}`);
    },
  },
  'files without write permission': {
    files: {
      '/etc/containerd/config.toml': { text: CONTAINERD_V2, mode: 0o444 },
      [hosts('registry.example.com')]: { text: FOREIGN_HOSTS, mode: 0o400, owner: 7 },
      '/etc/containerd': { folder: 0o555 },
    },
  },
  'configurations behind links, absolute and relative ones': {
    files: {
      '/data/containerd.toml': CONTAINERD_V2,
      '/etc/containerd/config.toml': { link: '/data/containerd.toml' },
      '/data/certs/.keep': '',
      '/etc/containerd/certs.d': { link: '../../../../../../../../../../data/certs' },
      '/etc/overlaybd/overlaybd.json': { link: '../../data/not-yet.json' },
      '/data/not-yet.json': OVERLAYBD,
    },
    check: async (node) => {
      expect(await node.read('/data/containerd.toml')).toContain('accel-agent');
      expect(await node.read('/data/not-yet.json')).toContain('p2pConfig');
      expect(existsSync(join(node.path, '/data/certs/registry.example.com/hosts.toml'))).toBe(true);
    },
  },
};

describe.each(Object.entries(STATES))('%s', (_, { files, check }) => {
  it('is set up, set up again without a change, and restored byte for byte', async () => {
    const node = await made(files);
    const before = await node.hash();
    const report = await setupNode(CONFIG, { root: node.path, restart: false });
    await check?.(node, report);
    const after = await node.hash();
    const again = await setupNode(CONFIG, { root: node.path, restart: false });
    expect(again.changes).toEqual([]);
    expect(await node.hash()).toBe(after);
    await cleanupNode({ root: node.path, restart: false });
    expect(await node.hash()).toBe(before);
    expect((await cleanupNode({ root: node.path, restart: false })).changes).toEqual([]);
  });
});

it('the names that the cluster gives to registries lead to the agent, too', async () => {
  const node = await made({ '/etc/containerd/config.toml': CONTAINERD_V2 });
  const config = configOf({
    registries: [{ host: '10.0.0.1:5000', plain: true }],
    cluster: { p2p: { hosts: { '10.0.0.1:5000': 'agents.test:65001' } } },
  });
  await setupNode(config, { root: node.path, restart: false });
  expect(parse(await node.read(hosts('agents.test:65001')))).toMatchObject({
    server: 'http://10.0.0.1:5000',
    host: { [AGENT]: {} },
  });
});

const EVERYTHING: NodeFiles = {
  '/etc/containerd/config.toml': { text: CONTAINERD_V2, mode: 0o640, owner: 1234 },
  [hosts('registry.example.com')]: FOREIGN_HOSTS,
  '/etc/containers/registries.conf': 'unqualified-search-registries = ["docker.io"]\n',
  '/data/daemon.json': '{}',
  '/etc/docker/daemon.json': { link: '/data/daemon.json' },
  '/etc/overlaybd/overlaybd.json': OVERLAYBD,
};

describe('killed in the middle', () => {
  const REGISTRIES = { registries: [{ host: 'registry.example.com' }] };
  const FILES: NodeFiles = {
    '/etc/containerd/config.toml': { text: CONTAINERD_V2, mode: 0o640, owner: 1234 },
    '/etc/overlaybd/overlaybd.json': { text: OVERLAYBD, mode: 0o400 },
  };
  /** Memory takes no time to sync, which each change does several times. */
  const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : undefined;
  type Command = 'setup' | 'cleanup';
  /** Runs a command that changes nothing from its change of this number on, 0 for none; its number of changes. */
  async function stopped(command: Command, node: NodeRoot, stopAt: number): Promise<number> {
    let count = 0;
    const before = () => {
      count++;
      // From here on each change fails, as if the process were gone: nothing that it does about the error reaches the disk.
      if (stopAt > 0 && count >= stopAt) throw new Error('the process has ended');
    };
    const request = { root: node.path, restart: false, before };
    const work = command === 'setup' ? setupNode(configOf(REGISTRIES), request) : cleanupNode(request);
    if (stopAt === 0) await work;
    else await work.catch(() => undefined);
    return count;
  }
  const KILLED = join(import.meta.dirname, 'testing/killed-setup.ts');
  /** The same in a process that kills itself before that change. */
  const killed = (command: Command, node: NodeRoot, killAt: number) =>
    expect(
      promisify(execFile)(process.execPath, [KILLED, command, node.path, String(killAt), JSON.stringify(REGISTRIES)]),
    ).rejects.toMatchObject({ signal: 'SIGKILL' });

  it('before any of its changes, setup is completed by setup and undone by cleanup, and so is cleanup', async () => {
    const untouched = await made(FILES, MEMORY);
    const before = await untouched.hash();
    const counts = { setup: await stopped('setup', untouched, 0), cleanup: 0 };
    const whole = await withoutJournal(untouched);
    counts.cleanup = await stopped('cleanup', untouched, 0);
    expect(await untouched.hash()).toBe(before);
    // Half of them between the journal and a file, the rest within the journal and within a replacement.
    expect(counts.setup).toBeGreaterThan(25);
    expect(counts.cleanup).toBeGreaterThan(15);
    const request = (node: NodeRoot) => ({ root: node.path, restart: false });
    for (const command of ['setup', 'cleanup'] as const) {
      for (let at = 1; at <= counts[command]; at++) {
        const node = await made(FILES, MEMORY);
        if (command === 'cleanup') await setupNode(configOf(REGISTRIES), request(node));
        // A few die by a real SIGKILL, and leave what a stopped one leaves.
        if (at % 12 === 5) {
          const twin = await made(FILES, MEMORY);
          if (command === 'cleanup') await setupNode(configOf(REGISTRIES), request(twin));
          await Promise.all([killed(command, node, at), stopped(command, twin, at)]);
          expect(await withoutTimes(twin), `${command} ${at}`).toEqual(await withoutTimes(node));
        } else await stopped(command, node, at);
        if (at % 2 === 0) {
          await setupNode(configOf(REGISTRIES), request(node));
          expect(await withoutJournal(node), `${command} ${at}`).toBe(whole);
        }
        await cleanupNode(request(node));
        expect(await node.hash(), `${command} ${at}`).toBe(before);
      }
    }
  });
});

describe('changed by hand since', () => {
  it('only ours is taken out of each file, which is said', async () => {
    const node = await made(EVERYTHING);
    await setupNode(CONFIG, { root: node.path, restart: false });
    const edit = async (path: string, change: (text: string) => string) =>
      writeFile(join(node.path, path), change(await node.read(path)));
    await edit('/etc/containerd/config.toml', (text) => `${text}\n[debug]\n  level = "debug"\n`);
    await edit(hosts('registry.example.com'), (text) => text.replace('"pull"]\n  ca', '"pull", "resolve"]\n  ca'));
    await edit(hosts('docker.io'), (text) => `${text}\n[host."https://late.example.com"]\n`);
    await edit('/data/daemon.json', (text) => text.replace('{', '{ "debug": true,'));
    await edit('/etc/overlaybd/overlaybd.json', (text) => text.replace('"logLevel": 1', '"logLevel": 0'));
    await rm(join(node.path, hosts('registry.distributed.example.com:65001')));
    const { changes } = await cleanupNode({ root: node.path, restart: false });
    expect(await node.read('/etc/containerd/config.toml')).toBe(`${CONTAINERD_V2}\n[debug]\n  level = "debug"\n`);
    expect(await node.read(hosts('registry.example.com'))).toBe(FOREIGN_HOSTS.replace('"pull"]', '"pull", "resolve"]'));
    expect(await node.read(hosts('docker.io'))).toBe('\n[host."https://late.example.com"]\n');
    expect(JSON.parse(await node.read('/data/daemon.json'))).toEqual({ debug: true });
    expect(await node.read('/etc/overlaybd/overlaybd.json')).toBe(OVERLAYBD.replace('"logLevel": 1', '"logLevel": 0'));
    const noted = changes.filter(({ note }) => note?.includes('changed since setup')).map(({ path }) => path);
    expect(noted.sort()).toEqual(
      [
        '/data/daemon.json',
        hosts('docker.io'),
        hosts('registry.example.com'),
        '/etc/containerd/config.toml',
        '/etc/overlaybd/overlaybd.json',
      ].sort(),
    );
    expect(existsSync(join(node.path, '/var'))).toBe(false);
  });

  it('setup after it keeps the change, and cleanup after that too', async () => {
    const node = await made(EVERYTHING);
    await setupNode(CONFIG, { root: node.path, restart: false });
    const path = join(node.path, '/etc/containerd/config.toml');
    await writeFile(path, (await readFile(path, 'utf8')).replace('pause:3.6', 'pause:3.9'));
    await setupNode(CONFIG, { root: node.path, restart: false });
    expect(await readFile(path, 'utf8')).toContain('pause:3.9');
    await cleanupNode({ root: node.path, restart: false });
    expect(await readFile(path, 'utf8')).toBe(CONTAINERD_V2.replace('pause:3.6', 'pause:3.9'));
  });
});

it('a registry that is no longer configured loses its entries, a new port replaces the old one', async () => {
  const node = await made(EVERYTHING);
  await setupNode(CONFIG, { root: node.path, restart: false });
  const config = configOf({ registries: [{ host: 'registry.example.com' }], agent: { listen: '127.0.0.1:7000' } });
  await setupNode(config, { root: node.path, restart: false });
  expect(existsSync(join(node.path, hosts('docker.io')))).toBe(false);
  expect(await node.read('/data/daemon.json')).toBe('{}');
  expect(await hostOrder(node, hosts('registry.example.com'))).toEqual([
    'http://127.0.0.1:7000',
    'https://mirror.example.com',
  ]);
});

it('a broken file is left as it is, the other runtimes are set up, and the problem names it', async () => {
  const node = await made({ ...EVERYTHING, '/etc/containerd/config.toml': 'version = = 2\n' });
  const { problems, changes } = await setupNode(CONFIG, { root: node.path, restart: false });
  expect(problems).toEqual([expect.stringContaining('/etc/containerd/config.toml')]);
  expect(changes.map(({ path }) => path)).toContain('/etc/overlaybd/overlaybd.json');
  expect(await node.read('/etc/containerd/config.toml')).toBe('version = = 2\n');
});

const roots: NodeRoot[] = [];
afterEach(async () => {
  for (const root of roots.splice(0)) await root.remove();
});

async function made(files: NodeFiles, place?: string): Promise<NodeRoot> {
  const node = await NodeRoot.make(files, place);
  roots.push(node);
  return node;
}

/** The node without the journal, which holds the times of files. */
async function withoutJournal(node: NodeRoot): Promise<string> {
  return (await node.listing()).filter((line) => !line.startsWith('var/lib/accel')).join('\n');
}

/** The node with the paths of all files, and the contents of those outside of the journal. */
async function withoutTimes(node: NodeRoot): Promise<readonly string[]> {
  return (await node.listing()).map((line) =>
    /^var\/\S*accel/.test(line) ? line.split(' ').slice(0, 2).join(' ') : line,
  );
}
