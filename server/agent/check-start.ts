/**
 * Looks at what an agent needs before it starts: certificates that fit, registries' files, folders, ports. `run` refuses by the
 * same functions what it can know at its start.
 */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import { AccelError } from '../../base/error.ts';
import { findCredentials } from '../../oci/registry/credentials.ts';
import { type Config, hostAndPort } from '../config/schema.ts';
import type { SocketAddress } from '../handover/listening-sockets.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import type { AgentOptions } from './agent.ts';
import { agentOptions } from './agent-options.ts';
import type { ClusterParts } from './cluster-parts.ts';
import { assertFits, expired, expiryOf } from './peer-identity.ts';
import { readCertificates } from './pem-file.ts';

/** Milliseconds for an agent that runs already, and for a source of members. */
const PATIENCE = 3_000;

/** Throws `usage` for certificates that are not this agent's, and for a registry's authority that cannot be read. */
export async function assertStartable({ agent, registries }: Config, { identity, self }: AgentOptions): Promise<void> {
  const { certificates } = agent.peers;
  if (identity !== undefined && certificates !== undefined) assertFits(identity, certificates, self.id);
  for (const [index, { caFile }] of registries.entries()) {
    if (caFile !== undefined) await readCertificates({ key: `registries[${index}].caFile`, path: caFile });
  }
}

/**
 * Checks that an agent of this configuration could start on this machine: warnings. Throws `usage` for what it would refuse, and
 * `io-error` for folders and ports that it could not have. Writes nothing.
 */
export async function checkAgentStart(config: Config, cluster?: ClusterParts): Promise<readonly string[]> {
  const { agent, registries, telemetry } = config;
  const metrics = new AgentMetrics(createMetrics('check'));
  const options = await agentOptions(config, { metrics, log: () => undefined, cluster });
  await assertStartable(config, options);
  const { identity } = options;
  const ended = identity === undefined ? undefined : expiryOf(identity, Date.now());
  // An agent starts with it all the same: its own node's runtimes need no other agent.
  if (ended !== undefined) throw expired(agent.peers.certificates!, ended);
  const warnings: string[] = [];
  if (registries.length === 0) warnings.push('no registries are configured: nothing can be pulled through this agent');
  await checkCredentials(registries);
  await assertWritable('agent.cache.path', agent.cache.path);
  if (agent.logAudit && agent.logAuditMode === 'file') await assertWritable('agent.logDir', agent.logDir);
  const { file } = agent.credentials;
  if (file !== undefined) await assertWritable('agent.credentials.file', dirname(file));
  const problem = await options.members.read(AbortSignal.timeout(PATIENCE)).then(
    () => undefined,
    (error: Error) => error.message,
  );
  await Promise.all([options.members.close?.(), options.certificate?.close()]);
  if (problem !== undefined) warnings.push(`other agents are not known from ${options.members.name}: ${problem}`);
  const addresses: [key: string, address: string][] = [
    ['agent.listen', agent.listen],
    ['agent.peerListen', agent.peerListen],
    ...(telemetry.standaloneExporterPort ? [['telemetry.listen', telemetry.listen] as [string, string]] : []),
  ];
  return [...warnings, ...(await checkPorts(addresses, telemetryUrl(config)))];
}

async function checkCredentials(registries: Config['registries']): Promise<void> {
  for (const [index, { host, credentialsFile }] of registries.entries()) {
    if (credentialsFile === undefined) continue;
    const where = { key: `registries[${index}].credentialsFile`, file: credentialsFile };
    await access(credentialsFile, constants.R_OK).catch(({ code }: NodeJS.ErrnoException) => {
      throw new AccelError('usage', 'a file of credentials cannot be read', {
        where,
        expected: "a file in the form of Docker's config.json",
        found: code ?? 'an error',
      });
    });
    // No helper runs: PATH is empty.
    const env = { DOCKER_CONFIG: '/dev/null', REGISTRY_AUTH_FILE: credentialsFile };
    await findCredentials(host, '', { env, warn: () => undefined });
  }
}

/** Throws where a folder, or what of it exists, may not be written. */
async function assertWritable(key: string, path: string): Promise<void> {
  const folder = resolve(path);
  try {
    const facts = await stat(folder);
    if (!facts.isDirectory()) throw unwritable(key, folder, 'a file');
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    if (error instanceof AccelError) throw error;
    const { code = 'an error' } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' || dirname(folder) === folder) throw unwritable(key, folder, code);
    await assertWritable(key, dirname(folder));
  }
}

function unwritable(key: string, folder: string, found: string): AccelError {
  return new AccelError('io-error', 'a folder of the agent cannot be written', {
    where: { key, folder },
    expected: 'a folder that this user may write to',
    found,
    hint: 'Let the user of the agent write there, or name another folder.',
  });
}

async function checkPorts(
  addresses: readonly (readonly [key: string, address: string])[],
  running: string,
): Promise<readonly string[]> {
  const taken: string[] = [];
  for (const [index, [key, address]] of addresses.entries()) {
    const { host, port } = hostAndPort(address);
    const twin = addresses.slice(0, index).find(([, other]) => isSameAddress(hostAndPort(other), { host, port }));
    if (twin !== undefined) throw unusableAddress(key, address, `the port of ${twin[0]}`);
    const code = await bindProblem(host, port);
    if (code === 'EADDRINUSE') taken.push(`${key} (${address})`);
    else if (code !== undefined) throw unusableAddress(key, address, code);
  }
  if (taken.length === 0) return [];
  if (await isAgent(running)) return [`an agent runs here already and has ${taken.join(', ')}`];
  throw new AccelError('io-error', 'an address of the agent is taken', {
    expected: 'free ports, or an agent that runs on them',
    found: `another program listens at ${taken.join(', ')}`,
    hint: '`ss -ltnp` shows who has a port. With a socket unit of systemd, start the service in place of this check.',
  });
}

/** Whether both cannot be listened at. */
function isSameAddress(one: SocketAddress, other: SocketAddress): boolean {
  const isAny = [one, other].some(({ host }) => host === '0.0.0.0' || host === '::');
  return one.port === other.port && one.port !== 0 && (isAny || one.host === other.host);
}

function unusableAddress(key: string, address: string, found: string): AccelError {
  return new AccelError('io-error', 'the agent cannot listen at an address', {
    where: { key },
    expected: 'an address of this machine, and a port of its own',
    found: `${address}: ${found}`,
  });
}

/** The code of the error by which the system refuses an address; undefined where it can be had. */
function bindProblem(host: string, port: number): Promise<string | undefined> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', ({ code = 'an error' }: NodeJS.ErrnoException) => done(code));
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(undefined)));
  });
}

/** Whether the document of an agent is at a URL. */
async function isAgent(url: string): Promise<boolean> {
  try {
    const got = await fetch(url, { signal: AbortSignal.timeout(PATIENCE) });
    const document = (await got.json()) as { readonly node?: unknown };
    return typeof document.node === 'string';
  } catch {
    return false;
  }
}

function telemetryUrl({ agent, telemetry }: Config): string {
  const { host, port } = hostAndPort(telemetry.standaloneExporterPort ? telemetry.listen : agent.listen);
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${local.includes(':') ? `[${local}]` : local}:${port}/api/v1/agent`;
}
