/**
 * The parts that are killed in a test of chaos: a cluster, a registry that asks for a login, an agent that pods' images go through, the
 * webhook with certificates of its own, and two controllers. All are real, each in a process of its own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { convert } from '../../../converter/convert.ts';
import { buildLayout } from '../../../fixtures/image-builder.ts';
import { smallTar } from '../../../tests/support/converter.ts';
import { freePort } from '../../../tests/support/loopback.ts';
import { htpasswdLine, startRegistry, type TestRegistry } from '../../../tests/support/registry.ts';
import { run } from '../../../tests/support/tools.ts';
import { CONTROLLER_USER, controllerRules } from './controller.ts';
import { startCluster, type TestCluster } from './kube-cluster.ts';
import { RELEASE, WEBHOOK_USER, webhookConfiguration, webhookRules } from './webhook.ts';

/** Label of pods and namespaces. */
const MODE = 'k8s.aliyun.com/image-accelerate-mode';
/** Namespaces by the value of their label. */
export const NAMESPACES = { lazy: 'on-demand', swarm: 'p2p', both: 'on-demand.p2p' } as const;
/** Tags of the image; each has one of two contents, and an accelerated tag beside it. */
export const TAGS = ['t0', 't1', 't2', 't3'] as const;
/** Users that the registry knows, with their passwords. */
export const USERS = ['first', 'second'] as const;
/** Milliseconds for which the webhook may believe what a tag named. */
export const STALENESS = 4_000;

const NODE = 'alibabacloud.com/image-accelerate-enabled';
const OWN_SECRET = 'accel-webhook-own';
const MANIFESTS = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json';

/** A manifest as the registry stores it. */
interface StoredManifest {
  readonly type: string;
  readonly body: string;
}

/** One content of a tag: the image, and the accelerated image that was made from it. */
export interface Content {
  readonly base: StoredManifest;
  readonly accelerated: StoredManifest;
}

/** A process of a role, which is started again by the same words. */
export class RoleProcess {
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #log = '';

  constructor(role: string, config: string) {
    // Of the sources in a test, of what was compiled from them in bench/.
    const main = new URL(`../../main${extname(import.meta.url)}`, import.meta.url).href;
    const program = `import { run } from ${JSON.stringify(main)};
      await run(${JSON.stringify({ role, config, check: false })}, { stderr: process.stderr, signals: process });`;
    this.#args = ['--input-type=module', '-e', program];
  }

  /** The end of what it has said, over all its lives. */
  get log(): string {
    return this.#log;
  }

  /** Its process id, of the last life. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts it where it does not run. */
  start(): void {
    if (this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null) return;
    const child = spawn(process.execPath, this.#args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-20_000);
    });
    this.#child = child;
  }

  /** Sends a signal; SIGSTOP lets it hang, SIGCONT ends that. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name);
  }

  /** Kills it. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

/** All parts. */
export interface ChaosParts {
  readonly cluster: TestCluster;
  readonly registry: TestRegistry;
  readonly webhook: RoleProcess;
  readonly controllers: readonly RoleProcess[];
  /** `HOST/REPOSITORY` of the image. */
  readonly image: string;
  /** The name by which it goes through the agent. */
  readonly agentHost: string;
  /** The two contents that tags have. */
  readonly contents: readonly [Content, Content];
  stop(): Promise<void>;
}

/** The header by which a user asks the registry. */
export function authorizationOf(user: string): string {
  return `Basic ${Buffer.from(`${user}:password-of-${user}`).toString('base64')}`;
}

/** Starts everything; resolves when the roles have been started, not yet when they serve. */
export async function startChaosParts(): Promise<ChaosParts> {
  const lines = await Promise.all(USERS.map((user) => htpasswdLine(user, `password-of-${user}`)));
  const [cluster, registry] = await Promise.all([
    startCluster({ controllers: true, users: [WEBHOOK_USER, CONTROLLER_USER] }),
    startRegistry({ htpasswd: lines.join('') }),
  ]);
  const roles: RoleProcess[] = [];
  const stop = async () => {
    await Promise.all(roles.map((role) => role.kill()));
    await cluster.stop();
    await registry.stop();
  };
  try {
    const image = `${registry.host}/team/app`;
    const contents = await pushContents(cluster.folder, image, registry);
    const [agentPort, webhookPort] = [await freePort(), await freePort()];
    const agentHost = `127.0.0.1:${agentPort}`;
    await prepare(cluster, `https://127.0.0.1:${webhookPort}/mutate`);
    const config = await configurations({ cluster, registry, agentHost, webhookPort });
    const start = (role: string, file: string) => {
      const made = new RoleProcess(role, file);
      made.start();
      roles.push(made);
      return made;
    };
    start('agent', config.agent);
    const webhook = start('admission', config.webhook);
    const controllers = [0, 1].map(() => start('controller', config.controller));
    return { cluster, registry, webhook, controllers, image, agentHost, contents, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Lets a tag name a manifest. Throws while the registry does not take it. */
export async function putManifest(registry: TestRegistry, tag: string, { type, body }: StoredManifest): Promise<void> {
  const answer = await fetch(`${registry.url}/v2/team/app/manifests/${tag}`, {
    method: 'PUT',
    body,
    headers: { 'content-type': type, authorization: authorizationOf(USERS[0]) },
    signal: AbortSignal.timeout(5_000),
  });
  if (answer.status !== 201) throw new Error(`the registry does not take the tag ${tag}: ${answer.status}`);
}

/** Pushes and converts two images, and gives each tag the first of them. */
async function pushContents(folder: string, image: string, registry: TestRegistry): Promise<[Content, Content]> {
  const contents: Content[] = [];
  const [user] = USERS;
  for (const seed of [1, 2]) {
    const layout = join(folder, `image-${seed}`);
    await buildLayout(layout, 'latest', [{ tar: smallTar(seed) }]);
    const login = ['--dest-tls-verify=false', '--dest-creds', `${user}:password-of-${user}`];
    await run('skopeo', ['copy', ...login, `oci:${layout}:latest`, `docker://${image}:made`]);
    const access = { plain: true, username: user, password: `password-of-${user}` };
    await convert({ repository: image, source: { tag: 'made' }, workers: 0 }, { registry: access });
    const [base, accelerated] = await Promise.all(
      ['made', 'made_containerd_accelerated'].map(async (tag) => {
        const headers = { accept: MANIFESTS, authorization: authorizationOf(user) };
        const found = await fetch(`${registry.url}/v2/team/app/manifests/${tag}`, { headers });
        return { type: found.headers.get('content-type') ?? '', body: await found.text() };
      }),
    );
    contents.push({ base: base!, accelerated: accelerated! });
  }
  const [first, second] = contents as [Content, Content];
  for (const tag of TAGS) {
    await putManifest(registry, tag, first.base);
    await putManifest(registry, `${tag}_containerd_accelerated`, first.accelerated);
  }
  return [first, second];
}

/** Namespaces, permissions, a node with an agent that is ready, and the webhook's registration. */
async function prepare(cluster: TestCluster, url: string): Promise<void> {
  const namespace = (name: string, mode?: string) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: mode === undefined ? {} : { [MODE]: mode } },
  });
  const names = Object.keys(NAMESPACES);
  const secret = (name: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'Opaque',
    metadata: { name, namespace: RELEASE },
  });
  const items = [
    namespace(RELEASE),
    ...Object.entries(NAMESPACES).map(([name, mode]) => namespace(name, mode)),
    { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1', labels: { [NODE]: 'true' } } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'agents', namespace: RELEASE, labels: { 'kubernetes.io/service-name': 'accel-agents' } },
      addressType: 'IPv4',
      ports: [{ name: 'peers', port: 65_002, protocol: 'TCP' }],
      endpoints: [{ addresses: ['192.0.2.1'], nodeName: 'node-1', conditions: { ready: true } }],
    },
    secret(OWN_SECRET),
    secret('accel-device-credentials'),
    ...webhookRules(names),
    ...ownRules(),
    ...controllerRules(names),
    webhookConfiguration(url, ''),
  ];
  await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
}

/** Permissions of the webhook for its own certificate, as the chart grants them. */
function ownRules(): object[] {
  const group = 'rbac.authorization.k8s.io';
  const subjects = [{ kind: 'User', name: WEBHOOK_USER, apiGroup: group }];
  const make = (scope: '' | 'Cluster', rule: object) => {
    const metadata = { name: 'own', ...(scope === '' ? { namespace: RELEASE } : {}) };
    const roleRef = { apiGroup: group, kind: `${scope}Role`, name: 'own' };
    return [
      { apiVersion: `${group}/v1`, kind: `${scope}Role`, metadata, rules: [rule] },
      { apiVersion: `${group}/v1`, kind: `${scope}RoleBinding`, metadata, roleRef, subjects },
    ];
  };
  return [
    ...make('', {
      apiGroups: [''],
      resources: ['secrets'],
      resourceNames: [OWN_SECRET],
      verbs: ['get', 'list', 'update', 'watch'],
    }),
    ...make('Cluster', {
      apiGroups: ['admissionregistration.k8s.io'],
      resources: ['mutatingwebhookconfigurations'],
      resourceNames: ['accel'],
      verbs: ['get', 'list', 'patch', 'watch'],
    }),
  ];
}

interface Wiring {
  readonly cluster: TestCluster;
  readonly registry: TestRegistry;
  readonly agentHost: string;
  readonly webhookPort: number;
}

/** Writes the configuration of each role; its file. */
async function configurations({ cluster, registry, agentHost, webhookPort }: Wiring) {
  const credentialsFile = join(cluster.folder, 'login.json');
  const auth = authorizationOf(USERS[0]).slice('Basic '.length);
  await writeFile(credentialsFile, JSON.stringify({ auths: { [registry.host]: { auth } } }), { mode: 0o600 });
  const registries = [{ host: registry.host, plain: true, credentialsFile }];
  const telemetry = { listen: '127.0.0.1:0' };
  const common = {
    namespace: RELEASE,
    p2p: { hosts: { [registry.host]: agentHost }, agents: { service: 'accel-agents', namespace: RELEASE } },
    secrets: { namespaces: Object.keys(NAMESPACES) },
  };
  const write = async (name: string, content: object) => {
    const file = join(cluster.folder, `${name}.json`);
    await writeFile(file, JSON.stringify({ registries, telemetry, ...content }));
    return file;
  };
  return {
    agent: await write('agent', {
      agent: {
        listen: agentHost,
        peerListen: `127.0.0.1:${await freePort()}`,
        cache: { path: join(cluster.folder, 'cache') },
        keepSockets: false,
      },
      cluster: { p2p: common.p2p },
    }),
    webhook: await write('webhook', {
      cluster: {
        ...common,
        kubeconfig: cluster.kubeconfig(WEBHOOK_USER),
        onDemand: { staleness: `${STALENESS}ms` },
        admission: {
          listen: `127.0.0.1:${webhookPort}`,
          certificate: { secret: OWN_SECRET, webhook: 'accel' },
        },
      },
    }),
    controller: await write('controller', {
      cluster: { ...common, kubeconfig: cluster.kubeconfig(CONTROLLER_USER), controller: { labelNodes: false } },
    }),
  };
}
