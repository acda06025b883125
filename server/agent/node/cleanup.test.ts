/** Cleanup where the journal is lost or damaged, where a file cannot be restored, and of overlaybd's credentials. */
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { AccelError } from '../../../base/error.ts';
import { CredentialFile } from '../device-credentials/credential-file.ts';
import { cleanupNode } from './cleanup.ts';
import { sha256 } from './journal-record.ts';
import { planNode, setupNode } from './setup.ts';
import { configOf, type NodeFiles, NodeRoot } from './testing/node-root.ts';

const CONFIG = configOf({ registries: [{ host: 'registry.example.com' }, { host: 'docker.io' }], agent: {} });
const CONTAINERD = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = ""  # ours\n';
const HOSTS = '# the company\'s mirror\n[host."https://mirror.example.com"]\n  capabilities = ["pull"]\n';
const DAEMON = '{\n\t"log-level": "warn"\n}\n';
const OVERLAYBD =
  '{\n    // the device\n    "ioEngine": 0,\n    "cacheConfig": {\n        "cacheSizeGB": 4.0\n    }\n}\n';
const CONFIG_TOML = '/etc/containerd/config.toml';
const hosts = (host: string) => `/etc/containerd/certs.d/${host}/hosts.toml`;
const JOURNAL = '/var/lib/accel/setup';

const EVERYTHING: NodeFiles = {
  [CONFIG_TOML]: { text: CONTAINERD, mode: 0o640, owner: 1234 },
  [hosts('registry.example.com')]: HOSTS,
  '/etc/containers/registries.conf': 'unqualified-search-registries = []\n',
  '/etc/docker/daemon.json': DAEMON,
  '/etc/overlaybd/overlaybd.json': { text: OVERLAYBD, mode: 0o400 },
};

const nodes: NodeRoot[] = [];
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.remove();
});
async function made(files: NodeFiles): Promise<NodeRoot> {
  const node = await NodeRoot.make(files);
  nodes.push(node);
  return node;
}
const request = (node: NodeRoot, force = false) => ({ root: node.path, restart: false, force });
const recordOf = (node: NodeRoot, path: string) => join(node.path, JOURNAL, `${sha256(path)}.json`);
/** The listing without the journal. */
const withoutVar = async (node: NodeRoot) => (await node.listing()).filter((line) => !line.startsWith('var'));
/** The listing without folders that only a journal knows to be made by setup. */
const withoutFolders = async (node: NodeRoot) =>
  (await withoutVar(node)).filter((line) => !/^etc\/cont\S*(certs\.d|conf\.d) /.test(line));

describe('without a journal', () => {
  it('takes out what carries marks, and the JSON that names the same agent', async () => {
    const node = await made(EVERYTHING);
    const before = await withoutFolders(node);
    await setupNode(CONFIG, request(node));
    await rm(join(node.path, JOURNAL), { recursive: true });
    const { changes, problems, restarts } = await cleanupNode(request(node));
    expect(problems).toEqual([]);
    expect(await withoutFolders(node)).toEqual(before);
    expect(changes.map(({ path, action }) => `${action} ${path}`).sort()).toEqual([
      'ours taken out /etc/containerd/certs.d/registry.example.com/hosts.toml',
      'ours taken out /etc/containerd/config.toml',
      'ours taken out /etc/docker/daemon.json',
      'ours taken out /etc/overlaybd/overlaybd.json',
      'removed /etc/containerd/certs.d/docker.distributed.io:65001/hosts.toml',
      'removed /etc/containerd/certs.d/docker.io/hosts.toml',
      'removed /etc/containerd/certs.d/registry.distributed.example.com:65001/hosts.toml',
      'removed /etc/containers/registries.conf.d/zzz-accel-agent.conf',
    ]);
    for (const { note } of changes) expect(note).toContain('no journal says what was there before');
    expect(restarts.map(({ service }) => service).sort()).toEqual(['containerd', 'docker', 'overlaybd-tcmu']);
    expect((await cleanupNode(request(node))).changes).toEqual([]);
  });

  it('leaves JSON alone that only looks as if setup wrote it, and says what to do', async () => {
    const node = await made({
      '/etc/docker/daemon.json': '{"registry-mirrors":["http://127.0.0.1:65001"]}',
      '/etc/overlaybd/overlaybd.json':
        '{"p2pConfig":{"enable":true,"address":"http://127.0.0.1:7000/dadip2p"},"credentialConfig":{"mode":"http","path":"http://127.0.0.1:65001/api/v1/credentials"}}',
    });
    const before = await node.hash();
    const { changes, problems } = await cleanupNode(request(node));
    expect(changes).toEqual([]);
    expect(problems).toEqual([
      expect.stringMatching(
        /daemon\.json has http:\/\/127\.0\.0\.1:65001 in registry-mirrors.*systemctl reload docker/,
      ),
      expect.stringMatching(/overlaybd\.json has .*:7000\/dadip2p in p2pConfig.*set p2pConfig\.enable to false/),
      expect.stringContaining('take credentialConfig out'),
    ]);
    expect(await node.hash()).toBe(before);
  });

  it.each([
    ['{"registry-mirrors":["http://127.0.0.1:5000","https://mirror.example.com"]}'],
    ['{"registry-mirrors":"http://127.0.0.1:65001"}'],
    ['{}'],
  ])('%s is not ours', async (text) => {
    const node = await made({
      '/etc/docker/daemon.json': text,
      '/etc/overlaybd/overlaybd.json': '{"p2pConfig":{"enable":false,"address":"http://127.0.0.1:65001/dadip2p"}}',
    });
    expect(await cleanupNode(request(node))).toMatchObject({ changes: [], problems: [] });
  });

  it('setup knows its marks again, and cleanup after it restores', async () => {
    const node = await made(EVERYTHING);
    await setupNode(CONFIG, request(node));
    await rm(join(node.path, JOURNAL), { recursive: true });
    await setupNode(configOf({ registries: [{ host: 'registry.example.com' }], agent: {} }), request(node));
    await cleanupNode(request(node));
    expect(await node.read(CONFIG_TOML)).toBe(CONTAINERD);
    expect(await node.read(hosts('registry.example.com'))).toBe(HOSTS);
    await expect(node.read(hosts('docker.io'))).rejects.toThrow('ENOENT');
  });

  it('what a person wrote before setup stays, though it names the agent, and is reported', async () => {
    const text = '{"registry-mirrors":["http://127.0.0.1:65001"]}';
    const node = await made({ ...EVERYTHING, '/etc/docker/daemon.json': text });
    await setupNode(CONFIG, request(node));
    const { problems } = await cleanupNode(request(node));
    expect(problems).toEqual([expect.stringContaining('the journal of setup does not know it')]);
    expect(await node.read('/etc/docker/daemon.json')).toBe(text);
  });

  it('finds hosts.toml in the folders of config_path, also of an imported file', async () => {
    const node = await made({
      [CONFIG_TOML]: 'version = 2\nimports = ["/srv/c/*.toml"]\n',
      '/srv/c/a.toml': 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/srv/certs"\n',
      '/srv/certs/registry.example.com/hosts.toml': HOSTS,
    });
    const before = await node.listing();
    await setupNode(configOf({ registries: [{ host: 'registry.example.com' }], agent: {} }), request(node));
    await rm(join(node.path, JOURNAL), { recursive: true });
    await cleanupNode(request(node));
    expect(await withoutVar(node)).toEqual(before);
  });
});

const DAMAGE: Readonly<Record<string, (node: NodeRoot) => Promise<unknown>>> = {
  'a record is no JSON': (node) => writeFile(recordOf(node, CONFIG_TOML), '{"type":'),
  'a record is empty': (node) => writeFile(recordOf(node, CONFIG_TOML), ''),
  'a record lacks a value': (node) => edit(recordOf(node, CONFIG_TOML), ({ written: _, ...rest }) => rest),
  'a record has the name of another file': (node) =>
    rename(recordOf(node, CONFIG_TOML), recordOf(node, '/etc/other.toml')),
  'the bytes of a record have changed': (node) =>
    edit(recordOf(node, CONFIG_TOML), (record) => ({
      ...record,
      original: { ...(record.original as object), bytes: 'AAAA' },
    })),
  'journal.json is cut': (node) => writeFile(join(node.path, JOURNAL, 'journal.json'), '{"version": 1,'),
  'it is of a later version': (node) =>
    edit(join(node.path, JOURNAL, 'journal.json'), (about) => ({ ...about, version: 2 })),
};

async function edit(path: string, change: (value: Record<string, unknown>) => Record<string, unknown>): Promise<void> {
  await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>)));
}

describe.each(Object.entries(DAMAGE))('a damaged journal: %s', (_, damage) => {
  it('is named with the way out, changes nothing, and is passed by with force', async () => {
    const node = await made(EVERYTHING);
    const before = await withoutFolders(node);
    await setupNode(CONFIG, request(node));
    await damage(node);
    const damaged = await node.hash();
    const works = [cleanupNode(request(node)), planNode(CONFIG, node.path)];
    for (const work of [...works, Promise.allSettled(works).then(() => setupNode(CONFIG, request(node)))]) {
      const error = await work.then(
        () => undefined,
        (reason: unknown) => reason as AccelError,
      );
      expect(error).toBeInstanceOf(AccelError);
      expect(error!.message).toContain('the journal of setup is damaged');
      expect(String(error!.where.file)).toContain(JOURNAL);
      expect(error!.found).toBeTruthy();
      expect(error!.hint).toContain('accel agent cleanup with force');
    }
    expect(await node.hash()).toBe(damaged);

    const { problems, notes } = await cleanupNode(request(node, true));
    expect(problems).toEqual([]);
    expect(notes).toEqual([`the damaged journal is kept in ${JOURNAL}.damaged`]);
    expect((await stat(join(node.path, `${JOURNAL}.damaged`))).mode & 0o777).toBe(0o700);
    expect(await withoutFolders(node)).toEqual(before);
    // All is well again afterwards.
    expect(await cleanupNode(request(node))).toMatchObject({ changes: [], problems: [], notes: [] });
    const clean = await node.listing();
    await setupNode(CONFIG, request(node));
    await cleanupNode(request(node));
    expect(await node.listing()).toEqual(clean);
  });
});

it('a journal that is no folder is damaged too', async () => {
  const node = await made({ ...EVERYTHING, [JOURNAL]: 'not a folder' });
  await expect(setupNode(CONFIG, request(node))).rejects.toThrow('the journal of setup is damaged');
  expect((await cleanupNode(request(node, true))).notes).toEqual([`the damaged journal is kept in ${JOURNAL}.damaged`]);
  await mkdir(join(node.path, JOURNAL));
  await cleanupNode(request(node));
});

describe('a file that cannot be restored', () => {
  it.each([
    ['is broken since', (path: string) => writeFile(path, '{"p2pConfig":'), /is not a JSON object/],
    ['has become a folder', (path: string) => rm(path).then(() => mkdir(path)), /is not a regular file|EISDIR/],
  ])('because it %s: the others are, it is named, and its record stays', async (_, change, reason) => {
    const node = await made(EVERYTHING);
    const before = await node.hash();
    await setupNode(CONFIG, request(node));
    const path = '/etc/overlaybd/overlaybd.json';
    await change(join(node.path, path));
    const { problems } = await cleanupNode(request(node));
    expect(problems).toEqual([expect.stringMatching(reason)]);
    expect(problems[0]).toContain(path);
    expect(await node.read(CONFIG_TOML)).toBe(CONTAINERD);
    await rm(join(node.path, path), { recursive: true });
    await node.add({ [path]: { text: OVERLAYBD, mode: 0o400 } });
    expect((await cleanupNode(request(node))).problems).toEqual([]);
    expect(await node.hash()).toBe(before);
  });

  it('because the end of our block is gone: nothing is cut off', async () => {
    const node = await made(EVERYTHING);
    await setupNode(CONFIG, request(node));
    const text = (await node.read(CONFIG_TOML)).replace(/ *# accel-agent end\n/, '[debug]\n');
    await writeFile(join(node.path, CONFIG_TOML), text);
    const { problems } = await cleanupNode(request(node));
    expect(problems).toEqual([expect.stringContaining('a block that setup added has no end')]);
    expect(await node.read(CONFIG_TOML)).toBe(text);
    expect(await node.read(hosts('registry.example.com'))).toBe(HOSTS);
    const again = await setupNode(CONFIG, request(node));
    expect(again.problems.join()).toContain('has no end');
    expect(await node.read(CONFIG_TOML)).toBe(text);
  });
});

describe("overlaybd's credentials", () => {
  const PATH = '/opt/overlaybd/cred.json';
  const write = async (node: NodeRoot, path = PATH) =>
    new CredentialFile({
      path: join(node.path, path),
      source: { find: async (registry) => ({ username: 'u', password: `secret of ${registry}` }) },
      registries: ['registry.example.com', 'docker.io'],
      every: 1000,
      log: () => undefined,
    }).update();

  it('entries of others stay, with mode and owner', async () => {
    const theirs = '{\n  "auths": {\n    "other.example.com": {\n      "auth": "eDp5"\n    }\n  },\n  "more": 1e2\n}\n';
    const node = await made({ [PATH]: { text: theirs, mode: 0o600 } });
    await write(node);
    expect(await node.read(PATH)).toContain('registry-1.docker.io');
    // As an operator may have left it: comments are no JSON, spaces are.
    const edited = (await node.read(PATH)).replace('"more": 100', '"more":   1e2');
    await writeFile(join(node.path, PATH), edited);
    const { changes } = await cleanupNode(request(node));
    expect(changes).toMatchObject([
      { path: PATH, action: 'ours taken out', note: expect.stringContaining('4 credentials') },
    ]);
    const others = '"auths": {\n    "other.example.com": {\n      "auth": "eDp5"\n    }\n  }';
    expect(await node.read(PATH)).toBe(`{\n  "more":   1e2,\n  ${others}\n}\n`);
    expect((await stat(join(node.path, PATH))).mode & 0o777).toBe(0o600);
    expect((await cleanupNode(request(node))).changes).toEqual([]);
  });

  it('a file of the agent alone is removed, where overlaybd.json says it is', async () => {
    const path = '/etc/overlaybd/own-cred.json';
    const node = await made({ '/etc/overlaybd/overlaybd.json': OVERLAYBD });
    const before = await node.hash();
    const config = configOf({ registries: [{ host: 'docker.io' }], agent: { credentials: { file: path } } });
    await setupNode(config, request(node));
    await write(node, path);
    const { changes } = await cleanupNode(request(node));
    expect(changes).toContainEqual(expect.objectContaining({ path, action: 'removed' }));
    expect(JSON.stringify(changes)).not.toContain('secret');
    expect(await node.hash()).toBe(before);
  });

  it.each(['{"auths":{"a":{"auth":"eDp5"}}}', '{"auths":', '{"accel":"a","auths":{}}', ''])(
    '%j is nothing of ours',
    async (text) => {
      const node = await made({ [PATH]: text });
      expect((await cleanupNode(request(node))).changes).toEqual([]);
      expect(await node.read(PATH)).toBe(text);
    },
  );
});
