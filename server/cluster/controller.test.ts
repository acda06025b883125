/** The controller at a real API server: copies of pull secrets, the secret of the devices, and who leads. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Secret } from './controller/secret-watches.ts';
import { RESOURCES } from './kube/kube-resources.ts';
import type { KubeClient } from './kube.ts';
import { DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE } from './rewrite/pull-secrets.ts';
import { CONTROLLER_USER, controllerRules, startTestController, type TestController } from './testing/controller.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';
import { RELEASE } from './testing/webhook.ts';

const MODE = 'k8s.aliyun.com/image-accelerate-mode';
const VPC = 'shop-registry-vpc.cn-hangzhou.cr.aliyuncs.com';
const VPC_P2P = 'shop-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001';
const LOGIN = { username: 'shop', password: 'secret', auth: Buffer.from('shop:secret').toString('base64') };
const { secrets, namespaces, events } = RESOURCES;

describeWithCluster('the controller', { controllers: true }, () => {
  let cluster: TestCluster;
  let admin: KubeClient;
  const running: TestController[] = [];

  beforeAll(async () => {
    cluster = await startCluster({ controllers: true, users: [CONTROLLER_USER, 'everywhere'] });
    admin = await cluster.client();
    for (const [name, mode] of Object.entries({ [RELEASE]: '', team: '', labelled: 'p2p', other: '' })) {
      const labels = mode === '' ? {} : { [MODE]: mode };
      await admin.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
    }
    // The chart makes this one, without data.
    const devices = { name: 'accel-device-credentials', namespace: RELEASE };
    await admin.create(secrets, { apiVersion: 'v1', kind: 'Secret', metadata: devices });
    const items = controllerRules(['team']);
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((controller) => controller.stop()));
  });
  afterAll(() => cluster?.stop());

  const registries = [{ host: VPC }, { host: 'registry.example.com' }];
  const config = (more: object = {}) => ({ registries, cluster: { secrets: { namespaces: ['team'] }, ...more } });
  const start = async (more: object = {}) => {
    const controller = await startTestController(cluster, config(more));
    running.push(controller);
    return controller;
  };
  const dockerConfig = (auths: object) => Buffer.from(JSON.stringify({ auths })).toString('base64');
  const pullSecret = (
    name: string,
    auths: object,
    { namespace = 'team', ...metadata }: { namespace?: string; labels?: Record<string, string> } = {},
  ): Secret => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { ...metadata, name, namespace },
    type: DOCKER_CONFIG_TYPE,
    data: { [DOCKER_CONFIG_KEY]: dockerConfig(auths) },
  });
  const find = (name: string, namespace = 'team') => admin.find<Secret>(secrets, { namespace, name });
  const authsOf = (secret: Secret | undefined): unknown =>
    secret === undefined
      ? undefined
      : JSON.parse(Buffer.from(secret.data![DOCKER_CONFIG_KEY]!, 'base64').toString('utf8')).auths;
  const copyHas = (name: string, auths: object, namespace?: string) =>
    eventually(async () => {
      expect(authsOf(await find(`acr-credential-${name}-p2p`, namespace))).toEqual(auths);
      return true;
    });
  const isGone = (name: string, namespace?: string) =>
    eventually(async () => (await find(name, namespace)) === undefined);

  it('copies a pull secret with the name of the agents, follows its changes, and removes the copy with it', async () => {
    await start();
    const key = { namespace: 'team', name: 'shop' };
    const made = await admin.create(secrets, pullSecret('shop', { [VPC]: LOGIN, 'ghcr.io': LOGIN }));
    await copyHas('shop', { [VPC_P2P]: LOGIN, 'ghcr.io': LOGIN });
    expect(await find('acr-credential-shop-p2p')).toMatchObject({
      type: DOCKER_CONFIG_TYPE,
      metadata: {
        labels: { 'accel.dev/copy': 'true' },
        annotations: { 'accel.dev/copy-of': 'shop' },
        ownerReferences: [{ kind: 'Secret', name: 'shop', uid: made.metadata.uid }],
      },
    });
    const changed = dockerConfig({ [`https://${VPC}/team`]: { ...LOGIN, password: 'new' } });
    await admin.patch(secrets, key, { kind: 'merge', content: { data: { [DOCKER_CONFIG_KEY]: changed } } });
    await copyHas('shop', { [`${VPC_P2P}/team`]: { ...LOGIN, password: 'new' } });
    // No copy of the copy, however long it runs.
    expect(await find('acr-credential-acr-credential-shop-p2p-p2p')).toBeUndefined();
    const foreign = dockerConfig({ 'ghcr.io': LOGIN });
    await admin.patch(secrets, key, { kind: 'merge', content: { data: { [DOCKER_CONFIG_KEY]: foreign } } });
    await isGone('acr-credential-shop-p2p');
    const again = dockerConfig({ [VPC]: LOGIN });
    await admin.patch(secrets, key, { kind: 'merge', content: { data: { [DOCKER_CONFIG_KEY]: again } } });
    await copyHas('shop', { [VPC_P2P]: LOGIN });
    await admin.remove(secrets, key);
    await isGone('acr-credential-shop-p2p');
  });

  it('mends a copy that somebody changes or removes, and one whose secret was made again', async () => {
    await start();
    await admin.create(secrets, pullSecret('mended', { [VPC]: LOGIN }));
    await copyHas('mended', { [VPC_P2P]: LOGIN });
    const copy = { namespace: 'team', name: 'acr-credential-mended-p2p' };
    const odd = dockerConfig({ [VPC_P2P]: { auth: 'b2RkOm9kZA==' } });
    await admin.patch(secrets, copy, { kind: 'merge', content: { data: { [DOCKER_CONFIG_KEY]: odd } } });
    await copyHas('mended', { [VPC_P2P]: LOGIN });
    await admin.remove(secrets, copy);
    await copyHas('mended', { [VPC_P2P]: LOGIN });
    await admin.remove(secrets, { namespace: 'team', name: 'mended' });
    const made = await admin.create(secrets, pullSecret('mended', { [VPC]: { ...LOGIN, password: 'second' } }));
    await copyHas('mended', { [VPC_P2P]: { ...LOGIN, password: 'second' } });
    await eventually(async () => (await find(copy.name))?.metadata.ownerReferences?.[0]?.uid === made.metadata.uid);
    await admin.remove(secrets, { namespace: 'team', name: 'mended' });
  });

  it('leaves a secret of the same name alone that is not of accel, and says so in an Event', async () => {
    const controller = await start();
    await admin.create(secrets, pullSecret('acr-credential-taken-p2p', { mine: LOGIN }));
    await admin.create(secrets, pullSecret('taken', { [VPC]: LOGIN }));
    await eventually(async () => {
      const found: string[] = [];
      await admin.list(events, { namespace: 'team' }, (event) => {
        found.push((event as { message?: string }).message ?? '');
      });
      return found.some((message) => message.includes('acr-credential-taken-p2p is not of accel'));
    });
    expect(authsOf(await find('acr-credential-taken-p2p'))).toEqual({ mine: LOGIN });
    expect(await controller.figure('accel_controller_secret_copies_total{outcome="foreign"}')).toBeGreaterThan(0);
    for (const name of ['taken', 'acr-credential-taken-p2p']) await admin.remove(secrets, { namespace: 'team', name });
  });

  it('copies nothing where it may not, and follows the label of namespaces where it may read everywhere', async () => {
    await admin.create(secrets, pullSecret('apart', { [VPC]: LOGIN }, { namespace: 'other' }));
    await admin.create(secrets, pullSecret('apart', { [VPC]: LOGIN }, { namespace: 'labelled' }));
    const narrow = await start();
    await admin.create(secrets, pullSecret('probe', { [VPC]: LOGIN }));
    await copyHas('probe', { [VPC_P2P]: LOGIN });
    expect(await find('acr-credential-apart-p2p', 'labelled')).toBeUndefined();
    await narrow.stop();
    running.splice(running.indexOf(narrow), 1);

    const items = controllerRules('all');
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
    await start({ secrets: { clusterWide: true } });
    await copyHas('apart', { [VPC_P2P]: LOGIN }, 'labelled');
    expect(await find('acr-credential-apart-p2p', 'other')).toBeUndefined();
    await cluster.kubectl(['label', 'namespace', 'other', `${MODE}=on-demand.p2p`]);
    await copyHas('apart', { [VPC_P2P]: LOGIN }, 'other');
    await cluster.kubectl(['label', 'namespace', 'other', `${MODE}-`]);
    await isGone('acr-credential-apart-p2p', 'other');
    await cluster.kubectl(['delete', 'clusterrolebinding', 'accel-controller-secrets']);
    await admin.remove(secrets, { namespace: 'team', name: 'probe' });
  });

  it('gathers the secrets that devices read with, and takes them away with the label', async () => {
    await start();
    const label = { 'images.alibabacloud.com/accelerated': 'true' };
    const devices = () => admin.find<Secret>(secrets, { namespace: RELEASE, name: 'accel-device-credentials' });
    const devicesHave = (auths: object) =>
      eventually(async () => {
        expect(authsOf(await devices())).toEqual(auths);
        return true;
      });
    await admin.create(secrets, pullSecret('device', { [`https://${VPC}`]: LOGIN }, { labels: label }));
    await devicesHave({ [VPC]: LOGIN });
    await admin.create(
      secrets,
      pullSecret('device-b', { 'registry.example.com': LOGIN, [VPC]: {} }, { labels: label }),
    );
    await devicesHave({ [VPC]: LOGIN, 'registry.example.com': LOGIN });
    await cluster.kubectl(['-n', 'team', 'label', 'secret', 'device', 'images.alibabacloud.com/accelerated-']);
    await devicesHave({ [VPC]: {}, 'registry.example.com': LOGIN });
    await admin.remove(secrets, { namespace: 'team', name: 'device-b' });
    await devicesHave({});
  });

  it('goes on after the API server was away, with what changed meanwhile, and logs no credentials', async () => {
    const controller = await start();
    await admin.create(secrets, pullSecret('before', { [VPC]: LOGIN }));
    await copyHas('before', { [VPC_P2P]: LOGIN });
    await cluster.down();
    await cluster.up();
    await admin.remove(secrets, { namespace: 'team', name: 'before' });
    await admin.create(secrets, pullSecret('meanwhile', { [VPC]: LOGIN }));
    await eventually(async () => (await find('acr-credential-meanwhile-p2p')) !== undefined);
    await isGone('acr-credential-before-p2p');
    for (const text of [LOGIN.auth, dockerConfig({ [VPC]: LOGIN })])
      expect(controller.log.join('\n')).not.toContain(text);
    await admin.remove(secrets, { namespace: 'team', name: 'meanwhile' });
  });

  it('lets another process lead within 15 s after the leader was killed', async () => {
    const file = join(cluster.folder, 'controller.json');
    const content = {
      ...config(),
      cluster: {
        kubeconfig: cluster.kubeconfig(CONTROLLER_USER),
        namespace: RELEASE,
        secrets: { namespaces: ['team'] },
      },
      telemetry: { listen: '127.0.0.1:0' },
    };
    await writeFile(file, JSON.stringify(content));
    const script = fileURLToPath(new URL('./testing/run-role.ts', import.meta.url));
    const leader = spawn(process.execPath, [script, 'controller', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    const lines: string[] = [];
    leader.stderr.setEncoding('utf8').on('data', (text: string) => lines.push(text));
    await eventually(async () => lines.join('').includes(' leads'));
    const standby = await start();
    expect(standby.isLeader).toBe(false);
    leader.kill('SIGKILL');
    await once(leader, 'exit');
    const killed = performance.now();
    await admin.create(secrets, pullSecret('after', { [VPC]: LOGIN }));
    await eventually(
      async () => (await find('acr-credential-after-p2p')) !== undefined,
      15_000 - (performance.now() - killed),
    );
    expect(standby.isLeader).toBe(true);
    await admin.remove(secrets, { namespace: 'team', name: 'after' });
  });
});
