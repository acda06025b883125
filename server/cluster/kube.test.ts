import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeCertificates } from '../../tests/support/registry.ts';
import { tempDirectory } from '../../tests/support/tools.ts';
import { kubeAccess } from './kube/kube-access.ts';
import { type KubeObject, RESOURCES } from './kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from './kube/kube-watch.ts';
import { LeaderElection } from './kube/leader-election.ts';
import { KubeClient } from './kube.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';

const { namespaces, secrets, leases } = RESOURCES;
const secret = (name: string, text = 'a', namespace = 'default') => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace, labels: { test: 'yes' } },
  stringData: { text },
});

describeWithCluster('the API of Kubernetes', {}, () => {
  let cluster: TestCluster;
  let client: KubeClient;

  beforeAll(async () => {
    cluster = await startCluster({ users: ['nobody'] });
    client = await cluster.client();
  });
  afterAll(() => cluster?.stop());

  const watch = (name: string, restarts: WatchRestart[] = []) =>
    new KubeWatch(client, {
      resource: secrets,
      namespace: 'default',
      labelSelector: `watched=${name}`,
      project: ({ metadata }) => metadata.annotations?.note ?? '',
      onRestart: (reason) => restarts.push(reason),
      log: () => undefined,
    });
  const noted = (watched: string, name: string, note: string) => ({
    ...secret(name),
    metadata: { name, namespace: 'default', labels: { watched }, annotations: { note } },
  });

  it('creates, reads, patches, replaces and removes objects', async () => {
    const made = await client.create<KubeObject>(secrets, secret('one'));
    expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(await client.get(secrets, { namespace: 'default', name: 'one' })).toMatchObject({ data: { text: 'YQ==' } });
    const key = { namespace: 'default', name: 'one' };
    await client.patch(secrets, key, { kind: 'merge', content: { metadata: { annotations: { a: 'b' } } } });
    await client.patch(secrets, key, {
      kind: 'json',
      content: [{ op: 'add', path: '/metadata/annotations/c', value: 'd' }],
    });
    const apply = { ...secret('one'), metadata: { ...secret('one').metadata, labels: { applied: 'yes' } } };
    const applied = await client.patch(secrets, key, { kind: 'apply', content: apply, manager: 'accel-test' });
    expect(applied.metadata).toMatchObject({
      annotations: { a: 'b', c: 'd' },
      labels: { applied: 'yes', test: 'yes' },
    });
    await client.replace(secrets, { ...secret('one', 'z'), metadata: applied.metadata });
    expect(await client.get(secrets, key)).toMatchObject({ data: { text: 'eg==' } });
    expect(await client.remove(secrets, key)).toBe(true);
    expect(await client.remove(secrets, key)).toBe(false);
    expect(await client.find(secrets, key)).toBeUndefined();
  });

  it('says why it cannot: conflict, existence, permission, token, an object that cannot be', async () => {
    const made = await client.create(secrets, secret('two'));
    await client.replace(secrets, { ...secret('two', 'b'), metadata: made.metadata });
    const old = client.replace(secrets, { ...secret('two', 'c'), metadata: made.metadata });
    await expect(old).rejects.toMatchObject({ code: 'cluster-error', reason: 'Conflict', status: 409 });
    await expect(client.create(secrets, secret('two'))).rejects.toMatchObject({ reason: 'AlreadyExists' });
    await expect(client.create(secrets, secret('No Name'))).rejects.toMatchObject({ reason: 'Invalid', status: 422 });
    const other = client.remove(
      secrets,
      { namespace: 'default', name: 'two' },
      { uid: '00000000-0000-0000-0000-000000000000' },
    );
    await expect(other).rejects.toMatchObject({ reason: 'Conflict' });
    const nobody = await cluster.client('nobody');
    await expect(nobody.list(secrets, {}, () => undefined)).rejects.toMatchObject({
      reason: 'Forbidden',
      hint: expect.stringContaining('RBAC'),
      message: expect.stringContaining('nobody'),
    });
  });

  it('stores nothing in a dry run', async () => {
    await client.create(secrets, secret('dry'), { dryRun: true });
    expect(await client.find(secrets, { namespace: 'default', name: 'dry' })).toBeUndefined();
  });

  it('ends a request when its caller does', async () => {
    await expect(
      client.get(namespaces, { name: 'default' }, { signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough');
  });

  it('trusts the authority that the kubeconfig names, and no other', async () => {
    const folder = await tempDirectory();
    const { ca } = await makeCertificates(folder.path);
    const access = await kubeAccess(cluster.kubeconfig());
    const other = await KubeClient.open({ ...access, pem: { ca: await readFile(ca, 'utf8') } });
    await expect(other.get(namespaces, { name: 'default' })).rejects.toMatchObject({
      reason: 'unreachable',
      message: expect.stringContaining('certificate'),
    });
    const careless = await KubeClient.open({ ...access, pem: {}, insecure: true });
    expect(await careless.get(namespaces, { name: 'default' })).toMatchObject({ metadata: { name: 'default' } });
    await Promise.all([other.close(), careless.close(), folder.remove()]);
  });

  it('gives a server up that does not answer', async () => {
    const silent = createServer(() => undefined);
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const access = await kubeAccess(cluster.kubeconfig());
    const server = new URL(`http://127.0.0.1:${(silent.address() as AddressInfo).port}`);
    const hanging = await KubeClient.open({ ...access, server }, 200);
    await expect(hanging.get(namespaces, { name: 'default' })).rejects.toMatchObject({
      code: 'cluster-error',
      status: 0,
      reason: 'Timeout',
    });
    await hanging.close();
    silent.close();
    await expect(hanging.get(namespaces, { name: 'default' })).rejects.toMatchObject({ code: 'cluster-error' });
  });

  it('follows changes, and keeps only what it projects', async () => {
    await client.create(secrets, noted('follow', 'w1', 'before'));
    const changes: unknown[] = [];
    await using watched = new KubeWatch(client, {
      resource: secrets,
      namespace: 'default',
      labelSelector: 'watched=follow',
      metadataOnly: true,
      project: (object: KubeObject & { readonly data?: unknown }) => ({
        note: object.metadata.annotations?.note,
        hasData: object.data !== undefined,
      }),
      onChange: (key, now, before) => changes.push([key, now?.note, before?.note]),
      log: () => undefined,
    });
    await watched.synced();
    expect([...watched.objects]).toEqual([['default/w1', { note: 'before', hasData: false }]]);
    await client.create(secrets, noted('follow', 'w2', 'new'));
    await client.patch(
      secrets,
      { namespace: 'default', name: 'w1' },
      { kind: 'merge', content: { metadata: { annotations: { note: 'after' } } } },
    );
    await client.remove(secrets, { namespace: 'default', name: 'w2' });
    await eventually(async () => changes.length >= 4);
    expect(changes).toEqual([
      ['default/w1', 'before', undefined],
      ['default/w2', 'new', undefined],
      ['default/w1', 'after', 'before'],
      ['default/w2', undefined, 'new'],
    ]);
  });

  it('lists more objects than a page has', async () => {
    const names = Array.from({ length: 1100 }, (_, index) => `page-${index}`);
    for (let start = 0; start < names.length; start += 50) {
      await Promise.all(
        names.slice(start, start + 50).map((name) =>
          client.create(secrets, {
            ...secret(name),
            metadata: { name, namespace: 'default', labels: { pages: 'yes' } },
          }),
        ),
      );
    }
    const found = new Set<string>();
    const selection = { namespace: 'default', labelSelector: 'pages=yes', metadataOnly: true };
    const version = await client.list(secrets, selection, ({ metadata }) => found.add(metadata.name));
    expect(found.size).toBe(1100);
    expect(Number(version)).toBeGreaterThan(0);
  });

  it('lists everything again where the server has forgotten the version', async () => {
    const restarts: WatchRestart[] = [];
    await client.create(secrets, noted('old', 'o1', 'one'));
    await client.create(secrets, noted('old', 'o2', 'two'));
    await using watched = watch('old', restarts);
    await watched.synced();
    await cluster.down();
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    await cluster.etcd('kv/deleterange', { key: base64('/registry/secrets/default/o2') });
    const { header } = (await cluster.etcd('kv/put', { key: base64('/test'), value: '' })) as {
      header: { revision: string };
    };
    await cluster.etcd('kv/compaction', { revision: header.revision, physical: true });
    await cluster.up();
    await eventually(async () => restarts.includes('expired') && !watched.objects.has('default/o2'));
    await client.create(secrets, noted('old', 'o3', 'three'));
    await eventually(async () => watched.objects.has('default/o3'));
    expect([...watched.objects.keys()]).toEqual(['default/o1', 'default/o3']);
  });

  it('goes on after the server was away, and reports what changed meanwhile', async () => {
    const restarts: WatchRestart[] = [];
    await client.create(secrets, noted('away', 'a1', 'one'));
    await client.create(secrets, noted('away', 'a2', 'two'));
    await using watched = watch('away', restarts);
    await watched.synced();
    await cluster.down();
    await eventually(async () => watched.problem !== undefined);
    await cluster.up();
    await client.remove(secrets, { namespace: 'default', name: 'a2' });
    await client.create(secrets, noted('away', 'a3', 'three'));
    await eventually(async () => watched.objects.has('default/a3') && !watched.objects.has('default/a2'));
    expect([...watched.objects.keys()].sort()).toEqual(['default/a1', 'default/a3']);
    expect(watched.problem).toBeUndefined();
    expect(restarts).toContain('failed');
  });

  it('one of two leads; the other one leads when it is killed', async () => {
    const log: string[] = [];
    const ends: string[] = [];
    const elect = (identity: string, own: KubeClient) =>
      new LeaderElection(own, {
        namespace: 'default',
        name: 'accel-test',
        identity,
        lead: async (signal) => {
          log.push(identity);
          await delay(3_600_000, undefined, { signal }).catch(() => undefined);
          ends.push(identity);
        },
        log: () => undefined,
        leaseTime: 2_000,
      });
    const cut = await cluster.client();
    const first = elect('first', cut);
    await eventually(async () => first.isLeader);
    const second = elect('second', client);
    await delay(1_000);
    expect(log).toEqual(['first']);
    // Its requests fail from now on: it ends its work before the other one begins.
    await cut.close();
    await eventually(async () => second.isLeader);
    expect(ends).toEqual(['first']);
    expect(first.isLeader).toBe(false);
    await second.close();
    const lease = await client.get<KubeObject & { readonly spec: { readonly holderIdentity?: string } }>(leases, {
      namespace: 'default',
      name: 'accel-test',
    });
    expect(lease.spec.holderIdentity ?? '').toBe('');
    await first.close();
  });
});
