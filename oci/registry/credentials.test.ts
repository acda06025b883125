import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { rejects } from '../contract.ts';
import { DOCKER_HUB } from '../reference.ts';
import { askHelper } from './credential-helper.ts';
import { decodeBasic, findCredentials } from './credentials.ts';

let home: TempDirectory;
let env: Record<string, string>;
let warnings: string[];
beforeEach(async () => {
  home = await tempDirectory();
  env = { HOME: home.path, PATH: `${home.path}/bin:${process.env.PATH}` };
  warnings = [];
});
afterEach(() => home.remove());

const basic = (username: string, password: string) => ({ kind: 'basic', username, password });
const auth = (text: string) => Buffer.from(text, 'utf8').toString('base64');
const look = (registry: string, repository = 'team/app') =>
  findCredentials(registry, repository, { env, warn: (message) => warnings.push(message) });
/** Without where they are from. */
const find = async (registry: string, repository?: string) => {
  const found = await look(registry, repository);
  if (found === undefined) return undefined;
  const { from: _, ...credentials } = found;
  return credentials;
};

async function write(file: string, content: unknown): Promise<void> {
  const full = path.join(home.path, file);
  await mkdir(path.dirname(full), { recursive: true });
  await writeFile(full, typeof content === 'string' ? content : JSON.stringify(content));
}

/** A credential helper as a shell script; `$server` holds what it was asked for. */
async function helper(name: string, body: string): Promise<void> {
  await write(`bin/docker-credential-${name}`, `#!/bin/sh\n[ "$1" = get ] || exit 9\nread server\n${body}\n`);
  await chmod(path.join(home.path, 'bin', `docker-credential-${name}`), 0o755);
}

test('-u comes before every file', async () => {
  await write('.docker/config.json', { auths: { 'r.io': { auth: auth('file:secret') } } });
  const options = { username: 'ann', password: 'pass:with:colons', env };
  expect(await findCredentials('r.io', 'x', options)).toEqual({
    ...basic('ann', 'pass:with:colons'),
    from: 'the caller',
  });
});

test('nothing anywhere is anonymous', async () => {
  expect(await find('r.io')).toBeUndefined();
});

describe('auths of config.json', () => {
  test.each([
    ['r.io', 'r.io'],
    ['https://r.io', 'r.io'],
    ['https://r.io/', 'r.io'],
    ['https://r.io/v1/', 'r.io'],
    ['https://r.io/v2/', 'r.io'],
    ['http://r.io:5000', 'r.io:5000'],
    ['https://index.docker.io/v1/', DOCKER_HUB],
    ['docker.io', DOCKER_HUB],
    ['registry-1.docker.io', DOCKER_HUB],
  ])('the key %s serves %s', async (key, registry) => {
    await write('.docker/config.json', {
      auths: { 'other.io': { auth: auth('x:y') }, [key]: { auth: auth('ann:a:b') } },
    });
    expect(await find(registry)).toEqual(basic('ann', 'a:b'));
    expect(await find('r.io.evil.example')).toBeUndefined();
  });

  test.each([
    ['an identity token', { auth: auth('00000000-0000:'), identitytoken: 'idt' }, { kind: 'identity', token: 'idt' }],
    ['a registry token', { registrytoken: 'rt' }, { kind: 'bearer', token: 'rt' }],
    ['plain fields', { username: 'ann', password: 'p' }, basic('ann', 'p')],
    ['a padded auth', { auth: auth('ann:p\0\0') }, basic('ann', 'p')],
    ['an empty entry', {}, undefined],
    ['no colon', { auth: auth('ann') }, undefined],
    ['not an object', 'ann', undefined],
  ])('%s', async (_, entry, expected) => {
    await write('.docker/config.json', { auths: { 'r.io': entry } });
    expect(await find('r.io')).toEqual(expected);
  });

  test('DOCKER_CONFIG names another directory', async () => {
    await write('.docker/config.json', { auths: { 'r.io': { auth: auth('wrong:x') } } });
    await write('elsewhere/config.json', { auths: { 'r.io': { auth: auth('ann:p') } } });
    env.DOCKER_CONFIG = path.join(home.path, 'elsewhere');
    expect(await find('r.io')).toEqual(basic('ann', 'p'));
  });

  test.each(['{"auths": {"r.io": {"auth": "c2VjcmV0', '[]'])(
    'a file of %j is a usage error that quotes nothing',
    async (text) => {
      await write('.docker/config.json', text);
      const error = await rejects(find('r.io'), 'usage');
      expect(error.where.path).toBe(path.join(home.path, '.docker/config.json'));
      expect(JSON.stringify(error) + error.message).not.toContain('c2VjcmV0');
      expect(error.cause).toBeUndefined();
    },
  );
});

describe('DOCKER_AUTH_CONFIG', () => {
  const config = (user: string) => ({ auths: { 'r.io': { auth: auth(`${user}:p`) } } });

  test('comes before the files, which know what it does not', async () => {
    env.DOCKER_AUTH_CONFIG = JSON.stringify(config('variable'));
    await write('.docker/config.json', { auths: { 'r.io': { auth: auth('file:p') }, 's.io': { auth: auth('s:p') } } });
    expect(await look('r.io')).toEqual({ ...basic('variable', 'p'), from: 'the variable DOCKER_AUTH_CONFIG' });
    expect(await look('s.io')).toEqual({ ...basic('s', 'p'), from: path.join(home.path, '.docker/config.json') });
  });

  test('may name helpers (GitLab)', async () => {
    env.DOCKER_AUTH_CONFIG = JSON.stringify({ credHelpers: { 'r.io': 'one' } });
    await helper('one', 'echo "{\\"Username\\":\\"one\\",\\"Secret\\":\\"s\\"}"');
    const from = 'docker-credential-one, which the variable DOCKER_AUTH_CONFIG names';
    expect(await look('r.io')).toEqual({ ...basic('one', 's'), from });
  });

  test.each(['', ' ', 'null'])('%j is no configuration', async (text) => {
    env.DOCKER_AUTH_CONFIG = text;
    await write('.docker/config.json', config('file'));
    expect(await find('r.io')).toEqual(basic('file', 'p'));
    expect(warnings).toEqual([]);
  });

  test.each(['{"auths": {"r.io": {"auth": "c2VjcmV0', '[]', '7'])(
    '%j is a warning that quotes nothing',
    async (text) => {
      env.DOCKER_AUTH_CONFIG = text;
      await write('.docker/config.json', config('file'));
      expect(await find('r.io')).toEqual(basic('file', 'p'));
      expect(warnings).toEqual([expect.stringContaining('DOCKER_AUTH_CONFIG is not a JSON object')]);
      expect(warnings[0]).not.toContain('c2VjcmV0');
    },
  );
});

test.each(['', '\n', ' \t\r\n', 'null', '{}', '{"auths":null}', '{"auths":{"r.io":{}}}', '{"auths":{"r.io":null}}'])(
  'files that hold %j are no configuration',
  async (text) => {
    await write('.docker/config.json', text);
    env.XDG_CONFIG_HOME = path.join(home.path, 'config');
    await write('config/containers/auth.json', text);
    expect(await find('r.io')).toBeUndefined();
    expect(warnings).toEqual([]);
    await write('config/containers/auth.json', { auths: { 'r.io': { auth: auth('podman:p') } } });
    expect(await find('r.io')).toEqual(basic('podman', 'p'));
  },
);

describe('podman', () => {
  test('auth.json of XDG_RUNTIME_DIR, the longest key first', async () => {
    env.XDG_RUNTIME_DIR = path.join(home.path, 'run');
    await write('run/containers/auth.json', {
      auths: {
        'r.io': { auth: auth('host:p') },
        'r.io/team': { auth: auth('team:p') },
        'r.io/team/app': { auth: auth('app:p') },
      },
    });
    expect(await find('r.io')).toEqual(basic('app', 'p'));
    expect(await find('r.io', 'team/other')).toEqual(basic('team', 'p'));
    expect(await find('r.io', 'teamwork/app')).toEqual(basic('host', 'p'));
  });

  test('REGISTRY_AUTH_FILE; Docker’s file comes first', async () => {
    env.REGISTRY_AUTH_FILE = path.join(home.path, 'my.json');
    await write('my.json', { auths: { 'r.io': { auth: auth('podman:p') } } });
    expect(await find('r.io')).toEqual(basic('podman', 'p'));
    await write('.docker/config.json', { auths: { 'r.io': { auth: auth('docker:p') } } });
    expect(await find('r.io')).toEqual(basic('docker', 'p'));
  });
});

describe('credential helpers', () => {
  test('credHelpers for one registry, credsStore for the others', async () => {
    await write('.docker/config.json', { credsStore: 'all', credHelpers: { 'r.io': 'one' } });
    await helper('one', 'echo "{\\"Username\\":\\"one\\",\\"Secret\\":\\"$server\\"}"');
    await helper('all', 'echo "{\\"Username\\":\\"all\\",\\"Secret\\":\\"$server\\"}"');
    expect(await find('r.io')).toEqual(basic('one', 'r.io'));
    expect(await find('s.io')).toEqual(basic('all', 's.io'));
    expect(await find(DOCKER_HUB)).toEqual(basic('all', 'https://index.docker.io/v1/'));
  });

  test('an identity token', async () => {
    await write('.docker/config.json', { credsStore: 'idt' });
    await helper('idt', 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"s\\"}"');
    expect(await find('r.io')).toEqual({ kind: 'identity', token: 's' });
  });

  test('a helper that knows nothing is anonymous, and the auths still count', async () => {
    await write('.docker/config.json', { credsStore: 'none', auths: { 's.io': { auth: auth('ann:p') } } });
    await helper('none', 'echo "credentials not found in native keychain"; exit 1');
    expect(await find('r.io')).toBeUndefined();
    expect(await find('s.io')).toEqual(basic('ann', 'p'));
    expect(warnings).toEqual([]);
  });

  test.each([
    ['missing', '', /docker-credential-missing failed/],
    ['fails', 'echo "vault is sealed"; exit 3', /status 3: vault is sealed/],
    ['babbles', 'echo not-json-but-secret', /its answer is not JSON/],
    ['partial', 'echo "{}"', /lacks Username and Secret/],
    ['../evil', '', /not a plain word/],
  ])('%s: a warning, and anonymous access', async (name, body, message) => {
    await write('.docker/config.json', { credsStore: name });
    if (body) await helper(name, body);
    expect(await find('r.io')).toBeUndefined();
    expect(warnings).toEqual([expect.stringMatching(message)]);
    expect(warnings[0]).not.toContain('secret');
  });
});

describe('a helper that does not answer', () => {
  beforeEach(async () => {
    await write('.docker/config.json', { credsStore: 'slow' });
    // The program that it starts keeps the output open.
    await helper('slow', `sleep 20 & echo $! > "${home.path}/started"; wait`);
  });
  afterEach(async () => {
    const pid = await readFile(path.join(home.path, 'started'), 'utf8').catch(() => '');
    if (Number(pid) > 0) process.kill(Number(pid));
  });

  test('ends with the signal, and the lookup with its reason', async () => {
    const reason = new Error('time is over');
    const controller = new AbortController();
    const looking = findCredentials('r.io', 'app', { env, signal: controller.signal });
    await expect.poll(() => readFile(path.join(home.path, 'started'), 'utf8').catch(() => '')).not.toBe('');
    controller.abort(reason);
    await expect(looking).rejects.toBe(reason);
  });

  test('is given up after its time', async () => {
    await expect(askHelper('slow', 'r.io', { env, timeout: 300 })).rejects.toMatchObject({
      code: 'unauthorized',
      message: expect.stringContaining('it did not answer within 0.3 s') as string,
    });
  });
});

test('decodeBasic splits at the first colon', () => {
  expect(decodeBasic(auth('a:b:c'))).toEqual({ username: 'a', password: 'b:c' });
  expect(decodeBasic(auth('nothing'))).toBeUndefined();
});
