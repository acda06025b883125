/** Checks of the agent itself: whether it runs, its peers, clocks, certificates, disk and registries. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { constants } from 'node:fs';
import { access, readFile, statfs } from 'node:fs/promises';
import { connect } from 'node:net';
import { posix } from 'node:path';
import { isRecord } from '../../../base/is-record.ts';
import { bytesOf, hostAndPort } from '../../config/schema.ts';
import { AgentMetrics } from '../../telemetry/agent-metrics.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import type { AgentOptions } from '../agent.ts';
import { agentOptions } from '../agent-options.ts';
import { ExchangeClient } from '../peers/exchange-client.ts';
import { isFor } from '../pieces/attestation.ts';
import { type Check, type Examined, failed, ok, skipped, warning } from './node-check.ts';
import { probe, reasonOf } from './probe.ts';
import { setupTarget } from './setup.ts';
import { serverOf } from './setup-containerd.ts';

/** Peers that are asked, and how many at a time. */
const MOST_PEERS = 64;
const AT_ONCE = 8;
/** Slower than in the agent: a slow answer is an answer here. */
const PATIENT = { connect: 2_000, silence: 5_000, piece: 10_000 };
/** Milliseconds: tokens and certificates fail with minutes, logs mislead with seconds. */
const SKEW = { warning: 5_000, failed: 60_000 };
const DAY = 86_400_000;
const RENEW_DAYS = 14;
const RUN = 'Start it: systemctl start accel-agent, or accel agent run. Its log says why it ended.';

/** Whether the agent answers clients and is ready. */
export async function checkAgent({ config }: Examined): Promise<readonly Check[]> {
  const { agent } = setupTarget(config);
  const telemetry = localUrl(config.telemetry.listen);
  const [ready, mirror] = await Promise.all([answer(`${telemetry}/readyz`), answer(`${agent}/v2/`)]);
  const checks: Check[] = [];
  if (typeof ready === 'string') checks.push(failed('agent', `${telemetry}/readyz: ${ready}`, RUN));
  else if (ready.status === 200) checks.push(ok('agent', 'it is ready'));
  else
    checks.push(failed('agent', `it is not ready: ${ready.body.trim()}`, 'See agent.peers in docs/configuration.md.'));
  if (typeof mirror === 'string') checks.push(failed('port of clients', `${agent}: ${mirror}`, RUN));
  else if ([200, 401, 404].includes(mirror.status)) checks.push(ok('port of clients', `${agent} answers`));
  else {
    const fix = 'Another program has the port: stop it, or choose another agent.listen and run setup again.';
    checks.push(failed('port of clients', `${agent}/v2/ answers ${mirror.status}`, fix));
  }
  const { host, port } = hostAndPort(config.agent.peerListen);
  const refused = await cannotConnect(host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port);
  checks.push(
    refused === undefined
      ? ok('port of agents', `${config.agent.peerListen} accepts connections`)
      : failed('port of agents', `${config.agent.peerListen}: ${refused}`, RUN),
  );
  return checks;
}

/** Whether this node reaches its peers and they reach it, and their clocks. */
export async function checkPeers({ config }: Examined): Promise<readonly Check[]> {
  let options: AgentOptions;
  try {
    options = await agentOptions(config, { metrics: new AgentMetrics(createMetrics('doctor')), log: () => undefined });
  } catch (error) {
    return [
      failed('peers', reasonOf(error), 'Mend the configuration: accel agent run with its check lists what is wrong.'),
    ];
  }
  const { self, members, identity } = options;
  const checks = identity === undefined ? [] : [certificateCheck(identity, self.id)];
  let peers: readonly { readonly id: string; readonly zone: string }[];
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
  const client = new ExchangeClient(self, identity, { deadlines: PATIENT });
  const asked = peers.slice(0, MOST_PEERS);
  const failures: string[] = [];
  const skews: number[] = [];
  const waiting = asked.values();
  const work = async () => {
    for (const peer of waiting) {
      const start = Date.now();
      const got = await client.reach(peer);
      if (typeof got === 'string') failures.push(`${peer.id} cannot be reached: ${got}`);
      else {
        skews.push(got.time - (start + Date.now()) / 2);
        if (got.failure !== undefined) failures.push(`${peer.id} cannot reach this node: ${got.failure}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  client.close();
  const rest = peers.length > asked.length ? `; ${peers.length - asked.length} more were not asked` : '';
  const { port } = hostAndPort(config.agent.peerListen);
  const fix = `Open TCP port ${port} between the nodes in both directions; agent.advertise (${self.id}) has to be this node's address.`;
  if (failures.length > 0) {
    const shown = failures.slice(0, 5).join('; ');
    const found = `${failures.length} of ${asked.length}: ${shown}${rest}`;
    // One node that is down is no fault of this one.
    checks.push(failures.length === asked.length ? failed('peers', found, fix) : warning('peers', found, fix));
  } else checks.push(ok('peers', `${asked.length} reached, and each reached this node${rest}`));
  return [...checks, ...skewCheck('clock against peers', skews)];
}

function certificateCheck({ ca, cert, key }: NonNullable<AgentOptions['identity']>, id: string): Check {
  const name = 'certificate';
  const renew = 'Make a new one with accel agent certificates, copy it here, and restart the agent.';
  try {
    const own = new X509Certificate(cert);
    const authority = new X509Certificate(ca);
    const left = Math.floor((Date.parse(own.validTo) - Date.now()) / DAY);
    if (!isFor(own, id)) return failed(name, `it is not for ${id}, the address in agent.advertise`, renew);
    if (!own.checkPrivateKey(createPrivateKey(key))) return failed(name, 'its key is another one', renew);
    if (!own.checkIssued(authority) || !own.verify(authority.publicKey)) {
      return failed(name, 'it is not from the authority in caFile', renew);
    }
    if (Date.parse(own.validFrom) > Date.now()) return failed(name, `it begins at ${own.validFrom}`, 'Set the clock.');
    if (left < 0) return failed(name, `it ended at ${own.validTo}`, renew);
    if (left < RENEW_DAYS) return warning(name, `it ends in ${left} days, at ${own.validTo}`, renew);
    return ok(name, `it ends in ${left} days`);
  } catch (error) {
    return failed(name, reasonOf(error), renew);
  }
}

/** Whether the cache has room and may be written. */
export async function checkDisk({ config, files }: Examined): Promise<readonly Check[]> {
  const { path, keepFree, capacity } = config.agent.cache;
  let folder = await files.locate(path);
  while (!(await files.exists(folder))) folder = posix.dirname(folder);
  const host = files.host(folder);
  try {
    await access(host, constants.W_OK);
    const { blocks, bavail, bsize } = await statfs(host);
    const [free, reserved] = [bavail * bsize, blocks * bsize * keepFree];
    const text = `${gigabytes(free)} of ${gigabytes(blocks * bsize)} are free at ${path}`;
    const fix =
      'Free space, or move agent.cache.path; without room pieces stay in memory and the registry is asked more often.';
    if (free < reserved)
      return [failed('disk', `${text}; ${gigabytes(reserved)} stay free (agent.cache.keepFree)`, fix)];
    // Of a cache that exists, what it holds already counts as taken.
    const isTight = folder !== (await files.locate(path)) && free - reserved < bytesOf(capacity);
    return [isTight ? warning('disk', `${text}, less than agent.cache.capacity`, fix) : ok('disk', text)];
  } catch (error) {
    return [failed('disk', `${path}: ${reasonOf(error)}`, 'Let the agent write there, or change agent.cache.path.')];
  }
}

/** Whether each registry answers, its clock, and the credentials that are configured for it. */
export async function checkRegistries({ config }: Examined): Promise<readonly Check[]> {
  const { registries } = setupTarget(config);
  if (registries.length === 0)
    return [failed('registries', 'none is configured', 'Name them: registries: [{host: …}].')];
  const checks = await Promise.all(
    registries.map(async (registry, index): Promise<readonly Check[]> => {
      const name = `registry ${registry.host}`;
      try {
        const ca = registry.caFile === undefined ? undefined : await readFile(registry.caFile, 'utf8');
        const { status, skew } = await probe(`${serverOf(registry)}/v2/`, ca);
        const isRegistry = status === 200 || status === 401 || status === 403;
        return [
          isRegistry
            ? ok(name, `it answers ${status}`)
            : failed(name, `/v2/ answers ${status}`, 'Is this the host of a registry?'),
          ...skewCheck(`clock against ${registry.host}`, skew === undefined ? [] : [skew]),
          ...(await credentials(config.registries[index]?.credentialsFile, registry.host)),
        ];
      } catch (error) {
        const fix =
          'Check name, network and caFile. Doctor uses no proxy: where one is needed, this check says nothing.';
        return [failed(name, reasonOf(error), fix)];
      }
    }),
  );
  return checks.flat();
}

async function credentials(file: string | undefined, host: string): Promise<readonly Check[]> {
  if (file === undefined) return [];
  const name = `credentials for ${host}`;
  const fix = `${file} has to be in the form of Docker's config.json, with an entry for ${host}.`;
  try {
    const { auths, credHelpers, credsStore } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    const has = [auths, credHelpers].some((map) => isRecord(map) && Object.keys(map).some((key) => key.includes(host)));
    return [has || typeof credsStore === 'string' ? ok(name, `${file} has an entry`) : failed(name, 'no entry', fix)];
  } catch (error) {
    // A message of JSON quotes the text, which holds secrets.
    return [failed(name, error instanceof SyntaxError ? 'the file is not JSON' : reasonOf(error), fix)];
  }
}

function skewCheck(name: string, skews: readonly number[]): readonly Check[] {
  if (skews.length === 0) return [];
  const worst = Math.max(...skews.map((skew) => Math.abs(skew)));
  const found = `${(worst / 1000).toFixed(1)} s apart`;
  const fix = 'Set the clocks by NTP: tokens and certificates hold for limited times.';
  if (worst > SKEW.failed) return [failed(name, found, fix)];
  return [worst > SKEW.warning ? warning(name, found, fix) : ok(name, found)];
}

async function answer(url: string) {
  return probe(url).catch(reasonOf);
}

function cannotConnect(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: PATIENT.connect });
    const end = (reason: string | undefined) => {
      socket.destroy();
      resolve(reason);
    };
    socket.once('connect', () => end(undefined));
    socket.once('timeout', () => end('no connection in time'));
    socket.once('error', (error) => end(reasonOf(error)));
  });
}

/** The URL of an address on this machine. */
export function localUrl(listen: string): string {
  const { host, port } = hostAndPort(listen);
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${local.includes(':') ? `[${local}]` : local}:${port}`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
