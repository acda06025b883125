/**
 * The controller's work at a real API server without a garbage collector, one part at a time: somebody else is faster between a look and a write,
 * lists come late, requests fail once.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { KubeError } from '../kube/kube-error.ts';
import { type KubeObject, RESOURCES, type Resource } from '../kube/kube-resources.ts';
import { LeaderElection } from '../kube/leader-election.ts';
import type { KubeClient, ObjectKey } from '../kube.ts';
import { DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE } from '../rewrite/pull-secrets.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from '../testing/kube-cluster.ts';
import { AgentAddresses } from './agent-addresses.ts';
import { SecretCopies } from './copy-secrets.ts';
import { DeviceSecret } from './device-secret.ts';
import { LABELLED, NodeLabels } from './node-labels.ts';
import type { Secret, SecretScope } from './secret-watches.ts';

const HOST = 'shop-registry-vpc.cn-hangzhou.cr.aliyuncs.com';
const AGENT = 'shop-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001';
const LABEL = 'images.alibabacloud.com/accelerated';
const NODE = 'alibabacloud.com/image-accelerate-enabled';
const { secrets, namespaces, nodes, endpointSlices, leases } = RESOURCES;

describeWithCluster('the controller, when others are faster', {}, () => {
  let cluster: TestCluster;
  let admin: KubeClient;
  const running: { close(): Promise<void> }[] = [];
  const outcomes: string[] = [];
  const complaints: string[] = [];

  beforeAll(async () => {
    cluster = await startCluster();
    admin = await cluster.client();
    for (const name of ['team', 'alpha', 'left', 'own']) {
      await admin.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    }
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.close()));
    outcomes.length = 0;
    complaints.length = 0;
    for (const namespace of ['team', 'alpha', 'left', 'own']) {
      await cluster.kubectl(['delete', 'secrets', '--all', '-n', namespace, '--wait=false']);
    }
  });
  afterAll(() => cluster?.stop());

  const encoded = (auths: object) => ({
    [DOCKER_CONFIG_KEY]: Buffer.from(JSON.stringify({ auths })).toString('base64'),
  });
  const secret = (
    name: string,
    auths: object,
    { namespace = 'team', ...metadata }: Partial<Secret['metadata']> = {},
  ) => ({
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { ...metadata, name, namespace }, type: DOCKER_CONFIG_TYPE },
    data: encoded(auths),
  });
  const find = (name: string, namespace = 'team') => admin.find<Secret>(secrets, { namespace, name });
  const common = () => ({
    onOutcome: (outcome: string) => void outcomes.push(outcome),
    onRestart: () => undefined,
    complain: ({ namespace, name }: { namespace: string; name: string }, message: string) =>
      void complaints.push(`${namespace}/${name}: ${message}`),
    log: () => undefined,
  });
  const scopeOf = (...names: string[]): SecretScope => ({ namespaces: names, clusterWide: false });
  const startCopies = (client = admin, scope = scopeOf('team'), agent = AGENT) => {
    const copies = new SecretCopies(client, {
      ...common(),
      ...{ hosts: new Map([[HOST, agent]]), scope, modeLabel: 'mode', excluded: new Set(['left']) },
    });
    running.push(copies);
    return copies;
  };
  const startDevices = (scope = scopeOf('team')) => {
    const devices = new DeviceSecret(admin, {
      ...common(),
      ...{ scope, label: LABEL, target: { namespace: 'own', name: 'devices' } },
    });
    running.push(devices);
    return devices;
  };
  const isIdle = (copies: SecretCopies) => eventually(async () => copies.problem === undefined && copies.waiting === 0);
  const hasCopy = (name: string) => eventually(async () => (await find(`acr-credential-${name}-p2p`)) !== undefined);

  type Call = 'find' | 'replace' | 'remove' | 'create' | 'patch' | 'list';
  /** The client, with something that happens just before the next call of a kind that meets a condition. */
  function before(
    call: Call,
    meets: (resource: Resource, key: ObjectKey) => boolean,
    happens: () => Promise<void>,
  ): KubeClient {
    let isOver = false;
    return new Proxy(admin, {
      get(target, name: keyof KubeClient) {
        const method = (target[name] as (...args: unknown[]) => unknown).bind(target);
        if (name !== call) return method;
        return async (resource: Resource, object: ObjectKey & Partial<Secret>, ...others: unknown[]) => {
          if (!isOver && meets(resource, object.metadata ?? object)) {
            isOver = true;
            await happens();
          }
          return method(resource, object, ...others);
        };
      },
    });
  }
  const isSecret =
    (wanted: string) =>
    (resource: Resource, { name }: ObjectKey) =>
      resource.plural === 'secrets' && name === wanted;
  /** Somebody puts a secret of their own in the place of a copy. */
  const takeOver = async (name: string) => {
    await admin.remove(secrets, { namespace: 'team', name });
    await admin.create(secrets, secret(name, { 'mine.example.com': { auth: 'bWluZTptaW5l' } }));
  };
  const isTheirs = async (name: string) =>
    expect((await find(name))?.data).toEqual(encoded({ 'mine.example.com': { auth: 'bWluZTptaW5l' } }));

  it('gives the copy to a secret that was made again with the same login', async () => {
    const first = startCopies();
    await admin.create(secrets, secret('again', { [HOST]: { auth: 'YTph' } }));
    await hasCopy('again');
    // While no controller runs.
    await first.close();
    await admin.remove(secrets, { namespace: 'team', name: 'again' });
    const made = await admin.create(secrets, secret('again', { [HOST]: { auth: 'YTph' } }));
    startCopies();
    await eventually(async () => {
      const copy = await find('acr-credential-again-p2p');
      return copy?.metadata.ownerReferences?.[0]?.uid === made.metadata.uid;
    });
  });

  it('writes nothing at its start where all is in order', async () => {
    const first = startCopies();
    await admin.create(secrets, secret('kept', { [HOST]: { auth: 'YTph' } }));
    await hasCopy('kept');
    await first.close();
    const uid = (await find('acr-credential-kept-p2p'))?.metadata.uid;
    outcomes.length = 0;
    await isIdle(startCopies());
    expect(outcomes).toEqual([]);
    expect((await find('acr-credential-kept-p2p'))?.metadata.uid).toBe(uid);
  });

  it('copies nothing in a namespace that is left alone', async () => {
    await admin.create(secrets, secret('one', { [HOST]: { auth: 'YTph' } }, { namespace: 'left' }));
    await admin.create(secrets, secret('one', { [HOST]: { auth: 'YTph' } }));
    const copies = startCopies(admin, scopeOf('left', 'team'));
    await hasCopy('one');
    await isIdle(copies);
    expect(await find('acr-credential-one-p2p', 'left')).toBeUndefined();
  });

  it('removes no secret that took the place of a copy', async () => {
    const copy = 'acr-credential-gone-p2p';
    startCopies(before('remove', isSecret(copy), () => takeOver(copy)));
    await admin.create(secrets, secret('gone', { [HOST]: { auth: 'YTph' } }));
    await hasCopy('gone');
    await admin.remove(secrets, { namespace: 'team', name: 'gone' });
    await eventually(async () => outcomes.includes('failed'));
    await isTheirs(copy);
  });

  it.each([
    ['before it is read', 'find'],
    ['after it was read', 'replace'],
  ] as const)('overwrites no secret that took the place of a copy %s', async (_, call) => {
    const copy = 'acr-credential-taken-p2p';
    startCopies(before(call, isSecret(copy), () => takeOver(copy)));
    await admin.create(secrets, secret('taken', { [HOST]: { auth: 'YTph' } }));
    await hasCopy('taken');
    const content = { data: encoded({ [HOST]: { auth: 'Yjpi' } }) };
    await admin.patch(secrets, { namespace: 'team', name: 'taken' }, { kind: 'merge', content });
    await eventually(async () => complaints.length > 0);
    expect(complaints[0]).toContain(`the secret ${copy} is not of accel`);
    await isTheirs(copy);
  });

  it('tries again what failed', async () => {
    const copy = 'acr-credential-once-p2p';
    const fails = async () => {
      throw new KubeError('etcd is away', { status: 500, reason: 'InternalError', where: {} });
    };
    startCopies(before('create', isSecret(copy), fails));
    await admin.create(secrets, secret('once', { [HOST]: { auth: 'YTph' } }));
    await hasCopy('once');
    await eventually(async () => outcomes.length === 2);
    expect(outcomes).toEqual(['failed', 'made']);
  });

  it('does not fight for ever with a second release over a copy, and says who', async () => {
    const copies = [startCopies(), startCopies(admin, scopeOf('team'), AGENT.replace('65001', '65101'))];
    await admin.create(secrets, secret('both', { [HOST]: { auth: 'YTph' } }));
    await eventually(async () => complaints.length === 2);
    const version = async () => (await find('acr-credential-both-p2p'))?.metadata.resourceVersion;
    expect(complaints[0]).toMatch(/^team\/both: another program writes its copy acr-credential-both-p2p, too/);
    const [before, writes] = [await version(), outcomes.filter((one) => one !== 'failed').length];
    expect(writes).toBeLessThanOrEqual(6);
    await delay(3_000);
    expect(await version()).toBe(before);
    // When the other one is gone, the copy is in order within a minute or two; a new original is at once.
    await copies[1]!.close();
    const content = { data: encoded({ [HOST]: { auth: 'Yjpi' } }) };
    await admin.patch(secrets, { namespace: 'team', name: 'both' }, { kind: 'merge', content });
    await eventually(async () => {
      const text = (await find('acr-credential-both-p2p'))?.data?.[DOCKER_CONFIG_KEY] ?? '';
      return Buffer.from(text, 'base64').toString('utf8') === JSON.stringify({ auths: { [AGENT]: { auth: 'Yjpi' } } });
    });
  });

  const auths = async () => {
    const found = await find('devices', 'own');
    const text = Buffer.from(found?.data?.[DOCKER_CONFIG_KEY] ?? '', 'base64').toString('utf8');
    return (JSON.parse(text) as { auths: unknown }).auths;
  };
  const devicesHave = (wanted: object) =>
    eventually(async () => {
      expect(await auths()).toEqual(wanted);
      return true;
    });
  const labels = { [LABEL]: 'true' };

  it('empties the secret of the devices where no secret has the label any more', async () => {
    await admin.create(secrets, { ...secret('devices', { [HOST]: {} }, { namespace: 'own' }), type: 'Opaque' });
    startDevices();
    await devicesHave({});
  });

  it('does not write the secret of the devices before it has read all', async () => {
    await admin.create(secrets, secret('device', { [HOST]: { auth: 'YTph' } }, { labels }));
    const first = startDevices();
    await devicesHave({ [HOST]: { auth: 'YTph' } });
    await first.close();
    const version = (await find('devices', 'own'))?.metadata.resourceVersion;
    const second = startDevices();
    await eventually(async () => second.problem === undefined);
    // The first write would come before this one.
    await admin.create(secrets, secret('device-2', { 'two.example.com': {} }, { labels }));
    await devicesHave({ [HOST]: { auth: 'YTph' }, 'two.example.com': {} });
    expect(outcomes).toEqual(['written', 'written']);
    expect((await find('devices', 'own'))?.metadata.resourceVersion).not.toBe(version);
  });

  it('takes the first of two secrets by namespace and name, whichever was read first, and says so at the other', async () => {
    await admin.create(secrets, secret('device', { [HOST]: { auth: 'dGVhbTo=' } }, { labels }));
    await admin.create(secrets, secret('device', { [HOST]: { auth: 'YWxwaGE6' } }, { namespace: 'alpha', labels }));
    startDevices(scopeOf('team', 'alpha'));
    await devicesHave({ [HOST]: { auth: 'YWxwaGE6' } });
    expect([...new Set(complaints)]).toEqual([
      `team/device: devices read from ${HOST} with the secret alpha/device, not with this one`,
    ]);
  });

  it('reads with no secret of another type, and says so', async () => {
    await admin.create(secrets, { ...secret('odd', { [HOST]: {} }, { labels }), type: 'Opaque' });
    await admin.create(secrets, secret('right', { 'two.example.com': {} }, { labels }));
    startDevices();
    await devicesHave({ 'two.example.com': {} });
    expect(complaints).toEqual([
      'team/odd: devices cannot read with it: it is no secret of type kubernetes.io/dockerconfigjson',
    ]);
  });

  type Lease = KubeObject & { readonly spec: { readonly holderIdentity: string; readonly leaseTransitions: number } };
  const lease = () => admin.get<Lease>(leases, { namespace: 'own', name: 'lead' });
  const stand = (identity: string) =>
    new LeaderElection(admin, {
      ...{ namespace: 'own', name: 'lead', identity, leaseTime: 1_000, log: () => undefined },
      lead: (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    });

  it('counts who has led, and takes no lease from another one when it ends', async () => {
    const first = stand('first');
    await eventually(async () => first.isLeader);
    expect((await lease()).spec).toMatchObject({ holderIdentity: 'first', leaseTransitions: 0 });
    await first.close();
    expect((await lease()).spec.holderIdentity).toBe('');
    const second = stand('second');
    await eventually(async () => second.isLeader);
    expect((await lease()).spec).toMatchObject({ holderIdentity: 'second', leaseTransitions: 1 });
    const taken = { spec: { holderIdentity: 'third' } };
    const ended = admin
      .patch(leases, { namespace: 'own', name: 'lead' }, { kind: 'merge', content: taken })
      .then(() => second.close());
    await ended;
    expect((await lease()).spec).toMatchObject({ holderIdentity: 'third', leaseTransitions: 1 });
  });

  const startNodes = (client: KubeClient, service?: string) => {
    const labelling = new NodeLabels(client, {
      ...{ label: NODE, every: 100, onLook: () => undefined },
      agents: service === undefined ? undefined : { namespace: 'own', service },
      ...common(),
    });
    running.push(labelling);
    return labelling;
  };
  const addNode = async (name: string) => {
    const metadata = { name, labels: { [NODE]: 'true' }, annotations: { [LABELLED]: 'true' } };
    await admin.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata });
  };
  const isNode =
    (wanted: string) =>
    (resource: Resource, { name }: ObjectKey) =>
      resource.plural === 'nodes' && name === wanted;

  it('does not take away the value that an administrator gives a node meanwhile', async () => {
    await addNode('node-1');
    const keepOut = async () => {
      await cluster.kubectl(['label', '--overwrite', 'node', 'node-1', `${NODE}=false`]);
    };
    startNodes(before('patch', isNode('node-1'), keepOut));
    await eventually(
      async () => (await admin.get(nodes, { name: 'node-1' })).metadata.annotations?.[LABELLED] === undefined,
    );
    expect((await admin.get(nodes, { name: 'node-1' })).metadata.labels?.[NODE]).toBe('false');
    await admin.remove(nodes, { name: 'node-1' });
  });

  it('judges no node before it knows all agents', async () => {
    await addNode('node-2');
    let label: string | undefined;
    const late = async () => {
      // Ten rounds of questions.
      await delay(1_000);
      label = (await admin.get(nodes, { name: 'node-2' })).metadata.labels?.[NODE];
    };
    startNodes(
      before('list', ({ plural }) => plural === 'endpointslices', late),
      'agents',
    );
    // The node has no agent.
    await eventually(async () => (await admin.get(nodes, { name: 'node-2' })).metadata.labels?.[NODE] === undefined);
    expect(label).toBe('true');
    await admin.remove(nodes, { name: 'node-2' });
  });

  it('asks an agent by IPv4 where it has both', async () => {
    for (const [addressType, address] of [
      ['IPv6', '2001:db8::1'],
      ['IPv4', '192.0.2.1'],
    ] as const) {
      const metadata = { name: addressType.toLowerCase(), namespace: 'own' };
      await admin.create(endpointSlices, {
        ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType },
        metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'both' } },
        ...{ ports: [{ name: 'metrics', port: 65_003 }], endpoints: [{ addresses: [address], nodeName: 'node' }] },
      });
    }
    const agents = new AgentAddresses(admin, { ...common(), namespace: 'own', service: 'both' });
    running.push(agents);
    await eventually(async () => agents.isSynced);
    expect([...agents.byNode]).toEqual([['node', '192.0.2.1:65003']]);
    await admin.remove(endpointSlices, { namespace: 'own', name: 'ipv4' });
    await eventually(async () => agents.byNode.get('node') === '[2001:db8::1]:65003');
  });
});
