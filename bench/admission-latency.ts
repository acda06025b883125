/**
 * Measures how long the webhook makes pods wait: reviews at a steady rate, which are sent when they are due whether or not the ones before
 * them were answered, and pods through a real API server, with the webhook and without. The webhook is a process of its own.
 * `node dist/scripts/run-on-server-node.js dist/bench/admission-latency.js [--write] [--check]`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { convert } from '../converter/convert.ts';
import { buildLayout } from '../fixtures/image-builder.ts';
import { RESOURCES } from '../server/cluster/kube/kube-resources.ts';
import { findKubeTool, startCluster, type TestCluster } from '../server/cluster/testing/kube-cluster.ts';
import { WEBHOOK_USER, webhookConfiguration, webhookRules } from '../server/cluster/testing/webhook.ts';
import { smallTar } from '../tests/support/converter.ts';
import { freePort } from '../tests/support/loopback.ts';
import { makeCertificates, startRegistry, type TestRegistry } from '../tests/support/registry.ts';
import { run } from '../tests/support/tools.ts';
import { machine } from './machine.ts';
import { figure, markdownTable } from './report.ts';
import { writeSection } from './section.ts';

const { values } = parseArgs({
  options: { write: { type: 'boolean', default: false }, check: { type: 'boolean', default: false } },
});

/** Pods a second, seconds of a run, images that pods name in turn, and pods that name an image that nobody asked about. */
const RATE = 200;
const SECONDS = 10;
const IMAGES = 50;
const COLD = 40;
/** The longest waits, in milliseconds. */
const MOST_WARM = 50;
const MOST_COLD = 1_000;
const MODE = 'k8s.aliyun.com/image-accelerate-mode';
const MANIFEST_TYPES = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json';

interface Latencies {
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
  /** Pods whose image was rewritten. */
  readonly rewritten: number;
  readonly count: number;
}

for (const tool of ['etcd', 'kube-apiserver', 'kubectl', 'docker-registry', 'skopeo']) {
  if (findKubeTool(tool) === undefined) {
    process.stderr.write(`skipped: ${tool} is not on this machine\n`);
    process.exit(0);
  }
}

/** Starts the role admission; resolves with its port when it answers. */
async function startRole(cluster: TestCluster, config: object, port: number): Promise<ChildProcess> {
  const file = join(cluster.folder, 'accel.json');
  await writeFile(file, JSON.stringify(config));
  const main = pathToFileURL(join(import.meta.dirname, '../server/main.js')).href;
  const program = `import { run } from ${JSON.stringify(main)};
    await run({ role: 'admission', config: ${JSON.stringify(file)}, check: false }, { stderr: process.stderr, signals: process });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  while (!said.includes(`:${port}`)) {
    if (child.exitCode !== null) throw new Error(`the webhook ended: ${said}`);
    await sleep(20);
  }
  return child;
}

/** Tags the image and its accelerated image as often as asked for, without pushing them again. */
async function tagMany(registry: TestRegistry, repository: string, tags: readonly string[]): Promise<void> {
  for (const suffix of ['', '_containerd_accelerated']) {
    const url = `${registry.url}/v2/${repository}/manifests`;
    const found = await fetch(`${url}/1${suffix}`, { headers: { accept: MANIFEST_TYPES } });
    const [type, body] = [found.headers.get('content-type')!, await found.text()];
    for (const tag of tags) {
      const put = await fetch(`${url}/${tag}${suffix}`, { method: 'PUT', body, headers: { 'content-type': type } });
      if (put.status !== 201) throw new Error(`the registry does not take the tag ${tag}: ${put.status}`);
    }
  }
}

/** Calls `send` for each item at its time, and measures from that time to the answer: `true` for a rewritten image. */
async function atRate<T>(items: readonly T[], rate: number, send: (item: T) => Promise<boolean>): Promise<Latencies> {
  const times: number[] = [];
  let rewritten = 0;
  const start = performance.now();
  await Promise.all(
    items.map(async (item, index) => {
      const due = start + (index * 1000) / rate;
      await sleep(Math.max(0, due - performance.now()));
      if (await send(item)) rewritten += 1;
      times.push(performance.now() - due);
    }),
  );
  times.sort((one, other) => one - other);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]!;
  return { p50: at(0.5), p99: at(0.99), most: times.at(-1)!, rewritten, count: times.length };
}

function podOf(name: string, image: string, mode: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { [MODE]: mode } },
    spec: { containers: [{ name: 'c', image }] },
  };
}

/** Sends reviews to the webhook. */
function reviewer(port: number, ca: Buffer): (image: string) => Promise<boolean> {
  const agent = new Agent({ keepAlive: true, maxSockets: 64, ca });
  let next = 0;
  return (image) => {
    const body = JSON.stringify({
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      request: {
        uid: `review-${next++}`,
        resource: { group: '', version: 'v1', resource: 'pods' },
        operation: 'CREATE',
        namespace: 'default',
        object: podOf('pod', image, 'on-demand'),
        dryRun: true,
      },
    });
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const asked = request(
        { host: '127.0.0.1', port, path: '/mutate', method: 'POST', agent, headers },
        async (answer) => {
          let text = '';
          for await (const chunk of answer.setEncoding('utf8')) text += chunk;
          const { patch = '' } = (JSON.parse(text) as { response: { patch?: string } }).response;
          resolve(Buffer.from(patch, 'base64').toString('utf8').includes('accel.dev~1rewritten'));
        },
      );
      asked.on('error', reject);
      asked.end(body);
    });
  };
}

const sockets = new Set<Socket>();
const silent = createServer((socket) => sockets.add(socket.on('error', () => undefined)));
silent.listen(0, '127.0.0.1');
await once(silent, 'listening');
const silentHost = `127.0.0.1:${(silent.address() as { port: number }).port}`;
const [cluster, registry] = [await startCluster({ users: [WEBHOOK_USER] }), await startRegistry()];
let role: ChildProcess | undefined;
let isBroken = false;
try {
  const repository = 'team/app';
  const app = `${registry.host}/${repository}`;
  const layout = join(cluster.folder, 'image');
  await buildLayout(layout, 'latest', [{ tar: smallTar(1) }]);
  await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:latest`, `docker://${app}:1`]);
  await convert({ repository: app, source: { tag: '1' }, workers: 0 }, { registry: { plain: true } });
  const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
  const [warmTags, coldTags] = [numbered('warm', IMAGES), numbered('cold', COLD)];
  await tagMany(registry, repository, [...warmTags, ...coldTags]);
  const items = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: webhookRules(['default']) });
  await cluster.kubectl(['apply', '-f', '-'], { input: items });
  const { ca, cert: certFile, key: keyFile } = await makeCertificates(cluster.folder);
  const [port, metricsPort] = [await freePort(), await freePort()];
  role = await startRole(
    cluster,
    {
      registries: [
        { host: registry.host, plain: true },
        { host: silentHost, plain: true },
      ],
      telemetry: { listen: `127.0.0.1:${metricsPort}` },
      cluster: {
        kubeconfig: cluster.kubeconfig(WEBHOOK_USER),
        admission: { listen: `127.0.0.1:${port}`, certFile, keyFile },
      },
    },
    port,
  );
  const authority = await readFile(ca);
  const review = reviewer(port, authority);
  const inTurn = (count: number) => Array.from({ length: count }, (_, index) => `${app}:${warmTags[index % IMAGES]}`);
  // The first reviews of a process are its compiler's.
  await atRate(inTurn(RATE * 2), RATE, review);
  const warm = await atRate(inTurn(RATE * SECONDS), RATE, review);
  const cold = await atRate(
    coldTags.map((tag) => `${app}:${tag}`),
    RATE,
    review,
  );
  const hanging = await atRate(numbered(`${silentHost}/a/b:`, COLD), RATE, review);
  const after = await atRate(numbered(`${silentHost}/a/c:`, RATE), RATE, review);
  const client = await cluster.client();
  const url = `https://127.0.0.1:${port}/mutate`;
  const configuration = JSON.stringify(webhookConfiguration(url, authority.toString('base64')));
  await cluster.kubectl(['apply', '-f', '-'], { input: configuration });
  await sleep(1_000);
  const create = (mode: string) => async (image: string) => {
    const made = (await client.create(RESOURCES.pods, podOf('pod', image, mode) as never, { dryRun: true })) as {
      spec: { containers: { image: string }[] };
    };
    return made.spec.containers[0]!.image !== image;
  };
  await atRate(inTurn(RATE), RATE / 2, create('on-demand'));
  const through = await atRate(inTurn(RATE * SECONDS), RATE, create('on-demand'));
  const without = await atRate(inTurn(RATE * SECONDS), RATE, create('off'));
  const resident = Number(/VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${role.pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  const rows: readonly (readonly [name: string, latencies: Latencies])[] = [
    [`warm: ${IMAGES} images, ${RATE} pods a second for ${SECONDS} s`, warm],
    [`cold: ${COLD} images that nobody asked about`, cold],
    [`the registry hangs: the first ${COLD} pods`, hanging],
    [`the registry hangs: ${RATE} pods after them`, after],
    ['pods through the API server, warm', through],
    ['pods through the API server, label off: not asked about', without],
  ];
  const table = markdownTable(
    ['', 'p50 ms', 'p99 ms', 'longest ms', 'rewritten'],
    rows.map(([name, { p50, p99, most, rewritten, count }]) => [
      name,
      figure(p50, 1),
      figure(p99, 1),
      figure(most, 1),
      `${rewritten} of ${count}`,
    ]),
  );
  const checks: readonly (readonly [text: string, held: boolean])[] = [
    [`warm: p99 at most ${MOST_WARM} ms`, warm.p99 <= MOST_WARM],
    [`cold: at most ${MOST_COLD} ms`, cold.most <= MOST_COLD],
    [`the registry hangs: at most ${MOST_COLD} ms`, hanging.most <= MOST_COLD],
    ['all known images are rewritten', warm.rewritten === warm.count && cold.rewritten === cold.count],
    ['all pods through the API server are rewritten', through.rewritten === through.count && without.rewritten === 0],
  ];
  for (const [text, held] of checks) process.stderr.write(`${held ? 'held' : 'BROKEN'}: ${text}\n`);
  isBroken = checks.some(([, held]) => !held);
  const about = `The webhook in a process of its own, docker-registry and images that accel converted, on loopback; one run. Reviews are sent when they are due, and the time counts from then. Pods go through kube-apiserver 1.37 with etcd as dry runs, which call the webhook and store nothing. API server, etcd, webhook and the client that measures share the cores, which ${RATE} pods a second keep busy. The webhook takes ${figure(resident, 0)} MB at most. Limits: p99 of ${MOST_WARM} ms warm, ${MOST_COLD} ms cold or with a registry that hangs.`;
  const text = `## The webhook: how long pods wait\n\n${about}\n\n${table}\n\n${machine()}`;
  process.stdout.write(`${text}\n`);
  if (values.write) await writeSection('admission', text);
} finally {
  role?.kill('SIGTERM');
  await registry.stop();
  await cluster.stop();
  for (const socket of sockets) socket.destroy();
  silent.close();
}
process.exit(values.check && isBroken ? 1 : 0);
