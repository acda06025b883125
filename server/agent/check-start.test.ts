/** `agent run --check`: everything that would keep an agent from starting on this machine, with the key and the file. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { createAuthority, type PemPair } from '../certificates/authority.ts';
import { parseConfig } from '../config/load.ts';
import { issueNodeCertificate } from './certificates.ts';
import { checkAgentStart } from './check-start.ts';

const HOUR = 3_600_000;
const SELF = '10.0.0.1:65002';
const now = Date.now();
const GOOD = { from: new Date(now - HOUR), to: new Date(now + HOUR) };

let folder: string;
let authority: PemPair;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-check-'));
  authority = await createAuthority('test', GOOD);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const file = (name: string) => join(folder, name);

async function identity(certificate: PemPair, ca = authority.cert): Promise<void> {
  await writeFile(file('ca.pem'), ca);
  await writeFile(file('cert.pem'), certificate.cert);
  await writeFile(file('key.pem'), certificate.key);
}

function settings(agent: Record<string, unknown> = {}, rest: Record<string, unknown> = {}) {
  const certificates = { caFile: file('ca.pem'), certFile: file('cert.pem'), keyFile: file('key.pem') };
  const value = {
    registries: [{ host: 'registry.example.com' }],
    agent: {
      listen: '127.0.0.1:0',
      peerListen: '127.0.0.1:0',
      advertise: SELF,
      cache: { path: file('cache') },
      peers: { static: [SELF], certificates },
      ...agent,
    },
    telemetry: { listen: '127.0.0.1:0' },
    ...rest,
  };
  return parseConfig(JSON.stringify(value), 'accel.yaml');
}

async function failure(config = settings()): Promise<AccelError> {
  const error = await checkAgentStart(config).catch((one: unknown) => one);
  expect(error).toBeInstanceOf(AccelError);
  return error as AccelError;
}

const issue = (node = SELF, validity = GOOD, by = authority) => issueNodeCertificate(by, node, validity);

it('a configuration that fits has no warning, and leaves nothing behind', async () => {
  await identity(await issue());
  expect(await checkAgentStart(settings())).toEqual([]);
  await expect(rm(file('cache'))).rejects.toMatchObject({ code: 'ENOENT' });
});

it('a second authority in the file is one as well', async () => {
  const other = await createAuthority('next', GOOD);
  await identity(await issue(), other.cert + authority.cert);
  expect(await checkAgentStart(settings())).toEqual([]);
});

describe('refuses', () => {
  it('other agents without an address or without certificates', async () => {
    expect(await failure(settings({ advertise: undefined }))).toMatchObject({
      code: 'usage',
      where: { key: 'agent.advertise' },
    });
    expect(await failure(settings({ peers: { static: [SELF] } }))).toMatchObject({
      code: 'usage',
      where: { key: 'agent.peers.certificates' },
    });
  });

  it.each<[string, () => Promise<PemPair>, string, RegExp]>([
    [
      'a key of another certificate',
      async () => ({ ...(await issue()), key: (await issue()).key }),
      'keyFile',
      /key of another/,
    ],
    [
      'another authority',
      async () => issue(SELF, GOOD, await createAuthority('other', GOOD)),
      'certFile',
      /another authority, CN=other/,
    ],
    ['another node', () => issue('10.0.0.2:65002'), 'certFile', /accel-agent:10\.0\.0\.2:65002/],
    [
      'a certificate that has ended',
      () => issue(SELF, { from: new Date(now - 2 * HOUR), to: new Date(now - HOUR) }),
      'certFile',
      /it ended at/,
    ],
    [
      'one that is not valid yet',
      () => issue(SELF, { from: new Date(now + HOUR), to: new Date(now + 2 * HOUR) }),
      'certFile',
      /it begins at/,
    ],
  ])('%s', async (_, make, key, found) => {
    await identity(await make());
    const error = await failure();
    const name = { certFile: 'cert.pem', keyFile: 'key.pem' }[key]!;
    expect(error).toMatchObject({ code: 'usage', where: { key: `agent.peers.certificates.${key}`, file: file(name) } });
    expect(error.found).toMatch(found);
    expect(error.expected).toBeTruthy();
    expect(error.hint).toContain('accel agent certificates');
  });

  const passphrase = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  it.each<[string, string, string | undefined, string]>([
    ['certFile', 'cert.pem', undefined, 'no such file'],
    ['certFile', 'cert.pem', '', 'an empty file'],
    ['certFile', 'cert.pem', 'hello', 'a file without a PEM block'],
    ['certFile', 'cert.pem', passphrase.privateKey, 'a block of ENCRYPTED PRIVATE KEY'],
    ['caFile', 'ca.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'a damaged certificate'],
    ['caFile', 'ca.pem', '-----BEGIN CERTIFICATE-----\nMIIB', 'a damaged certificate'],
    ['keyFile', 'key.pem', passphrase.publicKey, 'a block of PUBLIC KEY'],
    ['keyFile', 'key.pem', passphrase.privateKey, 'a key with a passphrase'],
    ['keyFile', 'key.pem', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', 'a damaged private key'],
  ])('%s: %s that is %j', async (key, name, text, found) => {
    await identity(await issue());
    await (text === undefined ? rm(file(name)) : writeFile(file(name), text));
    const error = await failure();
    expect(error).toMatchObject({
      code: 'usage',
      where: { key: `agent.peers.certificates.${key}`, file: file(name) },
      found,
    });
    expect(error.expected).toContain('a PEM file');
  });

  it('files of registries that cannot be used', async () => {
    await identity(await issue());
    await writeFile(file('broken'), 'not JSON');
    const registry = (more: object) => settings({}, { registries: [{ host: 'registry.example.com', ...more }] });
    expect(await failure(registry({ caFile: file('broken') }))).toMatchObject({
      code: 'usage',
      where: { key: 'registries[0].caFile', file: file('broken') },
    });
    expect(await failure(registry({ credentialsFile: file('none') }))).toMatchObject({
      code: 'usage',
      where: { key: 'registries[0].credentialsFile', file: file('none') },
    });
    expect((await failure(registry({ credentialsFile: file('broken') }))).code).toBe('usage');
  });

  it('a folder that cannot be made', async () => {
    await identity(await issue());
    await writeFile(file('cache'), '');
    expect(await failure(settings({ cache: { path: file('cache/pieces') } }))).toMatchObject({
      code: 'io-error',
      where: { key: 'agent.cache.path' },
    });
    await chmod(file('cache'), 0o600);
  });

  it('addresses that it cannot have, and names who has them', async () => {
    await identity(await issue());
    const server = createServer((_, response) => void response.end('{}')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const taken = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const error = await failure(settings({ listen: taken }));
    server.close();
    expect(error).toMatchObject({ code: 'io-error', found: `another program listens at agent.listen (${taken})` });
    expect(await failure(settings({ listen: '192.0.2.1:65001' }))).toMatchObject({
      code: 'io-error',
      where: { key: 'agent.listen' },
      found: expect.stringContaining('EADDRNOTAVAIL'),
    });
    expect(await failure(settings({ listen: '127.0.0.1:65009', peerListen: '0.0.0.0:65009' }))).toMatchObject({
      where: { key: 'agent.peerListen' },
    });
  });
});

it('warns where an agent runs here already, and where the members are not known', async () => {
  await identity(await issue());
  const server = createServer((_, response) => void response.end('{"node": "10.0.0.1:65002"}')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const taken = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { certificates } = settings().agent.peers;
  const config = settings({ peers: { file: file('members'), certificates } }, { telemetry: { listen: taken } });
  const warnings = await checkAgentStart(config);
  server.close();
  expect(warnings).toEqual([
    expect.stringContaining(file('members')),
    `an agent runs here already and has telemetry.listen (${taken})`,
  ]);
});
