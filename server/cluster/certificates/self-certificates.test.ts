/** The webhook makes its own certificates, at a real API server that trusts nothing else. */
import { EventEmitter, once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from '../../../tests/support/loopback.ts';
import { CONFIG_SCHEMA } from '../../config/schema.ts';
import { Lifecycle } from '../../lifecycle.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { startAdmission } from '../admission/start-admission.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { KubeClient } from '../kube.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from '../testing/kube-cluster.ts';
import { RELEASE, WEBHOOK_USER, webhookConfiguration, webhookRules } from '../testing/webhook.ts';
import { renewed, writeState } from './certificate-state.ts';
import { SelfCertificates } from './self-certificates.ts';
import { patchBundle, type WebhookConfiguration } from './webhook-bundle.ts';

const MODE = 'k8s.aliyun.com/image-accelerate-mode';
const IMAGE = 'registry.example.com/team/app:1';
const SECRET = 'accel-webhook';
const { pods, secrets, webhookConfigurations } = RESOURCES;

type StoredPod = KubeObject & { readonly spec: { readonly containers: readonly { readonly image: string }[] } };
type Data = KubeObject & { readonly data?: Readonly<Record<string, string>> };

describeWithCluster('the webhook’s own certificates', {}, () => {
  let cluster: TestCluster;
  let admin: KubeClient;
  let user: KubeClient;
  let balancer: Balancer;
  const log: string[] = [];
  const running: Replica[] = [];

  beforeAll(async () => {
    cluster = await startCluster({ users: [WEBHOOK_USER] });
    [admin, user] = [await cluster.client(), await cluster.client(WEBHOOK_USER)];
    balancer = await Balancer.start();
    const namespace = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'team' } };
    const empty = { apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata: { name: SECRET, namespace: RELEASE } };
    await apply(namespace(RELEASE), namespace('team'), account, empty, ...webhookRules([]), ...ownRules());
  });
  afterAll(async () => {
    for (const replica of running) await replica.stop();
    await balancer?.stop();
    await cluster?.stop();
  });

  const apply = (...items: object[]) =>
    cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
  const register = () => apply(webhookConfiguration(`https://127.0.0.1:${balancer.port}/mutate`, ''));
  const configuration = () => admin.get<WebhookConfiguration>(webhookConfigurations, { name: 'accel' });
  const bundle = async () => {
    const [first, ...others] = (await configuration()).webhooks!.map(({ clientConfig }) => clientConfig?.caBundle);
    expect(others.every((other) => other === first)).toBe(true);
    return Buffer.from(first ?? '', 'base64').toString('utf8');
  };
  const stored = async () => (await admin.get<Data>(secrets, { namespace: RELEASE, name: SECRET })).data ?? {};
  const put = async (data: Record<string, string>) => {
    const secret = await admin.get<Data>(secrets, { namespace: RELEASE, name: SECRET });
    await admin.replace(secrets, { ...secret, data });
  };
  const createPod = async () => {
    const metadata = { generateName: 'pod-', name: undefined as unknown as string, namespace: 'team' };
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, labels: { [MODE]: 'p2p' } },
      spec: { containers: [{ name: 'c', image: IMAGE }] },
    };
    return ((await admin.create(pods, pod as KubeObject)) as StoredPod).spec.containers[0]!.image;
  };

  /** The permissions that the chart grants for this. */
  function ownRules(): object[] {
    const rbac = 'rbac.authorization.k8s.io/v1';
    const subjects = [{ kind: 'User', name: WEBHOOK_USER, apiGroup: 'rbac.authorization.k8s.io' }];
    const roleRef = (kind: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name: 'own' });
    const one = {
      apiGroups: [''],
      resources: ['secrets'],
      resourceNames: [SECRET],
      verbs: ['get', 'list', 'update', 'watch'],
    };
    const other = {
      apiGroups: ['admissionregistration.k8s.io'],
      resources: ['mutatingwebhookconfigurations'],
      resourceNames: ['accel'],
      verbs: ['get', 'list', 'patch', 'watch'],
    };
    const metadata = { name: 'own', namespace: RELEASE };
    return [
      { apiVersion: rbac, kind: 'Role', metadata, rules: [one] },
      { apiVersion: rbac, kind: 'RoleBinding', metadata, roleRef: roleRef('Role'), subjects },
      { apiVersion: rbac, kind: 'ClusterRole', metadata: { name: 'own' }, rules: [other] },
      {
        apiVersion: rbac,
        kind: 'ClusterRoleBinding',
        metadata: { name: 'own' },
        roleRef: roleRef('ClusterRole'),
        subjects,
      },
    ];
  }

  /** Starts a replica of the webhook behind the balancer; with lifetimes in milliseconds, or as the configuration has it. */
  async function startReplica(lifetimes?: { readonly lifetime: number; readonly authorityLifetime: number }) {
    const config = CONFIG_SCHEMA.parse({
      registries: [{ host: 'registry.example.com' }],
      cluster: {
        kubeconfig: cluster.kubeconfig(WEBHOOK_USER),
        namespace: RELEASE,
        admission: { listen: '127.0.0.1:0' },
      },
    });
    const lifecycle = new Lifecycle({ signals: new EventEmitter(), drain: 5_000, log: (line) => log.push(line) });
    const add = (line: string) => void log.push(line);
    const context = {
      config,
      readConfig: async () => config,
      metrics: createMetrics('admission'),
      lifecycle,
      log: add,
    };
    let source: SelfCertificates | undefined;
    if (lifetimes !== undefined) {
      source = new SelfCertificates(user, {
        namespace: RELEASE,
        secret: SECRET,
        webhook: 'accel',
        log: add,
        settle: 500,
        ...lifetimes,
      });
      await source.ready(lifecycle.draining);
    }
    const { port } = await startAdmission(context, source);
    balancer.ports.push(port);
    const replica = {
      port,
      degraded: () => lifecycle.degraded(),
      async stop() {
        balancer.ports.splice(balancer.ports.indexOf(port), 1);
        running.splice(running.indexOf(replica), 1);
        lifecycle.drain();
        await lifecycle.run();
        await lifecycle[Symbol.asyncDispose]();
      },
    };
    running.push(replica);
    return replica;
  }

  it('waits for the configuration of the webhook, fills the Secret that the chart made, and is trusted', async () => {
    const starting = startReplica();
    await eventually(async () => log.some((line) => line.includes('accel does not exist')));
    await register();
    const { port } = await starting;
    expect(Object.keys(await stored()).sort()).toEqual(['ca.crt', 'ca.key', 'tls.crt', 'tls.key']);
    expect(await bundle()).toBe(Buffer.from((await stored())['ca.crt']!, 'base64').toString('utf8'));
    await eventually(async () => (await createPod()).startsWith('registry.distributed.example.com:65001/'));
    expect(await handshake(port, await bundle())).toMatch(/^[0-9A-F]+$/);
    expect(log.join('\n')).not.toContain('PRIVATE KEY');
  });

  it('gives Secret and configuration back what somebody took from them', async () => {
    const [data, trusted] = [await stored(), await bundle()];
    await put({});
    await eventually(async () => (await stored())['tls.crt'] === data['tls.crt']);
    await register();
    await eventually(async () => (await bundle()) === trusted);
    await eventually(async () => (await createPod()) !== IMAGE);
  });

  it('makes all again where the Secret holds something else', async () => {
    const { port } = running[0]!;
    const before = await handshake(port, await bundle());
    const { 'ca.crt': _, ...rest } = await stored();
    await put({ ...rest, 'ca.crt': Buffer.from('x').toString('base64') });
    await eventually(async () => (await stored())['ca.crt']!.length > 100);
    // It gives back what it serves, since that is still good.
    expect(await handshake(port, await bundle())).toBe(before);
    await running[0]!.stop();
    await put({ 'tls.crt': Buffer.from('x').toString('base64') });
    const after = await startReplica();
    await eventually(async () => (await handshake(after.port, await bundle())) !== before);
    await eventually(async () => (await createPod()) !== IMAGE);
    await after.stop();
  });

  it('two replicas that start at once agree, and renew while pods are created: none fails, none keeps its image', async () => {
    await put({});
    await register();
    const lifetimes = { lifetime: 9_000, authorityLifetime: 24_000 };
    await Promise.all([startReplica(lifetimes), startReplica(lifetimes)]);
    await eventually(async () => (await createPod()) !== IMAGE);
    const ports = running.map(({ port }) => port);
    const certificates = new Set<string>();
    const bundles = new Set<string>();
    const images: string[] = [];
    let isOver = false;
    const shake = async () => {
      while (!isOver) {
        const trusted = await bundle();
        bundles.add(trusted);
        for (const port of ports) certificates.add(await handshake(port, trusted));
        await delay(50);
      }
    };
    const create = async () => {
      while (!isOver) {
        images.push(await createPod());
        await delay(20);
      }
    };
    const work = Promise.all([shake(), create(), create()]);
    work.catch(() => undefined);
    const before = await bundle();
    await eventually(async () => {
      const count = (await bundle()).split('BEGIN CERTIFICATE').length - 1;
      const isServed = certificates.size > 3;
      return (count === 2 && isServed) || !(await bundle()).includes(before.trim());
    });
    isOver = true;
    await work;
    expect((await bundle()).split('BEGIN CERTIFICATE').length - 1).toBe(2);
    expect(await bundle()).toContain(before.trim());
    // Serial numbers alone: no handshake failed.
    expect([...certificates].filter((one) => !/^[0-9A-F]+$/.test(one))).toEqual([]);
    expect(images.length).toBeGreaterThan(100);
    expect(new Set(images)).toEqual(
      new Set([IMAGE.replace('registry.', 'registry.distributed.').replace('.com', '.com:65001')]),
    );
    expect(bundles.size).toBeLessThanOrEqual(2);
    expect(log.filter((line) => line.includes('cannot be renewed') && !line.includes('does not exist'))).toEqual([]);
  });

  it('serves a certificate of a new authority after API servers know it, and says why nothing can be renewed', async () => {
    const problems: (string | undefined)[] = [];
    const day = 86_400_000;
    const name = { namespace: RELEASE, secret: 'other-own', webhook: 'other' };
    const certificates = new SelfCertificates(admin, {
      ...{ ...name, lifetime: day, authorityLifetime: 2 * day, settle: 3_000, log: () => undefined },
      onProblem: (reason) => void problems.push(reason),
    });
    try {
      await eventually(async () => problems.length === 1);
      expect(problems).toEqual(['the MutatingWebhookConfiguration other does not exist']);
      const other = webhookConfiguration('https://127.0.0.1:1/mutate', '') as WebhookConfiguration;
      await admin.create(webhookConfigurations, { ...other, metadata: { name: 'other' } });
      await certificates.ready(AbortSignal.timeout(20_000));
      await eventually(async () => problems.length === 2);
      expect(problems[1]).toBeUndefined();
      const old = certificates.current.cert;
      const wishes = { hosts: ['127.0.0.1'], lifetime: day, authorityLifetime: 2 * day };
      const next = (await renewed(undefined, wishes, Date.now()))!;
      const secret = await admin.get<Data>(secrets, { namespace: RELEASE, name: 'other-own' });
      await admin.replace(secrets, { ...secret, data: writeState(next) });
      const known = () => admin.get<WebhookConfiguration>(webhookConfigurations, { name: 'other' });
      await eventually(async () => {
        const [first] = (await known()).webhooks!;
        return Buffer.from(first!.clientConfig!.caBundle!, 'base64')
          .toString('utf8')
          .includes(next.authority.cert.trim());
      });
      expect(certificates.current.cert).toBe(old);
      await eventually(async () => certificates.current.cert === next.leaf.cert);
    } finally {
      await certificates.close();
    }
  });

  it('leaves a bundle alone that somebody else has changed since', async () => {
    const other = webhookConfiguration('https://127.0.0.1:1/mutate', '') as WebhookConfiguration;
    const read = await admin.create(webhookConfigurations, { ...other, metadata: { name: 'raced' } });
    await cluster.kubectl(['label', 'mutatingwebhookconfiguration', 'raced', 'a=b']);
    const { authority } = (await renewed(
      undefined,
      { hosts: [], lifetime: 60_000, authorityLifetime: 60_000 },
      Date.now(),
    ))!;
    await expect(patchBundle(admin, read, authority.cert, {})).rejects.toMatchObject({ reason: 'Conflict' });
    const now = await admin.get<WebhookConfiguration>(webhookConfigurations, { name: 'raced' });
    expect(now.webhooks?.map(({ clientConfig }) => clientConfig?.caBundle ?? '')).toEqual(['', '']);
  });
});

interface Replica {
  readonly port: number;
  degraded(): string[];
  stop(): Promise<void>;
}

/** Connects as an API server would, trusting a bundle alone: the serial number of the certificate, or why it is not trusted. */
async function handshake(port: number, ca: string): Promise<string> {
  const socket = connectTls({ host: '127.0.0.1', port, ca, ALPNProtocols: ['http/1.1'] });
  try {
    await once(socket, 'secureConnect');
    return socket.getPeerCertificate().serialNumber;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  } finally {
    socket.destroy();
  }
}

/** Stands for the Service: each connection goes to the next replica. */
class Balancer {
  readonly ports: number[] = [];
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #next = 0;

  private constructor(port: number, server: Server) {
    this.port = port;
    this.#server = server;
  }

  static async start(): Promise<Balancer> {
    const server = createServer();
    const balancer = new Balancer(await freePort(), server);
    server.on('connection', (client) => balancer.#forward(client));
    server.listen(balancer.port, '127.0.0.1');
    await once(server, 'listening');
    return balancer;
  }

  #forward(client: Socket): void {
    const port = this.ports[this.#next++ % this.ports.length];
    if (port === undefined) return void client.destroy();
    const upstream = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(one);
      one
        .on('error', () => other.destroy())
        .on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      one.pipe(other);
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
