import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TempDirectory, tempDirectory } from '../../../tests/support/tools.ts';
import { kubeAccess } from './kube-access.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nT3du\n-----END CERTIFICATE-----\n';
const base64 = (text: string) => Buffer.from(text).toString('base64');

let folder: TempDirectory;
beforeEach(async () => {
  folder = await tempDirectory();
});
afterEach(() => folder.remove());

const at = (name: string) => join(folder.path, name);
/** A kubeconfig with one cluster and one user. */
async function config(user: object, cluster: object = {}, more: object = {}): Promise<string> {
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'here',
    clusters: [{ name: 'c', cluster: { server: 'https://kube.example:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u', namespace: 'team' } }],
    ...more,
  };
  await writeFile(at('config'), JSON.stringify(content));
  return at('config');
}

describe('a kubeconfig', () => {
  it('with a token and an authority in it', async () => {
    const access = await kubeAccess(await config({ token: 'abc123' }, { 'certificate-authority-data': base64(PEM) }));
    expect(access).toMatchObject({ server: new URL('https://kube.example:6443'), pem: { ca: PEM }, insecure: false });
    expect(access.namespace).toBe('team');
    expect(await access.authorization()).toBe('Bearer abc123');
  });

  it('with files beside it, and a path on the server', async () => {
    await mkdir(at('pki'));
    for (const name of ['ca', 'cert', 'key']) await writeFile(at(`pki/${name}`), `${PEM}${name}`);
    const user = { 'client-certificate': 'pki/cert', 'client-key': at('pki/key') };
    const cluster = { server: 'https://kube.example/clusters/one', 'certificate-authority': 'pki/ca' };
    const access = await kubeAccess(await config(user, cluster));
    expect(access.pem).toEqual({ ca: `${PEM}ca`, cert: `${PEM}cert`, key: `${PEM}key` });
    expect(await access.authorization()).toBeUndefined();
  });

  it('with a password', async () => {
    const access = await kubeAccess(
      await config({ username: 'u', password: 'p:w' }, { 'insecure-skip-tls-verify': true }),
    );
    expect(await access.authorization()).toBe(`Basic ${base64('u:p:w')}`);
    expect(access.insecure).toBe(true);
  });

  it('as YAML', async () => {
    await config({ token: 'x' });
    await writeFile(
      at('yaml'),
      'current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\nclusters:\n- name: c\n  cluster: {server: "http://127.0.0.1:8080"}\n',
    );
    const access = await kubeAccess(at('yaml'));
    expect(access.server.href).toBe('http://127.0.0.1:8080/');
    expect(access.namespace).toBeUndefined();
  });

  it('with a token in a file, which is read again and outlives its replacement', async () => {
    await writeFile(at('token'), 'first-token\n');
    const access = await kubeAccess(await config({ tokenFile: 'token' }), { tokenAge: 0 });
    expect(await access.authorization()).toBe('Bearer first-token');
    await writeFile(at('token'), 'second-token');
    expect(await access.authorization()).toBe('Bearer second-token');
    await rm(at('token'));
    expect(await access.authorization()).toBe('Bearer second-token');
    const patient = await kubeAccess(await config({ tokenFile: 'token' }), { tokenAge: 60_000 });
    await expect(patient.authorization()).rejects.toMatchObject({ code: 'usage', where: { path: at('token') } });
    await writeFile(at('token'), 'third-token');
    expect(await patient.authorization()).toBe('Bearer third-token');
    await writeFile(at('token'), 'fourth-token');
    expect(await patient.authorization()).toBe('Bearer third-token');
  });

  it.each<[name: string, user: object, more: object, expected: object]>([
    ['a plugin', { exec: { command: 'aws' } }, {}, { found: 'exec', where: { user: 'u' } }],
    ['an old plugin', { 'auth-provider': { name: 'gcp' } }, {}, { found: 'auth-provider' }],
    ['another context', { token: 'x' }, { 'current-context': 'there' }, { expected: 'here', found: 'there' }],
    ['no context', { token: 'x' }, { 'current-context': '' }, { found: 'no current-context' }],
    ['no such user', { token: 'x' }, { users: [] }, { found: 'u', expected: 'at least one' }],
    [
      'no server',
      { token: 'x' },
      { clusters: [{ name: 'c', cluster: {} }] },
      { where: { key: 'clusters.0.cluster.server' } },
    ],
    ['another shape', { token: 'x' }, { users: 7 }, { where: { key: 'users' } }],
    [
      'an authority that is not there',
      { token: 'x' },
      { clusters: [{ name: 'c', cluster: { server: 'https://k', 'certificate-authority': 'gone' } }] },
      {},
    ],
  ])('with %s is refused, and says why', async (_, user, more, expected) => {
    await expect(kubeAccess(await config(user, {}, more))).rejects.toMatchObject({ code: 'usage', ...expected });
  });

  it.each(['{', '- a', '7'])('that is %j is refused', async (text) => {
    await writeFile(at('broken'), text);
    await expect(kubeAccess(at('broken'))).rejects.toMatchObject({ code: 'usage', where: { path: at('broken') } });
  });
});

describe('a service account', () => {
  const account = async () => {
    for (const [name, text] of [
      ['ca.crt', PEM],
      ['token', 'token-of-pod'],
      ['namespace', 'accel\n'],
    ] as const) {
      await writeFile(at(name), text);
    }
    return folder.path;
  };

  it.each([
    ['10.96.0.1', 'https://10.96.0.1:443/', '443'],
    ['fd00::1', 'https://[fd00::1]:6443/', '6443'],
  ])('at %s', async (host, url, port) => {
    const env = { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port };
    const access = await kubeAccess(undefined, { env, serviceAccount: await account() });
    expect(access.server.href).toBe(new URL(url).href);
    expect(access).toMatchObject({ pem: { ca: PEM }, namespace: 'accel', insecure: false });
    expect(await access.authorization()).toBe('Bearer token-of-pod');
  });

  it('is missing outside of a pod, which is said', async () => {
    await expect(kubeAccess(undefined, { env: {} })).rejects.toMatchObject({
      code: 'usage',
      expected: expect.stringContaining('cluster.kubeconfig'),
    });
  });
});
