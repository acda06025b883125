/** Checks of the other agents: whether each is reached and reaches this node, their certificates, and their clocks. */
import { type Config, hostAndPort } from '../../config/schema.ts';
import { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import type { AgentOptions } from '../agent.ts';
import { agentOptions } from '../agent-options.ts';
import { ExchangeClient } from '../peers/exchange-client.ts';
import type { Peer } from '../peers/topology.ts';
import type { Identity } from '../pieces/attestation.ts';
import {
  type CertificateFault,
  checkOwnCertificate,
  checkRunningCertificate,
  lookAtCertificate,
} from './check-certificate.ts';
import { checkSkew } from './check-clock.ts';
import { type Check, type Examined, failed, ok, skipped, warning } from './node-check.ts';
import { reasonOf } from './probe.ts';

/** Peers that are asked, and how many at a time. */
const MOST_PEERS = 64;
const AT_ONCE = 8;
/** Peers that a finding names. */
const MOST_NAMED = 5;
/** Slower than in the agent: a slow answer is an answer here. */
const PATIENT = { connect: 2_000, silence: 5_000, piece: 10_000 };

/** A peer that does not work with this node. */
interface Failure {
  readonly reason: string;
  /** A fault of certificates; absent for other reasons. */
  readonly fault?: CertificateFault | 'running';
}

/** Whether this node reaches its peers and they reach it, their certificates and clocks. */
export async function checkPeers({ config, cluster }: Examined): Promise<readonly Check[]> {
  let options: AgentOptions;
  try {
    const metrics = new AgentMetrics(createMetrics('doctor'));
    options = await agentOptions(config, { metrics, log: () => undefined, cluster });
  } catch (error) {
    return [
      failed('peers', reasonOf(error), 'Mend the configuration: accel agent run with its check lists what is wrong.'),
    ];
  }
  try {
    return await checkOthers(config, options);
  } finally {
    await Promise.all([options.members.close?.(), options.certificate?.close()]);
  }
}

async function checkOthers(config: Config, options: AgentOptions): Promise<readonly Check[]> {
  const { self, members, certificate } = options;
  // Only the running agent asks for a certificate: here, it is that of its file.
  if (certificate?.isUsable === false) {
    const fix = 'Look at the log of the agent, and at the controller that signs.';
    return [failed('certificate', certificate.problem ?? 'the agent has no certificate', fix)];
  }
  const identity = certificate?.current ?? options.identity;
  const { host, port } = hostAndPort(config.agent.peerListen);
  const own = `${host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host}:${port}`;
  const checks =
    identity === undefined
      ? []
      : [checkOwnCertificate(identity, self.id), ...(await checkRunningCertificate(identity, own))];
  let peers: readonly Peer[];
  try {
    peers = (await members.read(AbortSignal.timeout(PATIENT.piece))).filter(({ id }) => id !== self.id);
  } catch (error) {
    return [
      ...checks,
      failed('peers', `${members.name}: ${reasonOf(error)}`, 'Mend agent.peers, or the source of the list.'),
    ];
  }
  if (peers.length === 0) {
    return [...checks, skipped('peers', 'there are no other agents', 'Name them in agent.peers, so that nodes share.')];
  }
  const asked = peers.slice(0, MOST_PEERS);
  const { failures, skews } = await reachAll(
    asked,
    new ExchangeClient(self, identity, { deadlines: PATIENT }),
    identity,
  );
  const rest = peers.length > asked.length ? `; ${peers.length - asked.length} more were not asked` : '';
  const found = (some: readonly Failure[]) => {
    const reasons = some.slice(0, MOST_NAMED).map(({ reason }) => reason);
    return `${some.length} of ${asked.length}: ${reasons.join('; ')}${rest}`;
  };
  // One node that is down, or has an old certificate, is no fault of this one.
  const isAll = failures.length === asked.length;
  const bad = isAll ? failed : warning;
  const certificates = failures.filter(({ fault }) => fault !== undefined);
  const others = failures.filter(({ fault }) => fault === undefined);
  if (certificates.length > 0)
    checks.push(bad('certificates of peers', found(certificates), certificateFix(certificates, isAll)));
  if (others.length > 0) {
    const fix = `Open TCP port ${port} between the nodes in both directions; agent.advertise (${self.id}) has to be this node's address.`;
    checks.push(bad('peers', found(others), fix));
  }
  if (failures.length === 0) checks.push(ok('peers', `${asked.length} reached, and each reached this node${rest}`));
  return [...checks, ...checkSkew('clock against peers', skews)];
}

async function reachAll(asked: readonly Peer[], client: ExchangeClient, identity: Identity | undefined) {
  const failures: Failure[] = [];
  const skews: number[] = [];
  const waiting = asked.values();
  const work = async () => {
    for (const peer of waiting) {
      const start = Date.now();
      const got = await client.reach(peer);
      if (typeof got === 'string') {
        failures.push(await explain(peer, got, identity));
        continue;
      }
      skews.push(got.time - (start + Date.now()) / 2);
      if (got.failure === undefined) continue;
      // The peer saw what the running agent shows.
      const isCertificate = identity !== undefined && /certificate|self.signed|issuer/i.test(got.failure);
      const reason = `${peer.id} cannot reach this node: ${got.failure}`;
      failures.push({ reason, ...(isCertificate ? { fault: 'running' } : {}) });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  client.close();
  return { failures, skews };
}

/** Finds out whether it is certificates that keep two nodes apart: the connection itself does not say. */
async function explain({ id }: Peer, got: string, identity: Identity | undefined): Promise<Failure> {
  const unreached = { reason: `${id} cannot be reached: ${got}` };
  if (identity === undefined) return unreached;
  if (got.endsWith(' 403'))
    return { reason: `${id} does not take this node's certificate for its address`, fault: 'ours' };
  const { fault, reason } = await lookAtCertificate(id, id, identity);
  return fault === undefined ? unreached : { reason: `${id}: ${reason}`, fault };
}

function certificateFix(failures: readonly Failure[], isAll: boolean): string {
  const has = (wanted: Failure['fault']) => failures.some(({ fault }) => fault === wanted);
  if (has('running')) return 'systemctl reload accel-agent on this node: it reads the files of its certificate again.';
  if (has('no TLS')) {
    return 'Give those nodes certificates (agent.peers.certificates), or all nodes agent.peers.plaintext: true.';
  }
  const make =
    'accel agent certificates in the folder that has the ca-key.pem of the others, then copy ca.pem, cert.pem and key.pem';
  return isAll
    ? `This node's certificate has another authority than its peers', or has ended. Make one: ${make} here, and systemctl reload accel-agent.`
    : `Make certificates for those nodes: ${make} there, and systemctl reload accel-agent on each.`;
}
