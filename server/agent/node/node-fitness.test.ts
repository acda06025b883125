/** Whether accelerated images can run on a node: roots of several states, a socket that answers or not, and looks that hang. */
import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { FitnessWatch, findUnfitness, type NodeFitness } from './node-fitness.ts';
import { setupNode } from './setup.ts';
import { configOf, type NodeFiles, NodeRoot } from './testing/node-root.ts';

const SOCKET = '/run/overlaybd-snapshotter/overlaybd.sock';
const CONFIG_TOML = `version = 2
[proxy_plugins.overlaybd]
  type = "snapshot"
  address = "${SOCKET}"
`;
/** A node as the pod of an agent sees it: no programs. */
const NODE: NodeFiles = {
  '/etc/containerd/config.toml': CONFIG_TOML,
  '/etc/overlaybd/overlaybd.json': '{"registryFsVersion": "v2"}\n',
  '/opt/overlaybd/cred.json': { text: '{"auths": {}}', mode: 0o600 },
};

let node: NodeRoot | undefined;
let snapshotter: Server | undefined;
afterEach(async () => {
  snapshotter?.close();
  await node?.remove();
  [node, snapshotter] = [undefined, undefined];
});

/** A node that is set up, and whose snapshotter listens. */
async function make(files: NodeFiles, { isSetUp = true, listens = true } = {}) {
  node = await NodeRoot.make(files);
  const config = configOf({
    registries: [{ host: 'registry.example.com' }],
    agent: { cache: { path: join(node.path, 'cache') }, nodeCheck: { root: node.path } },
    telemetry: { listen: '127.0.0.1:1' },
  });
  if (isSetUp) await setupNode(config, { root: node.path, restart: false });
  if (listens) {
    const path = join(node.path, SOCKET);
    await mkdir(dirname(path), { recursive: true });
    snapshotter = createServer((socket) => socket.end()).listen(path);
    await once(snapshotter, 'listening');
  }
  return { config, root: node.path };
}

const without = (...paths: string[]): NodeFiles =>
  Object.fromEntries(Object.entries(NODE).filter(([path]) => !paths.some((one) => path.startsWith(one))));

it('a node that was set up, with overlaybd and its snapshotter', async () => {
  const { config, root } = await make(NODE);
  expect(await findUnfitness(config, root)).toBeUndefined();
});

it('looking changes nothing', async () => {
  const { config, root } = await make(NODE, { isSetUp: false });
  const before = await node!.hash();
  expect(await findUnfitness(config, root)).toContain('setup: not as setup leaves them');
  expect(await node!.hash()).toBe(before);
});

describe('not fit, with the reason', () => {
  it.each<[string, NodeFiles, Parameters<typeof make>[1], string]>([
    ['a node without overlaybd', without('/etc/overlaybd', '/opt'), {}, 'overlaybd: it is not installed'],
    ['overlaybd without its configuration', without('/etc/overlaybd'), {}, '/etc/overlaybd/overlaybd.json'],
    [
      'containerd that knows no snapshotter',
      { ...NODE, '/etc/containerd/config.toml': 'version = 2\n' },
      {},
      'overlaybd snapshotter: containerd has no proxy plugin of this name',
    ],
    ['a snapshotter that never started', NODE, { listens: false }, `its socket ${SOCKET} does not exist`],
    ['files that setup did not edit', NODE, { isSetUp: false }, 'setup: not as setup leaves them'],
    [
      'credentials that are no JSON',
      { ...NODE, '/opt/overlaybd/cred.json': { text: '{', mode: 0o600 } },
      {},
      'cred.json is not JSON',
    ],
    ['a configuration that is no JSON', { ...NODE, '/etc/overlaybd/overlaybd.json': '{{' }, {}, 'overlaybd.json'],
  ])('%s', async (_, files, options, reason) => {
    const { config, root } = await make(files, options);
    expect(await findUnfitness(config, root)).toContain(reason);
  });

  it('a snapshotter that was killed and left its socket', async () => {
    const { config, root } = await make({ ...NODE, [SOCKET]: '' }, { listens: false });
    expect(await findUnfitness(config, root)).toContain(`nobody answers at its socket ${SOCKET}`);
  });

  it('a root that is not there', async () => {
    const { config, root } = await make(NODE);
    await rm(root, { recursive: true });
    expect(await findUnfitness(config, root)).toBe(`the root folder cannot be opened ${root}`);
  });

  it('a cache that is no folder', async () => {
    const { config, root } = await make({ ...NODE, '/cache': 'x' });
    expect(await findUnfitness(config, root)).toMatch(/^disk: /);
  });
});

it('looks again and again, reports changes alone, and holds a look that hangs to its time', async () => {
  const answers: (string | undefined)[] = [undefined, undefined, 'broken', 'hang', undefined];
  const release: { now?: () => void } = {};
  let looks = 0;
  const said: (string | null)[] = [];
  let heard: (() => void) | undefined;
  const find = async (): Promise<string | undefined> => {
    const answer = answers[looks++];
    if (answer === 'hang') await new Promise<void>((resolve) => Object.assign(release, { now: resolve }));
    return answer === 'hang' ? undefined : answer;
  };
  const onChange = ({ reason }: NodeFitness): void => {
    said.push(reason);
    heard?.();
  };
  const watch = new FitnessWatch({ every: 1, deadline: 20, onChange }, find);
  expect(watch.latest).toBeUndefined();
  while (said.length < 3) await new Promise<void>((resolve) => (heard = resolve));
  expect(said).toEqual([null, 'broken', 'the look at the node did not end within 0.02 s']);
  expect(watch.latest).toMatchObject({ fit: false, reason: said[2] });
  // One that hangs is not started a second time.
  expect(looks).toBe(4);
  release.now?.();
  while (said.length < 4) await new Promise<void>((resolve) => (heard = resolve));
  expect(watch.latest).toMatchObject({ fit: true, reason: null });
  expect(Date.parse(watch.latest!.checked)).toBeGreaterThan(Date.now() - 60_000);
  watch.close();
});
