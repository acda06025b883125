/** Plugins of kubelet's credential providers: real programs, called as kubelet calls them. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseConfig } from '../../config/load.ts';
import { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { agentOptions } from '../agent-options.ts';
import { KubeletPlugins } from './kubelet-plugins.ts';
import { goDuration, readProviderConfig } from './provider-config.ts';

const API = 'credentialprovider.kubelet.k8s.io/v1';
const SECRET = 'very-secret-word';
let folder: string;
let now: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-plugins-'));
  now = 0;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const program = async (name: string, script: string) => {
  await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, name), 0o755);
};
/** A program that notes each question and answers. */
const answering = (name: string, answer: object) =>
  program(
    name,
    [
      `cat >>'${folder}/asked'; echo " $* $WORD" >>'${folder}/asked'`,
      `cat <<'X'\n${JSON.stringify({ apiVersion: API, kind: 'CredentialProviderResponse', ...answer })}\nX`,
    ].join('\n'),
  );
const asked = async () =>
  (await readFile(join(folder, 'asked'), 'utf8').catch(() => '')).trim().split('\n').filter(Boolean);
const config = async (providers: readonly object[]) => {
  const path = join(folder, 'providers.yaml');
  // JSON is YAML.
  const head = { apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig' };
  await writeFile(path, JSON.stringify({ ...head, providers }));
  return path;
};
const provider = (more: object = {}) => ({
  name: 'cloud',
  matchImages: ['*.example.com'],
  defaultCacheDuration: '10m',
  apiVersion: API,
  ...more,
});
const failures: string[] = [];
const runs: string[] = [];
async function plugins(providers: readonly object[], timeout = 10_000): Promise<KubeletPlugins> {
  failures.length = 0;
  runs.length = 0;
  const { plugins: found } = await readProviderConfig(await config(providers));
  return new KubeletPlugins({
    plugins: found,
    folder,
    env: { PATH: process.env.PATH },
    timeout,
    now: () => now,
    onFailure: (error) => failures.push((error as Error).message),
    onRun: (plugin, outcome) => runs.push(`${plugin} ${outcome}`),
  });
}
const auth = { '*.example.com': { username: 'ann', password: SECRET } };

describe('a plugin', () => {
  it('gets the request, its arguments and its variables, and its answer is used', async () => {
    await answering('cloud', { cacheKeyType: 'Image', cacheDuration: '5m', auth });
    const source = await plugins([provider({ args: ['get', '--fast'], env: [{ name: 'WORD', value: 'hi' }] })]);
    expect(await source.find('a.example.com', 'team/app')).toEqual({ username: 'ann', password: SECRET });
    const [line = ''] = await asked();
    expect(JSON.parse(line.slice(0, line.indexOf('}') + 1))).toEqual({
      apiVersion: API,
      kind: 'CredentialProviderRequest',
      image: 'a.example.com/team/app',
    });
    expect(line).toMatch(/} get --fast hi$/);
  });

  it.each([
    ['Image', 3],
    ['Registry', 2],
    ['Global', 1],
  ])('its answer counts for its %s', async (cacheKeyType, times) => {
    await answering('cloud', { cacheKeyType, cacheDuration: '5m', auth });
    const source = await plugins([provider()]);
    for (const [registry, repository] of [
      ['a.example.com', 'one'],
      ['a.example.com', 'one'],
      ['a.example.com', 'two'],
      ['b.example.com', 'one'],
    ] as const)
      expect(await source.find(registry, repository)).toEqual({ username: 'ann', password: SECRET });
    expect(await asked()).toHaveLength(times);
  });

  it.each([
    ['for its time', { cacheDuration: '5m' }, 300_000],
    ['for the time of the configuration, where it has none', {}, 600_000],
    ['for the time of the configuration, where it is null', { cacheDuration: null }, 600_000],
    ['not at all', { cacheDuration: '0s' }, 0],
  ])('its answer counts %s', async (_, more, lifetime) => {
    await answering('cloud', { cacheKeyType: 'Registry', auth, ...more });
    const source = await plugins([provider()]);
    await source.find('a.example.com', 'one');
    now = Math.max(0, lifetime - 1);
    await source.find('a.example.com', 'one');
    expect(await asked()).toHaveLength(lifetime === 0 ? 2 : 1);
    now = lifetime;
    await source.find('a.example.com', 'one');
    expect(await asked()).toHaveLength(lifetime === 0 ? 3 : 2);
  });

  it('runs once for questions at the same time', async () => {
    await answering('cloud', { cacheKeyType: 'Image', cacheDuration: '0s', auth });
    const source = await plugins([provider()]);
    await Promise.all(Array.from({ length: 20 }, () => source.find('a.example.com', 'one')));
    expect(await asked()).toHaveLength(1);
  });

  it('gives the most exact of its entries', async () => {
    const one = (password: string) => ({ username: 'u', password });
    const entries = { 'a.example.com': one('host'), 'a.example.com/team': one('team'), '*.example.com': one('any') };
    await answering('cloud', { cacheKeyType: 'Global', cacheDuration: '5m', auth: entries });
    const source = await plugins([provider()]);
    expect((await source.find('a.example.com', 'team/app'))?.password).toBe('team');
    expect((await source.find('a.example.com', 'app'))?.password).toBe('host');
    expect((await source.find('b.example.com', 'team/app'))?.password).toBe('any');
  });

  it.each([
    ['a.example.com', 'x', true],
    ['a.b.example.com', 'x', false],
    ['a.example.com:5000', 'x', false],
    ['example.com', 'x', false],
    ['exact.io:5000', 'x', true],
    ['paths.io', 'team/app', true],
    ['paths.io', 'other/app', false],
    ['docker.io', 'library/x', true],
    ['registry-1.docker.io', 'library/x', true],
  ])('is asked about %s/%s: %s', async (registry, repository, isAsked) => {
    await answering('cloud', { cacheKeyType: 'Image', auth: {} });
    const matchImages = ['*.example.com', 'exact.io:5000', 'paths.io/team', 'docker.io'];
    expect(await (await plugins([provider({ matchImages })])).find(registry, repository)).toBeUndefined();
    expect((await asked()).length === 1).toBe(isAsked);
  });

  it('without a credential leaves it to the next', async () => {
    await answering('empty', { cacheKeyType: 'Image', auth: {} });
    await program('broken', 'exit 3');
    await answering('cloud', { cacheKeyType: 'Image', auth });
    const source = await plugins([provider({ name: 'empty' }), provider({ name: 'broken' }), provider()]);
    expect((await source.find('a.example.com', 'x'))?.username).toBe('ann');
    expect(runs).toEqual(['empty answered', 'broken failed', 'cloud answered']);
  });
});

describe('a plugin that fails', () => {
  it.each([
    ['with a status', `echo ${SECRET}; echo ${SECRET} >&2; exit 3`, 'it ended with status 3'],
    ['with text', `echo '${SECRET}'`, 'its answer is not JSON'],
    ['with something else', `echo '{"kind":"${SECRET}"}'`, 'its answer is no CredentialProviderResponse'],
    [
      'with an unknown cache',
      `echo '{"apiVersion":"${API}","kind":"CredentialProviderResponse","cacheKeyType":"${SECRET}"}'`,
      'cacheKeyType',
    ],
    [
      'with another version',
      `echo '{"apiVersion":"x/${SECRET}","kind":"CredentialProviderResponse","cacheKeyType":"Image"}'`,
      `its answer is not of ${API}`,
    ],
    [
      'with an answer without end',
      `while :; do echo ${SECRET}${SECRET}${SECRET}${SECRET}; done`,
      'longer than 1048576 bytes',
    ],
  ])('%s: says so without a word of it, and leaves the device as nobody', async (_, script, reason) => {
    await program('cloud', script);
    const source = await plugins([provider({ env: [{ name: 'TOKEN', value: SECRET }] })]);
    expect(await source.find('a.example.com', 'x')).toBeUndefined();
    expect(failures).toEqual([expect.stringContaining(reason)]);
    expect(failures.join()).not.toContain(SECRET);
  });

  it('does not run again at once, but after ten seconds', async () => {
    await program('cloud', `echo x >>'${folder}/asked'; exit 1`);
    const source = await plugins([provider()]);
    for (const time of [0, 1, 9_999]) {
      now = time;
      await source.find('a.example.com', 'x');
    }
    expect(await asked()).toHaveLength(1);
    now = 10_000;
    await source.find('a.example.com', 'x');
    expect(await asked()).toHaveLength(2);
  });

  it('leaves its last answer in place', async () => {
    await answering('cloud', { cacheKeyType: 'Registry', cacheDuration: '5m', auth });
    const source = await plugins([provider()]);
    await source.find('a.example.com', 'x');
    await program('cloud', 'exit 1');
    now = 400_000;
    expect((await source.find('a.example.com', 'x'))?.username).toBe('ann');
    expect(runs).toEqual(['cloud answered', 'cloud failed']);
  });

  it('by not answering ends with everything that it started', async () => {
    await program('cloud', `sh -c 'echo $$ >${folder}/child; exec sleep 600' & wait`);
    const source = await plugins([provider()], 300);
    expect(await source.find('a.example.com', 'x')).toBeUndefined();
    expect(failures).toEqual(['the credential provider plugin cloud failed: it did not answer within 0.3 s']);
    const child = Number(await readFile(join(folder, 'child'), 'utf8'));
    await vi.waitFor(async () => expect(await isAlive(child)).toBe(false), 5_000);
  });

  it('whose program is missing is named', async () => {
    const source = await plugins([provider({ name: 'nobody' })]);
    await source.find('a.example.com', 'x');
    expect(failures).toEqual(['the credential provider plugin nobody failed: there is no such program']);
  });
});

describe('the configuration', () => {
  it.each([
    ['12h', 43_200_000],
    ['1h30m', 5_400_000],
    ['0', 0],
    ['0s', 0],
    ['1.5s', 1_500],
    ['200ms', 200],
    ['', undefined],
    ['5', undefined],
    ['5d', undefined],
    ['-1s', undefined],
  ])('%j is %s ms', (text, expected) => expect(goDuration(text)).toBe(expected));

  it.each([
    [{ name: '../cloud' }, 'providers.0.name'],
    [{ name: 'a b' }, 'providers.0.name'],
    [{ matchImages: [] }, 'providers.0.matchImages'],
    [{ defaultCacheDuration: 'long' }, 'providers.0.defaultCacheDuration'],
    [{ apiVersion: 'v1' }, 'providers.0.apiVersion'],
    [{ env: [{ name: 'A', value: 5 }] }, 'providers.0.env.0.value'],
  ])('%j is refused', async (more, place) => {
    const error = readProviderConfig(await config([provider(more)]));
    await expect(error).rejects.toMatchObject({ code: 'usage', found: expect.stringContaining(place) });
  });

  it('with another content is refused, without a word of it', async () => {
    const path = join(folder, 'providers.yaml');
    await expect(readProviderConfig(path)).rejects.toMatchObject({ found: 'no such file' });
    for (const text of [`a: [${SECRET}`, SECRET, '']) {
      await writeFile(path, text);
      const error = await readProviderConfig(path).catch((one: unknown) => one as Error);
      expect(error).toMatchObject({ code: 'usage' });
      expect(`${error} ${JSON.stringify(error)}`).not.toContain(SECRET);
    }
    await expect(readProviderConfig(await config([provider(), provider()]))).rejects.toMatchObject({
      found: 'two providers with the name cloud',
    });
  });

  it('leaves out plugins that need the service account of a pod', async () => {
    const withPod = provider({
      name: 'pods',
      tokenAttributes: { serviceAccountTokenAudience: 'x', requireServiceAccount: true },
    });
    expect(await readProviderConfig(await config([withPod, provider()]))).toMatchObject({
      plugins: [{ name: 'cloud' }],
      withoutPod: ['pods'],
    });
  });

  it('of the agent brings the plugins behind the files of the node', async () => {
    await answering('cloud', {
      cacheKeyType: 'Registry',
      auth: { ...auth, 'own.example.com': { username: 'no', password: 'no' } },
    });
    const own = { auths: { 'own.example.com': { auth: Buffer.from('own:pass').toString('base64') } } };
    await writeFile(join(folder, 'own.json'), JSON.stringify(own));
    const path = await config([provider(), provider({ name: 'pods', tokenAttributes: {} })]);
    const text = JSON.stringify({
      registries: [{ host: 'own.example.com', credentialsFile: join(folder, 'own.json') }, { host: 'a.example.com' }],
      agent: { credentials: { serve: true, kubelet: { config: path, binaries: folder } } },
    });
    const log: string[] = [];
    const metrics = createMetrics('agent');
    const { credentials } = await agentOptions(parseConfig(text, 'test'), {
      metrics: new AgentMetrics(metrics),
      log: (line) => log.push(line),
    });
    const { source } = credentials!;
    expect(await source.find('own.example.com', 'x')).toEqual({ username: 'own', password: 'pass' });
    expect(await source.find('a.example.com', '')).toEqual({ username: 'ann', password: SECRET });
    expect(log).toEqual(['kubelet’s plugin pods needs the service account of a pod: it is not asked']);
    expect(await metrics.text()).toContain(
      'accel_agent_credential_plugin_runs_total{plugin="cloud",outcome="answered"} 1',
    );
  });
});

async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
