/** Setup and cleanup on files as no manual shows them: whatever setup says of them, cleanup leaves what was there. */
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { describeWith, run, withTempDirectory } from '../../../tests/support/tools.ts';
import { cleanupNode } from './cleanup.ts';
import { setupNode } from './setup.ts';
import { configOf, type NodeFiles, NodeRoot } from './testing/node-root.ts';

const CONFIG = configOf({ registries: [{ host: 'registry.example.com' }, { host: 'docker.io' }], agent: {} });
const TOML = '/etc/containerd/config.toml';
const HOSTS = '/etc/containerd/certs.d/registry.example.com/hosts.toml';
const DAEMON = '/etc/docker/daemon.json';
const OVERLAYBD = '/etc/overlaybd/overlaybd.json';
const CRLF =
  'version = 2\r\n# a\r\n[plugins."io.containerd.grpc.v1.cri".registry]\r\n  config_path = "" # b\r\n[debug]\r\n';

/** Files, and the files that setup cannot edit. */
const STATES: Readonly<Record<string, readonly [NodeFiles, ...string[]]>> = {
  'line ends of Windows': [{ [TOML]: CRLF, [DAEMON]: '{\r\n}\r\n', [HOSTS]: 'server = "https://x"\r\n' }],
  'empty files': [{ [TOML]: '', [HOSTS]: '', [DAEMON]: '', [OVERLAYBD]: '' }, DAEMON, OVERLAYBD],
  'spaces alone': [{ [TOML]: ' \n\n', [HOSTS]: '\n', [DAEMON]: '\n' }, DAEMON],
  'a byte order mark': [
    { [TOML]: '\ufeffversion = 2\n', [DAEMON]: '\ufeff{}', [OVERLAYBD]: '\ufeff{}' },
    DAEMON,
    OVERLAYBD,
  ],
  'folders in place of files': [
    { [TOML]: { folder: 0o755 }, [HOSTS]: { folder: 0o755 }, [DAEMON]: { folder: 0o755 } },
    TOML,
    DAEMON,
  ],
  'a loop of links': [
    { [TOML]: { link: 'config.toml' }, [DAEMON]: { link: '/etc/docker/a' }, '/etc/docker/a': { link: 'daemon.json' } },
    TOML,
    DAEMON,
  ],
  'a link to nowhere': [{ [TOML]: { link: '/srv/none/config.toml' }, [OVERLAYBD]: '{}' }],
  'comments at odd places': [
    {
      [TOML]:
        'version = 2 # v\n[plugins] # p\n# x = [\n[plugins."io.containerd.grpc.v1.cri"] # "[" \n[plugins."io.containerd.grpc.v1.cri".registry]# r\n# config_path = "/no"\n',
      [OVERLAYBD]: '/* a */{/* b */"x"/* c */:/* d */1/* e */}// f',
    },
  ],
  'a table in one line': [
    { [TOML]: 'version = 2\nplugins = { "io.containerd.grpc.v1.cri" = { registry = { config_path = "" } } }\n' },
    TOML,
  ],
  'keys with dots': [{ [TOML]: 'version = 2\nplugins."io.containerd.grpc.v1.cri".registry.config_path = ""\n' }, TOML],
  'no line break at the end': [
    {
      [TOML]: 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = ""',
      [HOSTS]: 'server = "https://x"',
      [DAEMON]: '{"a":1}',
    },
  ],
  'bytes that are no text': [{ [TOML]: 'version = 2\n', [DAEMON]: '{}' }, DAEMON],
  'words of ours in the text of others': [
    { [TOML]: 'version = 2\n# accel-agent end\n#replaced:x = 1\n', [HOSTS]: '# accel-agent end\n' },
  ],
};

const nodes: NodeRoot[] = [];
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.remove();
});

it.each(Object.entries(STATES))('%s', async (name, [files, ...refused]) => {
  const node = await NodeRoot.make({ '/etc/containerd/.keep': '', ...files });
  nodes.push(node);
  if (name.startsWith('bytes')) await writeFile(join(node.path, DAEMON), Buffer.from([0x7b, 0xff, 0x7d]));
  const before = await node.listing();
  const request = { root: node.path, restart: false };
  const { problems } = await setupNode(CONFIG, request);
  for (const path of refused) expect(problems.join('\n')).toContain(path);
  if (refused.length === 0) expect(problems).toEqual([]);
  const after = await node.listing();
  await setupNode(CONFIG, request);
  expect(await node.listing()).toEqual(after);
  await cleanupNode(request);
  expect(await node.listing()).toEqual(before);
});

it('of two setups at once one works, and the other says so; cleanup restores', async () => {
  const node = await NodeRoot.make({ [TOML]: CRLF, [OVERLAYBD]: '{}' });
  nodes.push(node);
  const before = await node.listing();
  const request = { root: node.path, restart: false };
  const results = await Promise.allSettled([1, 2, 3].map(() => setupNode(CONFIG, request)));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const result of results)
    if (result.status === 'rejected')
      expect(String(result.reason)).toContain('another setup or cleanup is at work here');
  await cleanupNode(request);
  expect(await node.listing()).toEqual(before);
});

it('lines of Windows keep their ends where the file was changed since', async () => {
  const node = await NodeRoot.make({ [TOML]: CRLF });
  nodes.push(node);
  const request = { root: node.path, restart: false };
  await setupNode(CONFIG, request);
  const text = await node.read(TOML);
  await writeFile(join(node.path, TOML), `${text}# since\r\n`);
  await cleanupNode(request);
  expect(await node.read(TOML)).toBe(`${CRLF}# since\r\n`);
});

describeWith({ tools: ['mount', 'umount'], root: true }, 'a full disk', () => {
  it('at any moment of setup loses nothing: cleanup restores, and setup works once there is room', () =>
    withTempDirectory(async (folder) => {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', folder]);
      try {
        for (let pages = 0; pages < 24; pages += 2) {
          const node = await NodeRoot.make({ [TOML]: CRLF, [DAEMON]: '{}', [OVERLAYBD]: '{"a":1}' }, folder);
          const before = await node.listing();
          const request = { root: node.path, restart: false };
          // All but so many pages of the file system are taken.
          const filler = join(folder, 'filler');
          await run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096'], { accept: 'any' });
          await run('truncate', ['-s', `-${pages * 4096}`, filler]);
          const failure = await setupNode(CONFIG, request).then(
            ({ problems }) => problems.join(),
            (error: Error) => error.message,
          );
          if (pages < 4) expect(failure).toContain('ENOSPC');
          expect((await node.listing()).filter((line) => line.includes('accel-setup'))).toEqual([]);
          const cleanup = await cleanupNode(request);
          if (cleanup.problems.length > 0) expect(cleanup.problems.join()).toContain('ENOSPC');
          else expect(await node.listing(), `${pages} pages`).toEqual(before);
          await rm(filler);
          expect((await cleanupNode(request)).problems).toEqual([]);
          expect(await node.listing(), `${pages} pages`).toEqual(before);
          expect((await setupNode(CONFIG, request)).problems).toEqual([]);
          expect(existsSync(join(node.path, HOSTS))).toBe(true);
          await cleanupNode(request);
          expect(await node.listing()).toEqual(before);
          expect(await readFile(join(node.path, DAEMON), 'utf8')).toBe('{}');
          await node.remove();
        }
      } finally {
        await run('umount', [folder]);
      }
    }));
});

describeWith({ tools: ['chattr'], root: true }, 'a file that may not be changed (chattr +i)', () => {
  it('is named by setup and by cleanup, which see to the others, and is restored once it may', async (context) => {
    const node = await NodeRoot.make({ [TOML]: CRLF, [OVERLAYBD]: '{}' });
    nodes.push(node);
    const before = await node.listing();
    const request = { root: node.path, restart: false };
    const immutable = (sign: '+' | '-') => run('chattr', [`${sign}i`, join(node.path, TOML)], { accept: 'any' });
    try {
      // Some file systems and containers have no such flag.
      const { exitCode, stderr } = await immutable('+');
      if (exitCode !== 0) return context.skip(stderr);
      expect((await setupNode(CONFIG, request)).problems.join()).toContain(TOML);
      expect(await node.read(OVERLAYBD)).toContain('p2pConfig');
      expect((await node.listing()).filter((line) => line.includes('accel-setup'))).toEqual([]);
      await immutable('-');
      expect((await setupNode(CONFIG, request)).problems).toEqual([]);
      await immutable('+');
      const cleanup = await cleanupNode(request);
      expect(cleanup.problems).toEqual([expect.stringContaining(`${TOML} is not restored`)]);
      expect(await node.read(OVERLAYBD)).toBe('{}');
    } finally {
      await immutable('-');
    }
    expect((await cleanupNode(request)).problems).toEqual([]);
    expect(await node.listing()).toEqual(before);
  });
});
