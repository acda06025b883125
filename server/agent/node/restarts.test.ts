/** Restarts of daemons: their order, and the report where one fails. systemctl is a script that notes its calls. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { cleanupNode } from './cleanup.ts';
import { restartDaemons } from './restarts.ts';
import { setupNode } from './setup.ts';
import type { Restart } from './setup-context.ts';
import { configOf, NodeRoot } from './testing/node-root.ts';

const CONFIG = configOf({ registries: [{ host: 'docker.io' }], agent: {} });
const CONFIG_TOML = '/etc/containerd/config.toml';
const PATH = process.env.PATH;
let folder: string;
let node: NodeRoot;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-systemctl-'));
  process.env.PATH = `${folder}:${PATH}`;
  node = await NodeRoot.make({
    [CONFIG_TOML]: 'version = 2\n',
    '/usr/bin/crio': '',
    '/etc/containers/registries.conf': '',
    '/etc/docker/daemon.json': '{}',
    '/etc/overlaybd/overlaybd.json': '{}',
  });
});
afterEach(async () => {
  process.env.PATH = PATH;
  await node.remove();
  await rm(folder, { recursive: true, force: true });
});

/** Puts a script on PATH that notes its call, then does `body`. */
async function script(name: string, body = ''): Promise<void> {
  await writeFile(join(folder, name), `#!/bin/sh\necho "${name} $*" >> '${folder}/calls'\n${body}\n`);
  await chmod(join(folder, name), 0o755);
}
const calls = async () => (await readFile(join(folder, 'calls'), 'utf8').catch(() => '')).split('\n').slice(0, -1);
const all: readonly Restart[] = [
  { service: 'containerd', action: 'restart', why: '' },
  { service: 'crio', action: 'reload', why: '' },
  { service: 'overlaybd-tcmu', action: 'restart', why: '' },
];

it('setup restarts once its files are written, cleanup once they are back, both in one order, and nothing without a change', async () => {
  const seen = `grep -c accel-agent "$1${CONFIG_TOML}" >> '${folder}/calls'`;
  await script('chroot', `case "$*" in *containerd) ${seen};; esac; exit 0`);
  const inOrder = (blocks: string) =>
    ['restart containerd', 'reload crio', 'reload docker', 'restart overlaybd-tcmu'].flatMap((call, at) => [
      `chroot ${node.path} systemctl ${call}`,
      ...(at === 0 ? [blocks] : []),
    ]);
  const request = { root: node.path, restart: true };
  const report = await setupNode(CONFIG, request);
  expect(report.restarts).toEqual([]);
  expect(report.notes).toContain('systemctl restart containerd was run');
  expect(await calls()).toEqual(inOrder('2'));
  await setupNode(CONFIG, request);
  expect(await calls()).toHaveLength(5);
  expect((await cleanupNode(request)).restarts).toEqual([]);
  expect((await calls()).slice(5)).toEqual(inOrder('0'));
  await cleanupNode(request);
  expect(await calls()).toHaveLength(10);
});

it('without being asked it calls nothing, and says what to do', async () => {
  await script('chroot');
  const { restarts } = await setupNode(CONFIG, { root: node.path, restart: false });
  expect(restarts.map(({ service, action }) => `${action} ${service}`)).toEqual([
    'restart containerd',
    'reload crio',
    'reload docker',
    'restart overlaybd-tcmu',
  ]);
  expect(await calls()).toEqual([]);
});

it('on this root it calls systemctl itself, and goes on after a failure, which it reports', async () => {
  await script('systemctl', 'if [ $2 = crio ]; then echo "Unit crio.service not found." >&2; exit 5; fi');
  const left = await restartDaemons(all, '/');
  expect(await calls()).toEqual([
    'systemctl restart containerd',
    'systemctl reload crio',
    'systemctl restart overlaybd-tcmu',
  ]);
  expect(left).toEqual([{ ...all[1], byHand: 'It was tried here: Unit crio.service not found.' }]);
});

it('a daemon whose devices are in use is left alone', async () => {
  await script('chroot');
  await node.add({ '/sys/kernel/config/target/core/user_1/dev_1/info': '' });
  const { restarts } = await setupNode(CONFIG, { root: node.path, restart: true });
  expect(restarts).toMatchObject([
    { service: 'overlaybd-tcmu', byHand: expect.stringContaining('1 devices are in use') },
  ]);
  expect((await calls()).join()).not.toContain('overlaybd');
});

it.each([
  ['does not end', 'exec sleep 100', 'no end within 0.5 s'],
  ['leaves a child behind that holds its output', 'sleep 20 & exit 3', 'exit code 3'],
  ['does nothing in a container', 'echo "Running in chroot, ignoring command \'restart\'" >&2', 'Running in chroot'],
  ['is killed', 'kill -9 $$', 'exit code none'],
])('systemctl %s: reported, and the next daemon has its turn', async (_, body, expected) => {
  await script('systemctl', `if [ $2 = containerd ]; then ${body}; fi`);
  const left = await restartDaemons(all, '/', { timeout: 500 });
  expect(await calls()).toHaveLength(3);
  expect(left).toMatchObject([{ service: 'containerd', byHand: expect.stringContaining(expected) }]);
});

it('a node without systemctl gets a list of what to do by hand', async () => {
  process.env.PATH = folder;
  const left = await restartDaemons(all, '/');
  expect(left.map(({ service }) => service)).toEqual(['containerd', 'crio', 'overlaybd-tcmu']);
  expect(left[0]!.byHand).toContain('ENOENT');
});
