/**
 * Measures the controller over many namespaces, each with a pull secret: the time until all have their copy, and the memory that it takes. The
 * controller is a process of its own. `node dist/scripts/run-on-server-node.js dist/bench/controller-memory.js [--write] [--check]
 * [--namespaces N]`.
 */
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { RESOURCES } from '../server/cluster/kube/kube-resources.ts';
import { CONTROLLER_USER, controllerRules } from '../server/cluster/testing/controller.ts';
import { findKubeTool, startCluster, type TestCluster } from '../server/cluster/testing/kube-cluster.ts';
import { RELEASE } from '../server/cluster/testing/webhook.ts';
import { machine } from './machine.ts';
import { figure, markdownTable } from './report.ts';
import { writeSection } from './section.ts';

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    namespaces: { type: 'string', default: '5000' },
  },
});

const NAMESPACES = Number(values.namespaces);
/** Most resident memory of the controller, in MiB. */
const MOST_MEMORY = 256;
/** Objects that are made at a time. */
const AT_ONCE = 16;
/** Milliseconds until all copies have to exist. */
const LIMIT = 600_000;
const REGISTRY = 'shop-registry-vpc.cn-hangzhou.cr.aliyuncs.com';
const MODE = 'k8s.aliyun.com/image-accelerate-mode';

for (const tool of ['etcd', 'kube-apiserver', 'kubectl']) {
  if (findKubeTool(tool) === undefined) {
    process.stderr.write(`skipped: ${tool} is not on this machine\n`);
    process.exit(0);
  }
}

/** Makes the namespaces and their secrets. */
async function fill(cluster: TestCluster): Promise<void> {
  const client = await cluster.client();
  const names = Array.from({ length: NAMESPACES }, (_, index) => `team-${index}`);
  const data = { '.dockerconfigjson': Buffer.from(dockerConfig()).toString('base64') };
  const labels = { [MODE]: 'p2p' };
  const make = async (name: string): Promise<void> => {
    await client.create(RESOURCES.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
    const metadata = { name: 'pull', namespace: name };
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'kubernetes.io/dockerconfigjson', data };
    await client.create(RESOURCES.secrets, secret);
  };
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) await make(name);
    }),
  );
}

function dockerConfig(): string {
  const auth = Buffer.from('user:a-password-of-usual-length').toString('base64');
  return JSON.stringify({ auths: { [REGISTRY]: { auth }, 'ghcr.io': { auth } } });
}

/** Waits until as many copies exist; milliseconds. */
async function untilCopied(cluster: TestCluster): Promise<number> {
  const client = await cluster.client();
  const start = performance.now();
  while (performance.now() - start < LIMIT) {
    let count = 0;
    const selection = { labelSelector: 'accel.dev/copy=true', metadataOnly: true };
    await client.list(RESOURCES.secrets, selection, () => {
      count += 1;
    });
    if (count >= NAMESPACES) return performance.now() - start;
    await sleep(500);
  }
  throw new Error(`not all copies exist after ${LIMIT / 1000} s`);
}

let isBroken = false;
const cluster = await startCluster({ users: [CONTROLLER_USER] });
try {
  const admin = await cluster.client();
  await admin.create(RESOURCES.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: RELEASE } });
  const items = controllerRules('all');
  await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
  await fill(cluster);
  const file = join(cluster.folder, 'accel.json');
  const config = {
    registries: [{ host: REGISTRY }],
    cluster: { kubeconfig: cluster.kubeconfig(CONTROLLER_USER), namespace: RELEASE, secrets: { clusterWide: true } },
    telemetry: { listen: '127.0.0.1:0' },
  };
  await writeFile(file, JSON.stringify(config));
  const main = pathToFileURL(join(import.meta.dirname, '../server/main.js')).href;
  const program = `import { run } from ${JSON.stringify(main)};
    await run({ role: 'controller', config: ${JSON.stringify(file)}, check: false }, { stderr: process.stderr, signals: process });`;
  const role = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const kill = () => role.kill('SIGKILL');
  process.once('exit', kill);
  const copied = await untilCopied(cluster);
  const status = await readFile(`/proc/${role.pid}/status`, 'utf8');
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
  role.kill('SIGTERM');
  isBroken = peak > MOST_MEMORY;
  process.stderr.write(`${isBroken ? 'BROKEN' : 'held'}: at most ${MOST_MEMORY} MiB\n`);
  const table = markdownTable(
    ['namespaces', 'seconds until all copies exist', 'copies a second', 'peak RSS MiB'],
    [[String(NAMESPACES), figure(copied / 1000, 1), figure((NAMESPACES * 1000) / copied, 0), figure(peak, 0)]],
  );
  const about = `The controller in a process of its own, with permission for secrets everywhere; each namespace has the label and a pull secret before it starts. kube-apiserver 1.37 and etcd share the cores with it; one run. Limit: ${MOST_MEMORY} MiB.`;
  const text = `## The controller: many namespaces\n\n${about}\n\n${table}\n\n${machine()}`;
  process.stdout.write(`${text}\n`);
  if (values.write) await writeSection('controller', text);
} finally {
  await cluster.stop();
}
process.exit(values.check && isBroken ? 1 : 0);
