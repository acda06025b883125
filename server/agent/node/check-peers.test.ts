/** Doctor on nodes whose certificates keep them apart: it names certificates, the peer, and the way to mend them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createAuthority, type PemPair } from '../../certificates/authority.ts';
import { type Cluster, startCluster } from '../../demo/cluster.ts';
import { issueNodeCertificate } from '../certificates.ts';
import type { Identity } from '../pieces/attestation.ts';
import { checkPeers } from './check-peers.ts';
import type { Check } from './node-check.ts';
import { RootedFiles } from './rooted-files.ts';
import { configOf } from './testing/node-root.ts';

const HOUR = 3_600_000;
const during = (from: number, to: number) => ({ from: new Date(Date.now() + from), to: new Date(Date.now() + to) });
const VALID = during(-HOUR, 90 * 24 * HOUR);

let folder: string;
let ours: PemPair;
let foreign: PemPair;
let cluster: Cluster | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-check-peers-'));
  [ours, foreign] = await Promise.all([createAuthority('accel agents', VALID), createAuthority('accel agents', VALID)]);
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function issue(authority: PemPair, id: string, validity = VALID, ca = authority.cert): Promise<Identity> {
  return { ca, ...(await issueNodeCertificate(authority, id, validity)) };
}

/** Three agents, the first of them on this node, each with a certificate of the right authority unless `other` gives one. */
async function start(other: Readonly<Record<number, (id: string) => Promise<Identity | undefined>>> = {}) {
  const identity = (node: number, id: string) => (other[node] ?? ((name) => issue(ours, name)))(id);
  cluster = await startCluster({ size: 3, upstreams: [], identity });
  return cluster.nodes.map(({ id }) => id) as [string, string, string];
}

async function diagnose(own: Identity): Promise<readonly Check[]> {
  const [first, ...others] = cluster!.nodes;
  for (const [name, text] of Object.entries(own)) await writeFile(join(folder, `${name}.pem`), text);
  const file = (name: string) => join(folder, `${name}.pem`);
  const config = configOf({
    registries: [],
    agent: {
      peerListen: first!.id,
      advertise: first!.id,
      peers: {
        static: [first!, ...others].map(({ id }) => id),
        certificates: { caFile: file('ca'), certFile: file('cert'), keyFile: file('key') },
      },
    },
  });
  return checkPeers({ config, files: await RootedFiles.open(folder), canary: undefined });
}

const summary = (checks: readonly Check[]) => checks.map(({ name, status }) => `${status} ${name}`);
const about = (checks: readonly Check[], name: string) => checks.find((check) => check.name === name);

it('all of one authority: nothing is wrong', async () => {
  const own = new Map<string, Identity>();
  const [first] = await start({
    0: async (id) => {
      own.set(id, await issue(ours, id));
      return own.get(id);
    },
  });
  const checks = await diagnose(own.get(first)!);
  expect(summary(checks)).toEqual([
    'ok certificate',
    'ok certificate of the running agent',
    'ok peers',
    'ok clock against peers',
  ]);
});

it('this node has its certificate from another authority: both peers, and what to make', async () => {
  const [first, ...others] = await start();
  const checks = await diagnose(await issue(foreign, first));
  expect(summary(checks)).toEqual([
    'ok certificate',
    'failed certificate of the running agent',
    'failed certificates of peers',
  ]);
  const { found, fix } = about(checks, 'certificates of peers')!;
  for (const id of others) expect(found).toContain(`${id}: its certificate is from another authority than caFile`);
  expect(fix).toContain('accel agent certificates');
  expect(about(checks, 'peers')).toBeUndefined();
});

it('peers refuse the certificate of this node, which trusts theirs', async () => {
  const [first, second, third] = await start();
  const checks = await diagnose(await issue(foreign, first, VALID, `${foreign.cert}\n${ours.cert}`));
  expect(about(checks, 'certificates of peers')).toMatchObject({
    status: 'failed',
    found: expect.stringContaining(`${second}: it refuses this node's certificate`),
    fix: expect.stringContaining("This node's certificate"),
  });
  expect(about(checks, 'certificates of peers')!.found).toContain(third);
});

it('one peer has a certificate that has ended, another that of another node', async () => {
  const [first, second, third] = await start({
    1: (id) => issue(ours, id, during(-48 * HOUR, -HOUR)),
    2: () => issue(ours, '10.9.9.9:65002'),
  });
  const checks = await diagnose(await issue(ours, first));
  const { found } = about(checks, 'certificates of peers')!;
  expect(found).toContain(`${second}: its certificate ended at`);
  expect(found).toContain(`${third}: its certificate is for URI:accel-agent:10.9.9.9:65002`);
});

it('one of two peers has another authority: a warning, and the certificate is to be made there', async () => {
  const [first, second] = await start({ 1: (id) => issue(foreign, id) });
  const checks = await diagnose(await issue(ours, first));
  expect(about(checks, 'certificates of peers')).toMatchObject({
    status: 'warning',
    found: expect.stringMatching(`^1 of 2: ${second}`),
    fix: expect.stringContaining('Make certificates for those nodes'),
  });
});

it('peers and the running agent speak in the clear', async () => {
  const clear = async () => undefined;
  const [first] = await start({ 0: clear, 1: clear, 2: clear });
  const checks = await diagnose(await issue(ours, first));
  expect(summary(checks)).toEqual([
    'ok certificate',
    'failed certificate of the running agent',
    'failed certificates of peers',
  ]);
  expect(about(checks, 'certificates of peers')!.found).toContain('it speaks in the clear');
});

it('the running agent has an older certificate, of an authority that the peers do not know', async () => {
  const [first, second] = await start({ 0: (id) => issue(foreign, id) });
  const checks = await diagnose(await issue(ours, first));
  expect(about(checks, 'certificate of the running agent')).toMatchObject({ status: 'failed' });
  expect(about(checks, 'certificates of peers')).toMatchObject({
    status: 'failed',
    found: expect.stringContaining(`${second} cannot reach this node`),
    fix: expect.stringContaining('systemctl reload accel-agent'),
  });
});

it('a peer that is down is no matter of certificates', async () => {
  const [first, second] = await start();
  await cluster!.nodes[1]!.agent.close();
  const checks = await diagnose(await issue(ours, first));
  expect(about(checks, 'peers')).toMatchObject({ status: 'warning', found: expect.stringContaining(second) });
  expect(about(checks, 'certificates of peers')).toBeUndefined();
});
