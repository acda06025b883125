/** The webhook at a real API server, with a real registry and images that accel converted. */
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { convert } from '../../converter/convert.ts';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { smallTar } from '../../tests/support/converter.ts';
import { type HostProxy, startHostProxy } from '../../tests/support/host-proxy.ts';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { run } from '../../tests/support/tools.ts';
import { NamespaceLabels } from './admission/namespace-labels.ts';
import { type KubeObject, RESOURCES } from './kube/kube-resources.ts';
import type { KubeClient } from './kube.ts';
import type { Pod } from './rewrite/pod.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';
import { startWebhook, type TestWebhook, WEBHOOK_USER, webhookConfiguration, webhookRules } from './testing/webhook.ts';

const MODE = 'k8s.aliyun.com/image-accelerate-mode';
const NODE = 'alibabacloud.com/image-accelerate-enabled';
const VPC = 'test-registry-vpc.cn-hangzhou.cr.aliyuncs.com';
const VPC_P2P = 'test-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001';
const { pods, secrets, events, nodes, endpointSlices } = RESOURCES;

type Stored = KubeObject & Pod;

describeWithCluster('the webhook', { controllers: true }, () => {
  let cluster: TestCluster;
  let admin: KubeClient;
  let registry: TestRegistry;
  let webhook: TestWebhook;
  let proxy: HostProxy;
  let app: string;
  const digests: Record<string, string> = {};
  let next = 0;

  beforeAll(async () => {
    [cluster, registry] = await Promise.all([
      startCluster({ controllers: true, users: [WEBHOOK_USER, 'getter'] }),
      startRegistry(),
    ]);
    admin = await cluster.client();
    app = `${registry.host}/team/app`;
    const namespace = (name: string, mode?: string) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: mode === undefined ? {} : { [MODE]: mode } },
    });
    const items = [
      namespace('plain'),
      namespace('lazy', 'on-demand'),
      namespace('swarm', 'p2p'),
      { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1', labels: { [NODE]: 'true' } } },
      ...webhookRules(['plain', 'lazy', 'swarm']),
    ];
    await apply(...items);
    await Promise.all([pushImages(), ...['plain', 'lazy', 'swarm'].map((name) => hasAccount(name))]);
    // The registry of the documents has a name that no resolver here knows.
    proxy = await startHostProxy(registry.host);
    vi.stubEnv('HTTP_PROXY', proxy.url);
    vi.stubEnv('NO_PROXY', '127.0.0.1');
    webhook = await startWebhook(cluster, config());
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await webhook?.stop();
    await cluster?.stop();
    await proxy?.stop();
    await registry?.stop();
  });

  const config = (more: object = {}) => ({
    registries: [
      { host: registry.host, plain: true },
      { host: VPC, plain: true },
    ],
    cluster: { p2p: { hosts: { [registry.host]: 'agent.test:65001' } }, ...more },
  });
  const apply = (...items: object[]) =>
    cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
  const hasAccount = (namespace: string) =>
    eventually(async () => (await admin.find(RESOURCES.serviceAccounts, { namespace, name: 'default' })) !== undefined);

  /** Tags: `1` converted; `plain` not; `moved` converted, and another image since. */
  async function pushImages(): Promise<void> {
    const folder = join(cluster.folder, 'images');
    const push = async (seed: number, tag: string, repository = app) => {
      await buildLayout(join(folder, String(seed)), 'latest', [{ tar: smallTar(seed) }]);
      const to = `docker://${repository}:${tag}`;
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${join(folder, String(seed))}:latest`, to]);
      const { stdout } = await run('skopeo', ['inspect', '--tls-verify=false', '--format', '{{.Digest}}', to]);
      digests[tag] = stdout.toString('utf8').trim();
    };
    await push(1, '1');
    await push(2, 'moved');
    for (const tag of ['1', 'moved']) {
      await convert({ repository: app, source: { tag }, workers: 0 }, { registry: { plain: true } });
    }
    const nginx = `${registry.host}/test/nginx`;
    await push(1, 'latest', nginx);
    await convert({ repository: nginx, source: { tag: 'latest' }, workers: 0 }, { registry: { plain: true } });
    await push(3, 'plain');
    await push(4, 'moved');
  }

  /** Creates a pod as people do, and reads what was stored. */
  async function create(
    spec: Record<string, unknown>,
    {
      label,
      namespace = 'plain',
      dryRun = false,
      name = `pod-${next++}`,
    }: { label?: string; namespace?: string; dryRun?: boolean; name?: string } = {},
  ): Promise<Stored> {
    const metadata = { name, namespace, ...(label === undefined ? {} : { labels: { [MODE]: label } }) };
    return (await admin.create<KubeObject & { spec: object }>(
      pods,
      { apiVersion: 'v1', kind: 'Pod', metadata, spec: { terminationGracePeriodSeconds: 0, ...spec } },
      { dryRun },
    )) as unknown as Stored;
  }
  const one = (image: string) => ({ containers: [{ name: 'c', image }] });
  const imageOf = ({ spec }: Stored) => spec.containers?.[0]?.image;
  const noteOf = ({ metadata }: Stored, kind: 'rewritten' | 'not-rewritten'): unknown =>
    JSON.parse(metadata.annotations?.[`accel.dev/${kind}`] ?? '{}');
  const docker = (name: string, namespace: string, host: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/dockerconfigjson',
    metadata: { name, namespace },
    stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [host]: { username: 'u', password: 'p' } } }) },
  });

  describe('on-demand', () => {
    it('by the label of the pod', async () => {
      const pod = await create(one(`${app}:1`), { label: 'on-demand' });
      expect(imageOf(pod)).toBe(`${app}:1_containerd_accelerated`);
      expect(pod.spec.nodeSelector).toEqual({ [NODE]: 'true' });
      expect(noteOf(pod, 'rewritten')).toEqual({ [`${app}:1`]: `${app}:1_containerd_accelerated` });
      expect(noteOf(pod, 'not-rewritten')).toEqual({});
    });

    it('by the label of the namespace, and off by the pod', async () => {
      expect(imageOf(await create(one(`${app}:1`), { namespace: 'lazy' }))).toBe(`${app}:1_containerd_accelerated`);
      const off = await create(one(`${app}:1`), { namespace: 'lazy', label: 'off' });
      expect(imageOf(off)).toBe(`${app}:1`);
      expect(off.metadata.annotations).toBeUndefined();
    });

    it('the pod is asked about once, by both labels, too', async () => {
      const before = await webhook.figure('accel_admission_reviews_total{outcome="patched"}');
      await create(one(`${app}:1`), { namespace: 'lazy', label: 'on-demand' });
      await create(one(`${app}:1`), { namespace: 'lazy' });
      expect(await webhook.figure('accel_admission_reviews_total{outcome="patched"}')).toBe(before + 2);
    });

    it('a namespace that gets its label now', async () => {
      await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'late' } });
      await hasAccount('late');
      await cluster.kubectl(['label', 'namespace', 'late', `${MODE}=on-demand`]);
      expect(imageOf(await create(one(`${app}:1`), { namespace: 'late' }))).toBe(`${app}:1_containerd_accelerated`);
    });

    it('leaves an image alone that is not converted, and one whose conversion is of an older image', async () => {
      const pod = await create(
        {
          containers: [
            { name: 'a', image: `${app}:plain` },
            { name: 'b', image: `${app}:moved` },
          ],
        },
        { label: 'on-demand' },
      );
      expect(pod.spec.containers?.map(({ image }) => image)).toEqual([`${app}:plain`, `${app}:moved`]);
      expect(noteOf(pod, 'not-rewritten')).toEqual({
        [`${app}:plain`]: 'no-accelerated-image',
        [`${app}:moved`]: 'outdated-accelerated-image',
      });
      expect(pod.spec.nodeSelector).toBeUndefined();
    });

    it('by digest, alone and with a tag', async () => {
      const digest = digests['1'];
      const pod = await create(
        {
          containers: [
            { name: 'a', image: `${app}@${digest}` },
            { name: 'b', image: `${app}:1@${digest}` },
          ],
        },
        { label: 'on-demand' },
      );
      const [alone = '', tagged = ''] = pod.spec.containers!.map(({ image }) => image!);
      expect(alone).toMatch(new RegExp(`^${app}@sha256:[0-9a-f]{64}$`));
      expect(tagged).toBe(alone.replace('@', ':1_containerd_accelerated@'));
      const { stdout } = await run('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${alone}`]);
      expect(JSON.parse(stdout.toString('utf8')).annotations).toMatchObject({ 'accel-image/source-digest': digest });
    });

    it('init containers, image volumes, and ephemeral containers of a pod on such a node', async () => {
      const pod = await create(
        {
          initContainers: [{ name: 'i', image: `${app}:1` }],
          containers: [{ name: 'c', image: `${app}:1`, volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
          volumes: [{ name: 'v', image: { reference: `${app}:1` } }],
        },
        { label: 'on-demand', name: 'kinds' },
      );
      expect(pod.spec.initContainers?.[0]?.image).toBe(`${app}:1_containerd_accelerated`);
      expect(pod.spec.volumes?.find(({ name }) => name === 'v')?.image?.reference).toBe(
        `${app}:1_containerd_accelerated`,
      );
      const patch = { spec: { ephemeralContainers: [{ name: 'debug', image: `${app}:1` }] } };
      await cluster.kubectl([
        'patch',
        'pod',
        'kinds',
        '-n',
        'plain',
        '--subresource=ephemeralcontainers',
        '--type=strategic',
        '-p',
        JSON.stringify(patch),
      ]);
      const after = await admin.get<Stored>(pods, { namespace: 'plain', name: 'kinds' });
      expect(after.spec.ephemeralContainers?.[0]?.image).toBe(`${app}:1_containerd_accelerated`);
    });

    it('a DaemonSet keeps its image, and an Event says so', async () => {
      const template = { metadata: { labels: { app: 'd', [MODE]: 'on-demand' } }, spec: one(`${app}:1`) };
      await apply({
        apiVersion: 'apps/v1',
        kind: 'DaemonSet',
        metadata: { name: 'd', namespace: 'plain' },
        spec: { selector: { matchLabels: { app: 'd' } }, template },
      });
      const found = await podsOf('app=d', 1);
      expect(imageOf(found[0]!)).toBe(`${app}:1`);
      expect(noteOf(found[0]!, 'not-rewritten')).toEqual({ [`${app}:1`]: 'daemonset' });
      await webhook.flushed();
      const texts: string[] = [];
      await admin.list(
        events,
        { namespace: 'plain', fieldSelector: 'reason=ImageNotAccelerated,involvedObject.kind=DaemonSet' },
        (event) => texts.push((event as KubeObject & { message: string }).message),
      );
      expect(texts).toEqual([`${app}:1 stays as it is: daemonset`]);
    });

    it('while no node has the label the image stays, and an Event says so', async () => {
      const label = (value: string | null) =>
        admin.patch(nodes, { name: 'node-1' }, { kind: 'merge', content: { metadata: { labels: { [NODE]: value } } } });
      const labelled = (count: number) =>
        eventually(async () => (await webhook.figure('accel_admission_labelled_nodes')) === count);
      await label(null);
      await labelled(0);
      const kept = await create(one(`${app}:1`), { label: 'on-demand', dryRun: true });
      expect(imageOf(kept)).toBe(`${app}:1`);
      expect(kept.spec.nodeSelector).toBeUndefined();
      expect(noteOf(kept, 'not-rewritten')).toEqual({ [`${app}:1`]: 'no-labelled-node' });
      // A value other than true is no node that runs such images.
      await label('false');
      await create(one(`${app}:1`), { namespace: 'lazy' });
      await webhook.flushed();
      const texts: string[] = [];
      await admin.list(events, { namespace: 'lazy' }, (event) => {
        texts.push((event as KubeObject & { message: string }).message);
      });
      expect(texts).toContain(`${app}:1 stays as it is: no-labelled-node`);
      await label('true');
      await labelled(1);
      const taken = await create(one(`${app}:1`), { label: 'on-demand', dryRun: true });
      expect(imageOf(taken)).toBe(`${app}:1_containerd_accelerated`);
    });

    it('a dry run shows the same and leaves no Event', async () => {
      const pod = await create(
        {
          containers: [
            { name: 'a', image: `${app}:1` },
            { name: 'b', image: 'quay.io/dry/run:1' },
          ],
        },
        { label: 'on-demand', dryRun: true },
      );
      expect(imageOf(pod)).toBe(`${app}:1_containerd_accelerated`);
      expect(noteOf(pod, 'not-rewritten')).toEqual({ 'quay.io/dry/run:1': 'other-registry' });
      await webhook.flushed();
      const texts: string[] = [];
      await admin.list(events, {}, (event) => texts.push((event as KubeObject & { message: string }).message));
      expect(texts.filter((text) => text.includes('quay.io/dry'))).toEqual([]);
    });

    it('never in kube-system', async () => {
      await hasAccount('kube-system');
      expect(imageOf(await create(one(`${app}:1`), { namespace: 'kube-system', label: 'on-demand' }))).toBe(`${app}:1`);
    });
  });

  describe("the seeds' examples", () => {
    /** A Deployment as in the documents, and the pods that it makes. */
    async function deploy(name: string, spec: object, label?: string, namespace = 'plain'): Promise<Stored> {
      const labels = { app: name, ...(label === undefined ? {} : { [MODE]: label }) };
      await apply({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name, namespace, labels: { app: name } },
        spec: { replicas: 1, selector: { matchLabels: { app: name } }, template: { metadata: { labels }, spec } },
      });
      const [pod] = await podsOf(`app=${name}`, 1, namespace);
      return pod!;
    }
    const nginx = {
      imagePullSecrets: [{ name: 'test-registry' }],
      containers: [{ name: 'test', image: `${VPC}/docker-builder/nginx:latest`, command: ['sleep', '3600'] }],
    };

    it('p2p by the label of a workload: annotations, image and secret', async () => {
      await admin.create(secrets, docker('test-registry', 'plain', VPC));
      await admin.create(secrets, docker('acr-credential-test-registry-p2p', 'plain', VPC_P2P));
      const pod = await deploy('test', nginx, 'p2p');
      expect(imageOf(pod)).toBe(`${VPC_P2P}/docker-builder/nginx:latest`);
      expect(pod.spec.imagePullSecrets).toEqual([
        { name: 'test-registry' },
        { name: 'acr-credential-test-registry-p2p' },
      ]);
      expect(pod.metadata.annotations).toMatchObject({ [MODE]: 'p2p' });
      expect(JSON.parse(pod.metadata.annotations!['k8s.aliyun.com/p2p-config']!)).toMatchObject({
        port: 65001,
        hosts: { [VPC]: VPC_P2P },
      });
    });

    it('p2p by the label of a namespace; the copy comes a moment later', async () => {
      await admin.create(secrets, docker('test-registry', 'swarm', VPC));
      // The pod is first: the webhook looks for the copy before it exists.
      const [pod] = await Promise.all([
        create(nginx, { namespace: 'swarm' }),
        delay(100).then(() => admin.create(secrets, docker('acr-credential-test-registry-p2p', 'swarm', VPC_P2P))),
      ]);
      expect(imageOf(pod)).toBe(`${VPC_P2P}/docker-builder/nginx:latest`);
    });

    it('p2p is skipped without an image of a configured registry, and where the secret is missing', async () => {
      const other = await deploy('other', { ...nginx, containers: [{ name: 'c', image: 'quay.io/a/b:1' }] }, 'p2p');
      expect(imageOf(other)).toBe('quay.io/a/b:1');
      expect(other.spec.imagePullSecrets).toEqual([{ name: 'test-registry' }]);
      expect(other.metadata.annotations).not.toHaveProperty([MODE]);
      const missing = await deploy('missing', { ...nginx, imagePullSecrets: [{ name: 'gone' }] }, 'p2p');
      expect(imageOf(missing)).toBe(`${VPC}/docker-builder/nginx:latest`);
      expect(noteOf(missing, 'not-rewritten')).toEqual({ [`${VPC}/docker-builder/nginx:latest`]: 'secret-missing' });
    });

    it('on-demand by the label of a workload: image and node selector', async () => {
      const spec = { containers: [{ name: 'test', image: `${VPC}/test/nginx:latest`, command: ['sleep', '3600'] }] };
      const pod = await deploy('nginx-deployment', spec, 'on-demand');
      expect(imageOf(pod)).toBe(`${VPC}/test/nginx:latest_containerd_accelerated`);
      expect(proxy.hosts).toContain(VPC);
      expect(pod.spec.nodeSelector).toEqual({ [NODE]: 'true' });
    });

    it('an accelerated image with its selector, as people write it themselves, stays', async () => {
      const spec = { ...one(`${app}:1_accelerated`), nodeSelector: { [NODE]: 'true' } };
      const pod = await deploy('by-hand', spec);
      expect(pod.spec.containers).toMatchObject([{ image: `${app}:1_accelerated` }]);
      expect(pod.metadata.annotations).toBeUndefined();
    });
  });

  it('a pod in a namespace whose secrets it may not read stays as it is', async () => {
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'closed' } });
    await hasAccount('closed');
    await admin.create(secrets, docker('test-registry', 'closed', VPC));
    const pod = await create(
      { ...one(`${VPC}/a:1`), imagePullSecrets: [{ name: 'test-registry' }] },
      { label: 'p2p', namespace: 'closed' },
    );
    expect(noteOf(pod, 'not-rewritten')).toEqual({ [`${VPC}/a:1`]: 'secret-unknown' });
  });

  it('says that it does not read its configuration again', async () => {
    webhook.signal('SIGHUP');
    await eventually(async () => webhook.log.some((line) => line.includes('stays as it was')));
    expect(imageOf(await create(one(`${app}:1`), { label: 'on-demand' }))).toBe(`${app}:1_containerd_accelerated`);
  });

  describe('gates', () => {
    it('rewriting stops while rewritten pods fail to pull, and only that of their mode', async () => {
      const own = await startWebhook(cluster, config({ breaker: { failures: 2, window: '1m', cooldown: '1m' } }));
      try {
        expect(imageOf(await create(one(`${app}:plain`), { label: 'p2p' }))).toBe('agent.test:65001/team/app:plain');
        const failed = (pod: string, image: string, cause: string) =>
          admin.create(events, {
            ...{
              apiVersion: 'v1',
              kind: 'Event',
              metadata: { name: `${pod}.${next++}`, namespace: 'plain' },
              type: 'Warning',
              reason: 'Failed',
            },
            involvedObject: { kind: 'Pod', namespace: 'plain', name: pod, uid: pod },
            message: `Failed to pull image "${image}": ${cause}`,
            lastTimestamp: new Date().toISOString(),
          } as KubeObject);
        // One pod twice, an image that does not exist, one that was not rewritten: none of them is a second pod.
        await failed('a', 'agent.test:65001/team/app:plain', 'connection refused');
        await failed('a', 'agent.test:65001/team/app:plain', 'connection refused');
        await failed('b', 'agent.test:65001/team/app:typo', 'not found');
        await failed('c', 'quay.io/a/b:1', 'connection refused');
        await eventually(async () => (await own.figure('accel_admission_pull_failures_total{mode="p2p"}')) === 2);
        expect(imageOf(await create(one(`${app}:plain`), { label: 'p2p' }))).toBe('agent.test:65001/team/app:plain');
        await failed('d', 'agent.test:65001/team/app:plain', 'unexpected EOF');
        await eventually(async () => (await own.figure('accel_admission_breaker{mode="p2p"}')) === 2);
        const pod = await create(one(`${app}:plain`), { label: 'p2p' });
        expect(noteOf(pod, 'not-rewritten')).toEqual({ [`${app}:plain`]: 'circuit-open' });
        expect(imageOf(await create(one(`${app}:1`), { label: 'on-demand' }))).toBe(`${app}:1_containerd_accelerated`);
      } finally {
        await own.stop();
      }
    });

    it('p2p waits for ready agents on enough nodes', async () => {
      const own = await startWebhook(
        cluster,
        config({
          p2p: {
            hosts: { [registry.host]: 'agent.test:65001' },
            agents: { service: 'agents', namespace: 'plain', nodeSelector: { pool: 'p2p' }, share: 0.6 },
          },
        }),
      );
      try {
        const node = (name: string) =>
          admin.create(nodes, {
            apiVersion: 'v1',
            kind: 'Node',
            metadata: { name, labels: { pool: 'p2p' } },
          } as KubeObject);
        await Promise.all(['n1', 'n2', 'n3'].map(node));
        const slice = (ready: readonly string[], waiting: readonly string[]) => ({
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: { name: 'agents-1', namespace: 'plain', labels: { 'kubernetes.io/service-name': 'agents' } },
          addressType: 'IPv4',
          ports: [],
          endpoints: [...ready, ...waiting].map((nodeName, index) => ({
            addresses: [`10.0.0.${index + 1}`],
            nodeName,
            // As the API writes it for a Service that publishes all addresses, as that of the chart does.
            conditions: { ready: true, serving: ready.includes(nodeName) },
          })),
        });
        await apply(slice(['n1'], ['n2', 'n3']));
        await eventually(async () => (await own.figure('accel_admission_agent_nodes{state="ready"}')) === 1);
        expect(noteOf(await create(one(`${app}:plain`), { label: 'p2p' }), 'not-rewritten')).toEqual({
          [`${app}:plain`]: 'agents-not-ready',
        });
        await apply(slice(['n1', 'n2'], ['n3']));
        await eventually(async () => (await own.figure('accel_admission_agent_nodes{state="ready"}')) === 2);
        expect(imageOf(await create(one(`${app}:plain`), { label: 'p2p' }))).toBe('agent.test:65001/team/app:plain');
        await admin.remove(endpointSlices, { namespace: 'plain', name: 'agents-1' });
        await eventually(async () => (await own.figure('accel_admission_agent_nodes{state="ready"}')) === 0);
        expect(imageOf(await create(one(`${app}:plain`), { label: 'p2p' }))).toBe(`${app}:plain`);
      } finally {
        await own.stop();
      }
    });
  });

  describe('what fails', () => {
    it('a registry that hangs costs at most a second, the next pods nothing', async () => {
      const hanging = await hang();
      const own = await startWebhook(cluster, {
        registries: [
          { host: `127.0.0.1:${portOf(hanging)}`, plain: true },
          { host: registry.host, plain: true },
        ],
      });
      try {
        const image = `127.0.0.1:${portOf(hanging)}/a/b:1`;
        const pod = await create(
          {
            containers: [
              { name: 'a', image },
              { name: 'b', image: `${app}:1` },
            ],
          },
          { label: 'on-demand' },
        );
        expect(noteOf(pod, 'not-rewritten')).toEqual({ [image]: 'timed-out' });
        expect(pod.spec.containers?.[1]?.image).toBe(`${app}:1_containerd_accelerated`);
        expect(noteOf(await create(one(image), { label: 'on-demand' }), 'not-rewritten')).toEqual({
          [image]: 'timed-out',
        });
        const other = `127.0.0.1:${portOf(hanging)}/a/b:2`;
        expect(noteOf(await create(one(other), { label: 'on-demand' }), 'not-rewritten')).toEqual({
          [other]: 'registry-unreachable',
        });
        expect(await own.figure('accel_admission_seconds_bucket{le="1"}')).toBe(
          await own.figure('accel_admission_seconds_count'),
        );
        // Only the first pod has waited.
        expect(await own.figure('accel_admission_seconds_bucket{le="0.5"}')).toBe(2);
      } finally {
        await own.stop();
        hanging.close();
      }
    });

    it('a registry that is gone', async () => {
      const own = await startWebhook(cluster, { registries: [{ host: '127.0.0.1:1', plain: true }] });
      try {
        const pod = await create(one('127.0.0.1:1/a/b:1'), { label: 'on-demand' });
        expect(noteOf(pod, 'not-rewritten')).toEqual({ '127.0.0.1:1/a/b:1': 'registry-unreachable' });
      } finally {
        await own.stop();
      }
    });

    it('labels of namespaces are asked for while they cannot be watched', async () => {
      await apply(
        {
          apiVersion: 'rbac.authorization.k8s.io/v1',
          kind: 'ClusterRole',
          metadata: { name: 'getter' },
          rules: [{ apiGroups: [''], resources: ['namespaces'], verbs: ['get'] }],
        },
        {
          apiVersion: 'rbac.authorization.k8s.io/v1',
          kind: 'ClusterRoleBinding',
          metadata: { name: 'getter' },
          roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'getter' },
          subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'getter' }],
        },
      );
      const log: string[] = [];
      const labels = new NamespaceLabels(await cluster.client('getter'), MODE, {
        log: (line) => log.push(line),
        onRestart: () => undefined,
      });
      await eventually(async () => log.length > 0);
      expect(log[0]).toContain('namespaces');
      expect(labels.problem).toBe('the namespaces are not read yet');
      expect(await labels.find('lazy', AbortSignal.timeout(5_000))).toEqual({ [MODE]: 'on-demand' });
      expect(await labels.find('plain', AbortSignal.timeout(5_000))).toEqual({});
      expect(await labels.find('lazy', AbortSignal.abort())).toEqual({});
      await labels.close();
    });

    it('the webhook is dead, or hangs: pods are made as they are', async () => {
      const own = await startWebhook(cluster, config());
      await own.stop();
      expect(imageOf(await create(one(`${app}:1`), { label: 'on-demand' }))).toBe(`${app}:1`);
      const hanging = await hang();
      await apply(webhookConfiguration(`https://127.0.0.1:${portOf(hanging)}/mutate`, ''));
      try {
        expect(imageOf(await create(one(`${app}:1`), { label: 'on-demand' }))).toBe(`${app}:1`);
      } finally {
        hanging.close();
      }
    });
  });

  /** A server that takes connections and says nothing. */
  async function hang(): Promise<Server> {
    const server = createServer(() => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server.unref();
  }
  const portOf = (server: Server) => (server.address() as { port: number }).port;

  async function podsOf(labelSelector: string, count: number, namespace = 'plain'): Promise<Stored[]> {
    let found: Stored[] = [];
    await eventually(async () => {
      found = [];
      await admin.list(pods, { namespace, labelSelector }, (pod) => found.push(pod as unknown as Stored));
      return found.length >= count;
    });
    return found;
  }
});
