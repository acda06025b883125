/** overlaybd gets the node's credentials, by its own question or in its own file, and nobody else on the network does. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../config/load.ts';
import { type Cluster, startCluster } from '../../demo/cluster.ts';
import { hostsIn, withAgentFirst } from '../node/hosts-toml.ts';
import { setupTarget } from '../node/setup.ts';
import { overlaybdChanges } from '../node/setup-json.ts';
import { CredentialFile } from './credential-file.ts';
import { fileCredentials, firstOf, oneFileCredentials } from './credential-sources.ts';

const auth = (text: string) => Buffer.from(text).toString('base64');
const DIGEST = `sha256:${'a'.repeat(64)}`;
let folder: string;
let cluster: Cluster | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-credentials-'));
  await login({ 'reg.example:5000': 'ann:se:cret', 'https://index.docker.io/v1/': 'hub:word' });
  await writeFile(join(folder, 'own.json'), JSON.stringify({ auths: { 'own.example': { auth: auth('own:pass') } } }));
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** Writes the node's docker configuration. */
function login(users: Readonly<Record<string, string>>): Promise<void> {
  const auths = Object.fromEntries(Object.entries(users).map(([host, user]) => [host, { auth: auth(user) }]));
  return writeFile(join(folder, 'config.json'), JSON.stringify({ auths }));
}

const registries = () => [
  { host: 'reg.example:5000' },
  { host: 'docker.io' },
  { host: 'own.example', credentialsFile: join(folder, 'own.json') },
  { host: 'open.example' },
];
const source = () => fileCredentials(registries(), { HOME: folder, DOCKER_CONFIG: folder });

describe('the endpoint', () => {
  /** The answer to a request line that is sent as it is: overlaybd does not encode. */
  async function ask(query: string, headers: Record<string, string> = {}): Promise<[number | undefined, unknown]> {
    const { port } = new URL(cluster!.nodes[0]!.url);
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path: `/api/v1/credentials${query}`, headers };
      const request = http.get(options, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on('end', () => resolve([response.statusCode, JSON.parse(text)]));
      });
      request.on('error', reject);
    });
  }

  async function start(serve = true): Promise<void> {
    cluster = await startCluster({
      size: 1,
      upstreams: registries().map(({ host }) => ({ host, plain: false, http: {} })),
      change: (options) => ({ ...options, credentials: { serve, file: undefined, every: 1000, source: source() } }),
    });
  }

  it.each([
    ['reg.example:5000', { username: 'ann', password: 'se:cret' }],
    ['registry-1.docker.io', { username: 'hub', password: 'word' }],
    ['own.example', { username: 'own', password: 'pass' }],
  ])('%s: under the name that overlaybd looks for', async (host, expected) => {
    await start();
    const [status, answer] = await ask(`?remote_url=https://${host}/v2/team/app/blobs/${DIGEST}`);
    expect(status).toBe(200);
    expect(answer).toMatchObject({ success: true, data: { auths: { [host]: expected } } });
  });

  it('no credential, and a registry that is not configured, are no error: the device asks as nobody', async () => {
    await start();
    for (const host of ['open.example', 'other.example']) {
      const [status, answer] = await ask(`?remote_url=https://${host}/v2/team/app/blobs/${DIGEST}?a=1&b=2`);
      expect([status, answer]).toMatchObject([200, { success: true, data: { auths: {} } }]);
    }
    expect((await ask('?remote_url=nonsense'))[0]).toBe(400);
    expect((await ask('?remote_url=%'))[0]).toBe(400);
  });

  it('is for this node alone, and off unless it is switched on', async () => {
    await start();
    const query = `?remote_url=https://own.example/v2/a/blobs/${DIGEST}`;
    expect((await ask(query, { host: 'attacker.example' }))[0]).toBe(403);
    expect((await ask(query, { origin: 'http://attacker.example' }))[0]).toBe(403);
    await cluster!.close();
    await start(false);
    expect((await ask(query))[0]).toBe(404);
  });
});

describe('the file', () => {
  const file = () =>
    new CredentialFile({
      path: join(folder, 'cred.json'),
      source: source(),
      registries: registries().map(({ host }) => host),
      every: 1000,
      log: () => undefined,
    });
  const written = async () => JSON.parse(await readFile(join(folder, 'cred.json'), 'utf8')) as { auths: object };

  it('is 0600, follows the sources, and loses what goes', async () => {
    expect(await file().update()).toBe(true);
    expect((await stat(join(folder, 'cred.json'))).mode & 0o777).toBe(0o600);
    expect(Object.keys((await written()).auths)).toEqual([
      'reg.example:5000',
      'docker.io',
      'registry-1.docker.io',
      'index.docker.io',
      'own.example',
    ]);
    expect(await file().update()).toBe(false);
    await login({ 'reg.example:5000': 'ann:new' });
    expect(await file().update()).toBe(true);
    expect((await written()).auths).toEqual({
      'reg.example:5000': { auth: auth('ann:new') },
      'own.example': { auth: auth('own:pass') },
    });
    await login({});
    await writeFile(join(folder, 'own.json'), '{}');
    expect(await file().update()).toBe(true);
    expect(await written()).toEqual({ auths: {} });
    expect(await file().update()).toBe(false);
  });

  it('keeps the entries of others', async () => {
    const theirs = {
      auths: { 'reg.example:5000': { auth: auth('their:own') }, 'x.example': { auth: 'eDp5' } },
      more: 1,
    };
    await writeFile(join(folder, 'cred.json'), JSON.stringify(theirs));
    expect(await file().update()).toBe(true);
    expect(await written()).toMatchObject(theirs);
    await login({});
    await writeFile(join(folder, 'own.json'), '{}');
    await file().update();
    expect(await written()).toEqual(theirs);
  });

  it('is not made where there is no credential, and a broken one is left alone', async () => {
    await login({});
    await writeFile(join(folder, 'own.json'), '{}');
    expect(await file().update()).toBe(false);
    await expect(stat(join(folder, 'cred.json'))).rejects.toThrow('ENOENT');
    await writeFile(join(folder, 'cred.json'), '{"auths":');
    await expect(file().update()).rejects.toThrow('not JSON');
    expect(await readFile(join(folder, 'cred.json'), 'utf8')).toBe('{"auths":');
  });
});

it('setup puts Spegel before the agent, where it is the engine', () => {
  const target = setupTarget(parseConfig('registries: [{host: reg.example}]\nagent: {engine: spegel}', 'accel.yaml'));
  const text = withAgentFirst(undefined, { ...target, server: 'https://reg.example' }, 'hosts.toml');
  expect(hostsIn(text, 'hosts.toml')).toEqual(['http://127.0.0.1:30020', 'http://127.0.0.1:65001']);
  expect(setupTarget(parseConfig('registries: [{host: reg.example}]', 'accel.yaml')).spegel).toBeUndefined();
});

it.each([
  ['', undefined, undefined],
  ['agent: {credentials: {serve: true}}', 'http', 'http://127.0.0.1:65001/api/v1/credentials'],
  ['agent: {credentials: {file: /opt/overlaybd/cred.json}}', 'file', '/opt/overlaybd/cred.json'],
])('setup names the place of credentials to overlaybd: %j', (text, mode, path) => {
  const changes = overlaybdChanges(
    setupTarget(parseConfig(`registries: [{host: reg.example}]\n${text}`, 'accel.yaml')),
  );
  const value = (key: string) =>
    changes.flatMap((change) =>
      change.path.join('.') === `credentialConfig.${key}` && 'value' in change ? [change.value] : [],
    )[0];
  expect([value('mode'), value('path')]).toEqual([mode, path]);
});

describe('a file of the cluster', () => {
  it('is asked before the files of the node, also when it comes, changes and goes later', async () => {
    const path = join(folder, 'devices.json');
    const both = firstOf([oneFileCredentials(path), source()], (problem) => {
      throw problem;
    });
    const find = () => both.find('reg.example:5000', 'team/app');
    const write = (user: string) =>
      writeFile(path, JSON.stringify({ auths: { 'reg.example:5000/team': { auth: auth(user) } } }));
    expect(await find()).toEqual({ username: 'ann', password: 'se:cret' });
    await write('device:one');
    expect(await find()).toEqual({ username: 'device', password: 'one' });
    await write('device:two');
    expect(await find()).toEqual({ username: 'device', password: 'two' });
    expect(await both.find('docker.io', 'team/app')).toEqual({ username: 'hub', password: 'word' });
    await rm(path);
    expect(await find()).toEqual({ username: 'ann', password: 'se:cret' });
  });
});
