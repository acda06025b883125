/** Whoever may create pods or secrets in one namespace, at a real API server: others are served all the same. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Secret } from './controller/secret-watches.ts';
import { type KubeObject, RESOURCES } from './kube/kube-resources.ts';
import type { KubeClient } from './kube.ts';
import type { Pod } from './rewrite/pod.ts';
import { DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE } from './rewrite/pull-secrets.ts';
import { CONTROLLER_USER, controllerRules, startTestController } from './testing/controller.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';
import { RELEASE, startWebhook, type TestWebhook, WEBHOOK_USER, webhookRules } from './testing/webhook.ts';

const MODE = 'k8s.aliyun.com/image-accelerate-mode';
const HOST = 'registry.example.com';
const P2P = 'registry.distributed.example.com:65001';
const LOGIN = { username: 'shop', password: 'secret' };
const TEAMS = ['abuser', 'team'];
const { secrets, pods, events } = RESOURCES;

describeWithCluster('one namespace', {}, () => {
  let cluster: TestCluster;
  let admin: KubeClient;
  let webhook: TestWebhook;

  beforeAll(async () => {
    cluster = await startCluster({ users: [WEBHOOK_USER, CONTROLLER_USER] });
    admin = await cluster.client();
    const namespace = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    const devices = { name: 'accel-device-credentials', namespace: RELEASE };
    const items = [
      ...[RELEASE, ...TEAMS].map(namespace),
      { apiVersion: 'v1', kind: 'Secret', metadata: devices },
      ...webhookRules(TEAMS),
      ...controllerRules(TEAMS),
    ];
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
    webhook = await startWebhook(cluster, {
      registries: [{ host: HOST }],
      cluster: { breaker: { failures: 2, window: '1m', cooldown: '1m' } },
    });
  });
  afterAll(async () => {
    await webhook?.stop();
    await cluster?.stop();
  });

  const create = async (name: string, namespace: string, spec: object, annotations: Record<string, string> = {}) => {
    const metadata = { name, namespace, labels: { [MODE]: 'p2p' }, annotations };
    return (await admin.create(pods, { apiVersion: 'v1', kind: 'Pod', metadata, spec } as KubeObject)) as KubeObject &
      Pod;
  };
  const one = { containers: [{ name: 'c', image: `${HOST}/team/app:1` }] };
  const imagesOf = ({ spec }: Pod) => spec.containers!.map(({ image }) => image);

  it('makes pods whose annotations or images are many: they exist, and have the new names', async () => {
    const full = await create('full', 'team', one, { note: 'x'.repeat(262_000) });
    expect(imagesOf(full)).toEqual([`${P2P}/team/app:1`]);
    const containers = Array.from({ length: 2_000 }, (_, index) => ({
      name: `c${index}`,
      image: `${HOST}/team/${'long'.repeat(30)}${index}:1`,
    }));
    const many = await create('many', 'team', { containers });
    expect(imagesOf(many).every((image) => image!.startsWith(`${P2P}/`))).toBe(true);
  });

  it('names thousands of pull secrets: a few are read, and the image stays', async () => {
    const reads = async () => {
      const text = await cluster.kubectl(['get', '--raw', '/metrics']);
      const lines = text.match(/^apiserver_request_total\{.*resource="secrets".*verb="GET".*\} \d+$/gm) ?? [];
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    };
    const before = await reads();
    const imagePullSecrets = Array.from({ length: 3_000 }, (_, index) => ({ name: `none-${index}` }));
    const pod = await create('secrets', 'team', { ...one, imagePullSecrets });
    expect(imagesOf(pod)).toEqual([`${HOST}/team/app:1`]);
    const asked = (await reads()) - before;
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThanOrEqual(32);
  });

  it('has pods that fail to pull: the rewriting ends there, and elsewhere when a second one fails, too', async () => {
    const fail = (pod: string, namespace: string) =>
      admin.create(events, {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: `${pod}.1`, namespace },
        reason: 'Failed',
        involvedObject: { kind: 'Pod', namespace, name: pod, uid: pod },
        message: `Failed to pull image "${P2P}/team/app:1": 401 Unauthorized`,
        lastTimestamp: new Date().toISOString(),
      } as KubeObject);
    for (const pod of ['a', 'b', 'c', 'd', 'e']) await fail(pod, 'abuser');
    await eventually(async () => (await webhook.figure('accel_admission_pull_failures_total{mode="p2p"}')) === 5);
    expect(imagesOf(await create('stopped', 'abuser', one))).toEqual([`${HOST}/team/app:1`]);
    expect(imagesOf(await create('going', 'team', one))).toEqual([`${P2P}/team/app:1`]);
    await fail('f', 'team');
    await eventually(async () => (await webhook.figure('accel_admission_pull_failures_total{mode="p2p"}')) === 6);
    expect(imagesOf(await create('all', 'team', one))).toEqual([`${HOST}/team/app:1`]);
  });

  it('labels secrets of thousands of registries, of a megabyte, or broken: devices have those of the others, and lose them', async () => {
    const label = { 'images.alibabacloud.com/accelerated': 'true' };
    const labelled = (name: string, namespace: string, text: string): Secret => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace, labels: label },
      type: DOCKER_CONFIG_TYPE,
      data: { [DOCKER_CONFIG_KEY]: Buffer.from(text).toString('base64') },
    });
    const authsOf = async (): Promise<Record<string, unknown>> => {
      const found = await admin.get<Secret>(secrets, { namespace: RELEASE, name: 'accel-device-credentials' });
      return JSON.parse(Buffer.from(found.data?.[DOCKER_CONFIG_KEY] ?? 'e30=', 'base64').toString('utf8')).auths ?? {};
    };
    const hosts = (from: number, count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`r${from + index}.example.com`, LOGIN]));
    await admin.create(secrets, labelled('huge', 'abuser', JSON.stringify({ auths: hosts(0, 12_000) })));
    await admin.create(
      secrets,
      labelled('odd', 'abuser', JSON.stringify({ auths: { a: 1, b: null, c: [], 'd.io': LOGIN } })),
    );
    // Each is small enough, and all of them are more than one document holds.
    for (let index = 0; index < 20; index++) {
      const auths = hosts(100_000 + index * 1_000, 900);
      await admin.create(secrets, labelled(`part-${index}`, 'abuser', JSON.stringify({ auths })));
    }
    const controller = await startTestController(cluster, {
      registries: [{ host: HOST }],
      cluster: { secrets: { namespaces: TEAMS } },
    });
    try {
      await eventually(async () => 'd.io' in (await authsOf()));
      const auths = await authsOf();
      expect(Object.keys(auths)).not.toContain('r0.example.com');
      for (const odd of ['a', 'b', 'c']) expect(Object.keys(auths)).not.toContain(odd);
      expect(JSON.stringify({ auths }).length).toBeLessThanOrEqual(1_000_000);
      await admin.remove(secrets, { namespace: 'abuser', name: 'odd' });
      await eventually(async () => !('d.io' in (await authsOf())));
    } finally {
      await controller.stop();
    }
  });
});
