/** Starts what runs on the lab's machines: a registry, and on each node a containerd and an agent. */
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { issueNodeCertificate } from '../agent/certificates.ts';
import { createAuthority } from '../certificates/authority.ts';
import { machineOf, REGISTRY_ADDRESS, REGISTRY_MACHINE } from './network.ts';
import type { Processes } from './processes.ts';

/** Programs that the lab runs. */
export interface Tools {
  readonly registry: string;
  readonly containerd: string;
  readonly ctr: string;
  /** Command that runs an agent; its argument is a configuration file. */
  readonly agent: readonly string[];
}

const REGISTRY_PORT = 5000;
/** The registry as clients name it. */
export const REGISTRY_HOST = `${REGISTRY_ADDRESS}:${REGISTRY_PORT}`;
const PEER_PORT = 65_002;
const CLIENT_PORT = 65_001;
/** Switches on all that an agent leaves off unless it is configured; metrics, checks, certificates and two limits are always on. */
const ALL_ON = { logAudit: true, logAuditMode: 'file', originLimit: '512M', prefetchLimit: '512M', keepSockets: true };
/** Milliseconds for something to start. */
const START = 120_000;

/** Starts the registry on a folder that holds its content. Returns its process. */
export async function startRegistry(processes: Processes, tools: Tools, folder: string, port = REGISTRY_PORT) {
  const config = join(folder, 'registry.yml');
  const lines = [
    'version: 0.1',
    'log: {level: warn, accesslog: {disabled: true}}',
    `storage: {filesystem: {rootdirectory: ${join(folder, 'registry')}}}`,
    `http: {addr: "0.0.0.0:${port}"}`,
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  const child = processes.start(REGISTRY_MACHINE, [tools.registry, 'serve', config], {
    log: join(folder, 'registry.log'),
  });
  await until('the registry answers', () =>
    processes
      .run(REGISTRY_MACHINE, ['curl', '-sf', `http://127.0.0.1:${port}/v2/`], { log: join(folder, 'probe.log') })
      .then((code) => code === 0),
  );
  return child;
}

/** Writes the configurations of `count` nodes; `direct` leaves the agents out. */
export async function configureNodes(
  folder: string,
  count: number,
  options: { readonly direct: boolean; readonly isV2: boolean; readonly allOn?: boolean },
): Promise<void> {
  const members = Array.from({ length: count }, (_, index) => `${machineOf(index + 1).address}:${PEER_PORT}`);
  const validity = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 86_400_000) };
  const authority = await createAuthority('the lab', validity);
  for (let number = 1; number <= count; number++) {
    const own = nodeFolder(folder, number);
    const hosts = join(own, 'certs.d', REGISTRY_HOST);
    await mkdir(hosts, { recursive: true });
    await writeFile(join(hosts, 'hosts.toml'), hostsToml(options.direct));
    await writeFile(join(own, 'containerd.toml'), containerdToml(own, options.isV2));
    const certificate = await issueNodeCertificate(authority, members[number - 1]!, validity);
    await writeFile(join(own, 'ca.pem'), authority.cert);
    await writeFile(join(own, 'cert.pem'), certificate.cert);
    await writeFile(join(own, 'key.pem'), certificate.key, { mode: 0o600 });
    await writeFile(
      join(own, 'accel.yaml'),
      agentYaml(own, members[number - 1]!, { members, allOn: options.allOn === true }),
    );
  }
}

/** Starts a node's containerd, and waits for its socket. Returns its process. */
export async function startContainerd(processes: Processes, tools: Tools, folder: string, number: number) {
  const own = nodeFolder(folder, number);
  const child = processes.start(machineOf(number), [tools.containerd, '-c', join(own, 'containerd.toml')], {
    log: join(own, 'containerd.log'),
  });
  await until(`containerd ${number} listens`, () => exists(join(own, 'sock')));
  return child;
}

/** Starts a node's agent, and waits until it is ready. Returns its process. */
export async function startAgentOn(processes: Processes, tools: Tools, folder: string, number: number) {
  const own = nodeFolder(folder, number);
  const log = join(own, 'agent.log');
  const child = processes.start(machineOf(number), [...tools.agent, join(own, 'accel.yaml')], {
    log,
  });
  await until(`agent ${number} is ready`, async () => {
    if (child.exitCode !== null) throw new Error(`agent ${number} ended: ${await readFile(log, 'utf8')}`);
    return (
      (await processes.run(machineOf(number), ['curl', '-sf', 'http://127.0.0.1:65003/readyz'], {
        log: join(own, 'probe.log'),
      })) === 0
    );
  });
  return child;
}

/** Pulls an image on a node: ctr's exit code. */
export function pull(
  processes: Processes,
  tools: Tools,
  folder: string,
  { number, image }: { readonly number: number; readonly image: string },
): Promise<number> {
  const own = nodeFolder(folder, number);
  const command = [
    tools.ctr,
    '-a',
    join(own, 'sock'),
    '-n',
    'k8s.io',
    'images',
    'pull',
    '--hosts-dir',
    join(own, 'certs.d'),
    image,
  ];
  return processes.run(machineOf(number), command, { log: join(own, 'pull.log') });
}

/** Whether a node's containerd has all of these blobs. */
export async function hasBlobs(folder: string, number: number, digests: readonly string[]): Promise<boolean> {
  const blobs = join(nodeFolder(folder, number), 'root/io.containerd.content.v1.content/blobs');
  const found = await Promise.all(digests.map((digest) => exists(join(blobs, digest.replace(':', '/')))));
  return found.every((one) => one);
}

/** A node's folder. */
export function nodeFolder(folder: string, number: number): string {
  return join(folder, `node-${number}`);
}

/** The way of containerd to the registry: through the agent first, or not through it at all. */
export function hostsToml(direct: boolean): string {
  const registry = `[host."http://${REGISTRY_HOST}"]\n  capabilities = ["pull", "resolve"]\n`;
  const agent = `[host."http://127.0.0.1:${CLIENT_PORT}"]\n  capabilities = ["pull", "resolve"]\n`;
  return `server = "http://${REGISTRY_HOST}"\n${direct ? '' : agent}${registry}`;
}

function containerdToml(own: string, isV2: boolean): string {
  const lines = [
    `version = ${isV2 ? 3 : 2}`,
    `root = "${join(own, 'root')}"`,
    `state = "${join(own, 'state')}"`,
    // Pulls need neither pods nor their network.
    `disabled_plugins = ["io.containerd.grpc.v1.cri"]`,
    '[grpc]',
    `  address = "${join(own, 'sock')}"`,
  ];
  if (isV2) lines.push('[plugins."io.containerd.transfer.v1.local"]', `  config_path = "${join(own, 'certs.d')}"`);
  return `${lines.join('\n')}\n`;
}

function agentYaml(
  own: string,
  self: string,
  { members, allOn }: { readonly members: readonly string[]; readonly allOn: boolean },
): string {
  const settings = {
    registries: [{ host: REGISTRY_HOST, plain: true }],
    agent: {
      // One process a node: killing it is what a lab means by a dead node.
      keepSockets: false,
      listen: `127.0.0.1:${CLIENT_PORT}`,
      peerListen: `0.0.0.0:${PEER_PORT}`,
      advertise: self,
      peers: {
        static: members,
        certificates: { caFile: join(own, 'ca.pem'), certFile: join(own, 'cert.pem'), keyFile: join(own, 'key.pem') },
      },
      cache: { path: join(own, 'cache'), memory: '64Mi', keepFree: 0.01 },
      contentStore: join(own, 'root/io.containerd.content.v1.content/blobs'),
      ...(allOn ? { ...ALL_ON, logDir: join(own, 'audit') } : {}),
    },
  };
  // JSON is YAML.
  return `${JSON.stringify(settings, null, 2)}\n`;
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + START;
  while (!(await check())) {
    if (performance.now() > end) throw new Error(`waited ${START} ms until ${what}`);
    await sleep(100);
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
