/**
 * A real API of Kubernetes for tests: etcd and kube-apiserver on loopback, and kube-controller-manager where a test asks for it; gone
 * afterwards. There are no nodes and no scheduler: pods are stored, not run. The programs are those of `KUBEBUILDER_ASSETS`, or what
 * .ci/run has built.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, test } from 'vitest';
import { freePort } from '../../../tests/support/loopback.ts';
import { findTool, requireTool, run, tempDirectory } from '../../../tests/support/tools.ts';
import { kubeAccess } from '../kube/kube-access.ts';
import { KubeClient } from '../kube.ts';
import { ownAddress } from './own-address.ts';

/** The version that .ci/run builds. */
const KUBERNETES = '1.37.2';
/** Milliseconds for a program to be ready. */
const START_TIME = 120_000;
/** Starts of a whole cluster: another process may take one of its ports before it does. */
const MOST_STARTS = 3;
/** Milliseconds between two questions that start a process. */
const READY_PAUSE = 300;
const PROGRAMS = ['etcd', 'kube-apiserver'] as const;

/** A program of the cluster that a test may end. */
export type ClusterProgram = (typeof PROGRAMS)[number];

/** The wishes of a test. */
export interface ClusterOptions {
  /** Also runs kube-controller-manager: Deployments make pods, namespaces get a service account, owners take what is theirs along. */
  readonly controllers?: boolean;
  /** Users beside `admin`, who have no permissions until a test grants some. */
  readonly users?: readonly string[];
  /** The test needs {@link ownAddress}. */
  readonly address?: boolean;
}

/** A running cluster. */
export interface TestCluster {
  /** `https://127.0.0.1:PORT`. */
  readonly url: string;
  /** Folder of its files. */
  readonly folder: string;
  /** The path of a user's kubeconfig, `admin` unless given. */
  kubeconfig(user?: string): string;
  /** A client for a user; the cluster closes it. */
  client(user?: string): Promise<KubeClient>;
  /** Runs kubectl as a user; its output. Throws with what it said. */
  kubectl(args: readonly string[], options?: { readonly input?: string; readonly user?: string }): Promise<string>;
  /** Asks etcd itself, by its gateway: `kv/compaction`, `kv/deleterange` and so on, without the API server. */
  etcd(path: string, body: object): Promise<unknown>;
  /** Ends the API server, or etcd, as a crash would; the other one goes on. */
  down(program?: ClusterProgram): Promise<void>;
  /** Starts the API server again on the same port, and waits until it is ready. */
  up(): Promise<void>;
  /** Starts a program again where it has ended, and does not wait for it. */
  revive(program: ClusterProgram): void;
  /** Ends all programs and removes their files. */
  stop(): Promise<void>;
}

/** The path of a program of Kubernetes or etcd; undefined where this machine does not have it. */
export function findKubeTool(name: string): string | undefined {
  const cache = process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'accel');
  const folders = [process.env.KUBEBUILDER_ASSETS, join(cache, 'tools', `kubernetes-${KUBERNETES}`)];
  for (const folder of folders) {
    if (folder === undefined || folder === '') continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next one.
    }
  }
  return findTool(name);
}

/** A `describe` for tests on a real API: fails in CI and is skipped by name elsewhere where something is missing. */
export function describeWithCluster(name: string, options: ClusterOptions, body: () => void): void {
  const wanted = [...PROGRAMS, 'kubectl', ...(options.controllers === true ? ['kube-controller-manager'] : [])];
  const missing = wanted.filter((program) => findKubeTool(program) === undefined);
  if (options.address === true && ownAddress() === undefined) missing.push('an IPv4 address beside loopback');
  if (missing.length === 0) {
    describe(name, body);
  } else if (process.env.CI) {
    describe(name, () => {
      test('has what it needs', () => {
        throw new Error(
          `missing on this machine: ${missing.join(', ')} (.ci/run builds them; or set KUBEBUILDER_ASSETS)`,
        );
      });
    });
  } else {
    describe.skip(`${name} (needs ${missing.join(', ')})`, body);
  }
}

/** Starts a cluster; resolves when its API is ready. */
export async function startCluster(options: ClusterOptions = {}): Promise<TestCluster> {
  for (let start = 1; ; start++) {
    try {
      return await startOnce(options);
    } catch (error) {
      if (start === MOST_STARTS || !(error instanceof ProgramEnded)) throw error;
    }
  }
}

/** A program ended while it was to start. */
class ProgramEnded extends Error {}

async function startOnce({ controllers = false, users = [] }: ClusterOptions): Promise<TestCluster> {
  const { path: folder, remove } = await tempDirectory('accel-kube-');
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const url = `https://127.0.0.1:${port}`;
  const everyone = ['admin', ...users];
  await writeFiles(folder, url, everyone);
  const clients: KubeClient[] = [];
  const processes = new Processes(folder);
  const api = () =>
    processes.start('kube-apiserver', [
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      `--secure-port=${port}`,
      '--bind-address=127.0.0.1',
      `--cert-dir=${join(folder, 'certs')}`,
      '--service-account-issuer=https://accel.test',
      `--service-account-key-file=${join(folder, 'sa.key')}`,
      `--service-account-signing-key-file=${join(folder, 'sa.key')}`,
      `--token-auth-file=${join(folder, 'tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--service-cluster-ip-range=10.96.0.0/24',
      // Without a controller manager no namespace has a service account.
      ...(controllers ? [] : ['--disable-admission-plugins=ServiceAccount']),
    ]);
  const cluster: TestCluster = {
    url,
    folder,
    kubeconfig: (user = 'admin') => join(folder, `${user}.yaml`),
    async client(user = 'admin') {
      const client = await KubeClient.open(await kubeAccess(cluster.kubeconfig(user)));
      clients.push(client);
      return client;
    },
    async kubectl(args, { input, user } = {}) {
      const command = findKubeTool('kubectl') ?? requireTool('kubectl');
      const options = input === undefined ? {} : { input };
      const { stdout } = await run(command, ['--kubeconfig', cluster.kubeconfig(user), ...args], options);
      return stdout.toString('utf8');
    },
    async etcd(path, body) {
      const answer = await fetch(`http://127.0.0.1:${etcdPort}/v3/${path}`, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      if (!answer.ok) throw new Error(`etcd answered ${answer.status}: ${await answer.text()}`);
      return answer.json();
    },
    down: (program = 'kube-apiserver') => processes.end(program, 'SIGKILL'),
    revive(program) {
      if (processes.problem(program) !== undefined) (program === 'etcd' ? store : api)();
    },
    async up() {
      api();
      await ready(processes, cluster);
    },
    async stop() {
      await Promise.all(clients.map((client) => client.close()));
      for (const name of ['kube-controller-manager', 'kube-apiserver', 'etcd']) await processes.end(name, 'SIGKILL');
      await remove();
    },
  };
  const store = () =>
    processes.start('etcd', [
      ...['--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync', '--log-level', 'error'],
      ...[
        '--listen-client-urls',
        `http://127.0.0.1:${etcdPort}`,
        '--advertise-client-urls',
        `http://127.0.0.1:${etcdPort}`,
      ],
      ...[
        '--listen-peer-urls',
        `http://127.0.0.1:${peerPort}`,
        '--initial-advertise-peer-urls',
        `http://127.0.0.1:${peerPort}`,
      ],
      ...['--initial-cluster', `default=http://127.0.0.1:${peerPort}`],
    ]);
  store();
  try {
    await cluster.up();
    if (controllers) {
      processes.start('kube-controller-manager', [
        `--kubeconfig=${cluster.kubeconfig()}`,
        `--service-account-private-key-file=${join(folder, 'sa.key')}`,
        '--use-service-account-credentials=false',
        '--leader-elect=false',
        '--secure-port=0',
      ]);
      await eventually(async () => (await cluster.kubectl(['get', 'serviceaccount', 'default', '-o', 'name'])) !== '');
    }
    return cluster;
  } catch (error) {
    const message = `${(error as Error).message}\n${await processes.logs()}`;
    await cluster.stop();
    throw error instanceof ProgramEnded ? new ProgramEnded(message) : new Error(message);
  }
}

/** Waits until a check is true or does not throw any more. Throws the last failure when time is up. */
export async function eventually(check: () => Promise<boolean>, limit = START_TIME): Promise<void> {
  const end = performance.now() + limit;
  for (;;) {
    let failure: unknown;
    const fine = await check().catch((error: unknown) => {
      failure = error;
      return false;
    });
    if (fine) return;
    if (performance.now() > end) throw failure ?? new Error(`not so after ${limit / 1000} s: ${check.toString()}`);
    await delay(50);
  }
}

async function ready(processes: Processes, cluster: TestCluster): Promise<void> {
  const end = performance.now() + START_TIME;
  for (;;) {
    const problem = processes.problem('kube-apiserver') ?? processes.problem('etcd');
    if (problem !== undefined) throw new ProgramEnded(problem);
    const answer = await cluster.kubectl(['get', '--raw', '/readyz']).catch((error: Error) => error.message);
    if (answer.trim() === 'ok') return;
    if (performance.now() > end) throw new Error(`not ready after ${START_TIME / 1000} s: ${answer}`);
    await delay(READY_PAUSE);
  }
}

async function writeFiles(folder: string, url: string, users: readonly string[]): Promise<void> {
  await mkdir(join(folder, 'certs'));
  await mkdir(join(folder, 'logs'));
  await run('openssl', ['genrsa', '-out', join(folder, 'sa.key'), '2048']);
  // Signed by nobody else: it is its own authority. Made here, so that a client can read it before the server starts.
  const name = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2'];
  const files = ['-keyout', join(folder, 'certs/apiserver.key'), '-out', join(folder, 'certs/apiserver.crt')];
  await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...name, ...files]);
  const group = (user: string) => (user === 'admin' ? 'system:masters' : 'test');
  const tokens = users.map((user, index) => `token-of-${user},${user},${index},${group(user)}\n`);
  await writeFile(join(folder, 'tokens.csv'), tokens.join(''));
  for (const user of users) {
    const content = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority': 'certs/apiserver.crt' } }],
      users: [{ name: user, user: { token: `token-of-${user}` } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user } }],
    };
    await writeFile(join(folder, `${user}.yaml`), JSON.stringify(content));
  }
}

/** The programs of one cluster; ended by their own process id, at the latest with this process. */
class Processes {
  readonly #folder: string;
  readonly #running = new Map<string, ChildProcess>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  start(name: string, args: readonly string[]): void {
    const command = findKubeTool(name) ?? requireTool(name);
    const log = join(this.#folder, 'logs', name);
    // The shell's redirection is not needed: the file is opened here and closed with the child.
    const child = spawn(command, args, { cwd: this.#folder, stdio: ['ignore', 'pipe', 'pipe'] });
    void open(log, 'a').then((file) => {
      const stream = file.createWriteStream();
      child.stdout?.pipe(stream, { end: false });
      child.stderr?.pipe(stream, { end: false });
      child.once('close', () => stream.end());
    });
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    this.#running.set(name, child);
  }

  problem(name: string): string | undefined {
    const child = this.#running.get(name);
    if (child === undefined || (child.exitCode === null && child.signalCode === null)) return undefined;
    return `${name} has ended: ${child.signalCode ?? `exit ${child.exitCode}`}`;
  }

  async end(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.#running.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  async logs(): Promise<string> {
    const texts = await Promise.all(
      [...this.#running.keys()].map(async (name) => {
        const text = await readFile(join(this.#folder, 'logs', name), 'utf8').catch(() => '');
        return `${name}: ${text.slice(-1500)}`;
      }),
    );
    return texts.join('\n');
  }
}
