/** The chart on a real API server, as Helm installs it. There are no nodes: where a hook waits for pods, the test is their kubelet. */
import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { describeWith, run } from '../../tests/support/tools.ts';
import { run as runRole } from '../main.ts';
import { CHART, helm, type Manifest, RELEASE, render, VALUE_SETS, type Values } from './testing/helm.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';

const SEED = { acrInstances: 'test-registry-vpc.cn-hangzhou.cr.aliyuncs.com' };

const NODE = 'alibabacloud.com/image-accelerate-enabled';

/** An account that may remove the copies of one namespace alone. */
const UNINSTALL_RULES = [
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'accel-leftovers', namespace: RELEASE } },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name: 'leftovers', namespace: 'team-a' },
    rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['delete', 'list'] }],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'leftovers', namespace: 'team-a' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'leftovers' },
    subjects: [{ kind: 'ServiceAccount', name: 'accel-leftovers', namespace: RELEASE }],
  },
];

/** Kinds of other projects, which take any content. */
const FOREIGN = [
  ['monitoring.coreos.com', 'servicemonitors', 'ServiceMonitor'],
  ['monitoring.coreos.com', 'prometheusrules', 'PrometheusRule'],
  ['cert-manager.io', 'certificates', 'Certificate'],
  ['cert-manager.io', 'issuers', 'Issuer'],
].map(([group = '', plural = '', kind = '']) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: 'Namespaced',
    names: { plural, kind, singular: kind.toLowerCase() },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
}));

describeWith({ tools: ['helm'] }, 'the chart on an API server', () => {
  describeWithCluster('of Kubernetes 1.37', {}, () => {
    let cluster: TestCluster;
    let folder: string;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'accel-chart-'));
      cluster = await startCluster();
      const namespaces = ['accel', 'images', 'team-a', 'team-b', 'other'].map((name) => ({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name },
      }));
      await apply([...namespaces, ...FOREIGN]);
      await eventually(
        async () => (await cluster.kubectl(['get', 'servicemonitors,certificates', '-A'])) !== undefined,
      );
    });
    afterAll(async () => {
      await cluster?.stop();
      await rm(folder, { recursive: true, force: true });
    });

    const list = (items: readonly unknown[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    const apply = (items: readonly unknown[], args: readonly string[] = []) =>
      cluster.kubectl(['apply', '-f', '-', ...args], { input: list(items) });
    const release = (command: string, args: readonly string[], values?: Values) => {
      const access = ['--kubeconfig', cluster.kubeconfig(), '--namespace', RELEASE];
      const given = values === undefined ? [] : ['--values', '-'];
      return helm([command, RELEASE, ...args, ...access, ...given], values && JSON.stringify(values));
    };
    const get = async (kind: string, name: string, namespace = RELEASE): Promise<Manifest> =>
      JSON.parse(await cluster.kubectl(['get', kind, name, '-n', namespace, '-o', 'json'])) as Manifest;
    /** The objects of the release, as KIND/NAME. */
    const left = async () => {
      const kinds = (await cluster.kubectl(['api-resources', '--verbs=list', '-o', 'name'])).trim().split('\n');
      const selector = ['-l', `app.kubernetes.io/instance=${RELEASE}`, '-A', '-o', 'json'];
      const { items } = JSON.parse(await cluster.kubectl(['get', kinds.join(','), ...selector])) as {
        items: Manifest[];
      };
      // A claim waits for a controller, which does not run here, to release it.
      const stays = items.filter(
        ({ kind, metadata }) => !(kind === 'PersistentVolumeClaim' && 'deletionTimestamp' in metadata),
      );
      return stays.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    };

    it.each(Object.entries(VALUE_SETS))('%s: the API takes every manifest', async (_, values) => {
      const manifests = await render(values, [
        '--api-versions',
        'admissionregistration.k8s.io/v1/MutatingAdmissionPolicy',
      ]);
      const made = await apply(manifests, ['--dry-run=server', '-o', 'name']);
      expect(made.trim().split('\n')).toHaveLength(manifests.length);
    });

    it('leaves the certificate to the webhook, and does not take back what that has written', async () => {
      await release('install', [CHART], SEED);
      const bundle = async () =>
        (await get('mutatingwebhookconfiguration', 'accel-accel')).webhooks[0].clientConfig.caBundle as string;
      expect((await get('secret', 'accel-webhook-own')).data).toBeUndefined();
      expect(await bundle()).toBeUndefined();
      expect((await get('secret', 'accel-agents-own')).data).toBeUndefined();
      // Helm's notes name the other release of the cluster, and not that which is upgraded.
      const notes = (name: string) =>
        helm([
          'upgrade',
          '--install',
          name,
          CHART,
          '--dry-run=server',
          '-n',
          RELEASE,
          '--kubeconfig',
          cluster.kubeconfig(),
          '--set',
          `acrInstances=${SEED.acrInstances}`,
        ]);
      expect(await notes('second')).toContain(`the release ${RELEASE} of the namespace ${RELEASE} is installed, too`);
      expect(await notes('second')).toContain(`helm uninstall ${RELEASE} -n ${RELEASE}`);
      expect(await notes(RELEASE)).not.toContain('is installed, too');
      const [data, authority] = [{ 'tls.crt': btoa('leaf') }, (await authorityOf()).toString('base64')];
      const patch = (kind: string, name: string, type: string, content: unknown) =>
        cluster.kubectl(['patch', kind, name, '-n', RELEASE, `--type=${type}`, '--patch', JSON.stringify(content)]);
      for (const own of ['accel-webhook-own', 'accel-agents-own']) await patch('secret', own, 'merge', { data });
      await patch(
        'mutatingwebhookconfiguration',
        'accel-accel',
        'json',
        [0, 1].map((index) => ({ op: 'add', path: `/webhooks/${index}/clientConfig/caBundle`, value: authority })),
      );
      await release('upgrade', [CHART], { ...SEED, p2p: { ratelimit: '256M' } });
      for (const own of ['accel-webhook-own', 'accel-agents-own'])
        expect((await get('secret', own)).data).toEqual(data);
      expect(await bundle()).toBe(authority);
      await release('uninstall', ['--no-hooks']);
      expect(await left()).toEqual([]);
    });

    it('installs, upgrades and goes back, and keeps the certificates that Helm made', async () => {
      const values = { ...SEED, certificates: { mode: 'helm' } };
      await release('install', [CHART], values);
      const first = await get('secret', 'accel-webhook');
      // The controller makes the agents' authority; without one, Helm does.
      await expect(get('secret', 'accel-agents-authority')).rejects.toThrow('NotFound');
      const bundle = async () =>
        (await get('mutatingwebhookconfiguration', 'accel-accel')).webhooks[0].clientConfig.caBundle as string;
      expect(await bundle()).toBe(first.data['ca.crt']);
      await verifyLeaf(first);
      const config = async () => (await get('configmap', 'accel-agent')).data['accel.yaml'] as string;
      expect(await config()).toContain('ratelimit: 512M');
      const before = (await get('daemonset', 'accel-agent')).spec.template.metadata.annotations['accel.dev/config'];
      const without = { ...values, p2p: { ratelimit: '256M' }, controller: { enabled: false } };
      await release('upgrade', [CHART], without);
      const authority = await get('secret', 'accel-agents-authority');
      await release('upgrade', [CHART], { ...without, admission: { replicas: 1 } });
      expect(await config()).toContain('ratelimit: 256M');
      const after = (await get('daemonset', 'accel-agent')).spec.template.metadata.annotations['accel.dev/config'];
      expect(after).not.toBe(before);
      expect((await get('secret', 'accel-webhook')).data).toEqual(first.data);
      expect((await get('secret', 'accel-agents-authority')).data).toEqual(authority.data);
      expect(await bundle()).toBe(first.data['ca.crt']);
      await expect(get('deployment', 'accel-controller')).rejects.toThrow('NotFound');
      await release('rollback', ['1']);
      expect(await config()).toContain('ratelimit: 512M');
      await get('deployment', 'accel-controller');
      expect(await bundle()).toBe(first.data['ca.crt']);
    });

    it('says which values have no effect, and the next step', async () => {
      const values = {
        region: 'cn-hangzhou',
        acrInstances: `cri-abc,${SEED.acrInstances}`,
        pullImageInternet: 'true',
        p2p: { v2: { cache: { aioEnable: 1 } }, plusMode: { ossInternetAccelerate: true } },
      };
      const notes = await release('upgrade', [CHART], values);
      expect(notes.slice(notes.indexOf('Accepted without effect:')).match(/^ {2}- [^:]+/gm)).toEqual([
        '  - acrInstances cri-abc',
        '  - region',
        '  - pullImageInternet',
        '  - p2p.v2.cache.aioEnable',
        '  - p2p.plusMode.ossInternetAccelerate',
      ]);
      expect(notes).toContain('Pull secrets are read and copied in no namespace');
      expect(await release('upgrade', [CHART], { acrInstances: '' })).toContain('No registry is named');
      expect(await release('upgrade', [CHART], SEED)).toMatch(/Accepted without effect:\s+nothing\s/);
    });

    it('uninstalling ends the rewriting, waits for every node, and leaves nothing', async () => {
      await release('upgrade', [CHART], { ...SEED, secrets: { namespaces: ['team-a'] } });
      await makeLeftovers();
      const uninstalled = release('uninstall', ['--timeout', '50s']);
      uninstalled.catch(() => undefined);
      const job = async (step: string) => {
        const name = step === 'last' ? 'accel-leftovers' : `accel-cleanup-${step}`;
        await eventually(async () => (await get('job', name)) !== undefined);
        return get('job', name);
      };
      await runScript(await job('rewriting'), 'rewriting');
      await expect(get('mutatingwebhookconfiguration', 'accel-accel')).rejects.toThrow('NotFound');
      await expect(get('daemonset', 'accel-cleanup')).rejects.toThrow('NotFound');
      await finish('accel-cleanup-rewriting');
      const wait = await job('wait');
      // The agents still answer while nodes are put back.
      await get('daemonset', 'accel-agent');
      await nodes({ desiredNumberScheduled: 2, numberReady: 1 });
      await expect(runScript(wait, 'wait', { CLEANUP_SECONDS: '1' })).rejects.toThrow(
        '1 of 2 nodes are as they were, after 1 s',
      );
      const waiting = runScript(wait, 'wait');
      await nodes({ desiredNumberScheduled: 2, numberReady: 2 });
      expect(await waiting).toContain('2 of 2 nodes are as they were');
      await finish('accel-cleanup-wait');
      const last = await job('last');
      // The controller is gone with its permissions: nobody makes again what is removed now.
      for (const kind of ['deployment', 'serviceaccount']) {
        await expect(get(kind, 'accel-controller')).rejects.toThrow('NotFound');
      }
      expect(await runUninstall(last)).toContain('1 copies of pull secrets are removed from the namespace team-a');
      await finish('accel-leftovers');
      await uninstalled;
      expect(await left()).toEqual([]);
      const names = async (kind: string, template: string) =>
        (await cluster.kubectl(['get', kind, '-A', '-o', `jsonpath={range .items[*]}${template} {end}`])).trim();
      expect(await names('leases', '{.metadata.name}')).not.toContain('accel');
      // Secrets and labels of others stay.
      expect((await names('secrets', '{.metadata.name}')).split(' ').sort()).toEqual([
        'acr-credential-mine-p2p',
        'labelled',
        'shop',
      ]);
      expect(JSON.parse(await cluster.kubectl(['get', 'nodes', '-o', 'json'])).items).toMatchObject([
        { metadata: { name: 'mine', labels: { [NODE]: 'true' } } },
        { metadata: { name: 'out', labels: { [NODE]: 'false' } } },
        { metadata: { name: 'own' } },
      ]);
      expect(await names('nodes', "{.metadata.annotations['accel\\.dev/labelled']}")).toBe('');
      expect((await get('node', 'own')).metadata.labels ?? {}).not.toHaveProperty(NODE);
    });

    it('says what it could not remove', async () => {
      await apply([...UNINSTALL_RULES, copyIn('team-a'), copyIn('team-b')]);
      const wide = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'x' } } as Manifest;
      await expect(runUninstall(wide, ['team-a', 'team-b'])).rejects.toThrow(
        /not everything could be removed: copies of pull secrets in the namespace team-b: .*forbidden/s,
      );
      await expect(get('secret', 'acr-credential-shop-p2p', 'team-a')).rejects.toThrow('NotFound');
      await get('secret', 'acr-credential-shop-p2p', 'team-b');
    });

    it('a last job that fails is reported, and keeps nothing back', async () => {
      await release('install', [CHART], { ...SEED, agent: { enabled: false } });
      const uninstalled = release('uninstall', ['--timeout', '50s']);
      uninstalled.catch(() => undefined);
      await eventually(async () => (await get('job', 'accel-leftovers')) !== undefined);
      await finish('accel-leftovers', 'Failed');
      await expect(uninstalled).rejects.toThrow('accel-leftovers');
      expect(await helm(['list', '--all', '-q', '--kubeconfig', cluster.kubeconfig(), '--namespace', RELEASE])).toBe(
        '',
      );
      expect(await left()).toEqual(['Job/accel-leftovers']);
      await cluster.kubectl(['delete', 'job', 'accel-leftovers', '-n', RELEASE]);
    });

    it('a release with everything leaves nothing without hooks either', async () => {
      const all = {
        ...SEED,
        ...VALUE_SETS['the service with the embedded queue'],
        agent: {},
        monitoring: { serviceMonitor: true, rules: true, dashboards: true },
        secrets: { namespaces: ['team-a'] },
      };
      await release('install', [CHART], all);
      expect((await left()).length).toBeGreaterThan(30);
      await release('uninstall', ['--no-hooks']);
      expect(await left()).toEqual([]);
    });

    describe('permissions', () => {
      beforeAll(async () => {
        const manifests = await render({ ...SEED, service: { enabled: true }, secrets: { namespaces: ['team-a'] } });
        await apply(manifests.filter(({ kind }) => /^(ServiceAccount|(Cluster)?Role(Binding)?)$/.test(kind)));
        const nobody = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'nobody', namespace: 'accel' } };
        await apply([nobody]);
      });
      const allowed = async (account: string, namespace: string) => {
        const as = `system:serviceaccount:accel:${account}`;
        const text = await cluster.kubectl(['auth', 'can-i', '--list', '--no-headers', '--as', as, '-n', namespace]);
        return text
          .trim()
          .split('\n')
          .map((line) => line.replace(/\s+/g, ' ').trim());
      };

      it.each(['agent', 'service', 'admission', 'controller', 'cleanup', 'leftovers'])(
        'accel-%s: those of docs/kubernetes.md',
        async (role) => {
          const rows = permissionRows().filter(({ account }) => account === `accel-${role}`);
          for (const [namespace, scopes] of [
            ['accel', ['cluster', 'own namespace']],
            ['team-a', ['cluster', 'enabled namespaces']],
            ['other', ['cluster']],
          ] as const) {
            const everybody = await allowed('nobody', namespace);
            const own = (await allowed(`accel-${role}`, namespace)).filter((line) => !everybody.includes(line));
            const documented = rows.flatMap(({ scope, line }) => (scopes.some((one) => one === scope) ? [line] : []));
            expect(own.sort(), namespace).toEqual(documented.sort());
          }
        },
      );
    });

    /** Reads the permissions of docs/kubernetes.md, in the form of `kubectl auth can-i --list`. */
    function permissionRows(): readonly { readonly account: string; readonly scope: string; readonly line: string }[] {
      const page = readFileSync(join(import.meta.dirname, '../../docs/kubernetes.md'), 'utf8');
      return page.split('\n').flatMap((line) => {
        const [account = '', scope = '', resource = '', verbs = ''] = line
          .split('|')
          .slice(1)
          .map((cell) => cell.trim().replaceAll('`', ''));
        if (!account.startsWith('accel-') || verbs === '') return [];
        const [, kind = '', name = ''] = /^(\S+)(?: named (\S+))?$/.exec(resource) ?? [];
        return [{ account, scope, line: `${kind} [] [${name}] [${verbs.replaceAll(', ', ' ')}]` }];
      });
    }

    /** Runs the script of a Job as its pod would. */
    async function runScript(job: Manifest, step: string, env: Record<string, string> = {}): Promise<string> {
      const { containers } = job.spec.template.spec;
      const [container] = containers;
      expect(container.command).toEqual(['node', '/script/uninstall.mjs', step]);
      const script = join(folder, 'uninstall.mjs');
      await writeFile(script, (await get('configmap', 'accel-cleanup')).data['uninstall.mjs']);
      const token = await cluster.kubectl(['create', 'token', 'accel-cleanup', '-n', RELEASE]);
      await writeFile(join(folder, 'token'), token);
      const url = new URL(cluster.url);
      const given = Object.fromEntries(
        container.env.map(({ name, value }: { name: string; value: string }) => [name, value]),
      );
      const result = await run(process.execPath, [script, step], {
        env: {
          ...given,
          KUBERNETES_SERVICE_HOST: url.hostname,
          KUBERNETES_SERVICE_PORT: url.port,
          NODE_EXTRA_CA_CERTS: join(cluster.folder, 'certs/apiserver.crt'),
          TOKEN_FILE: join(folder, 'token'),
          ...env,
        },
      });
      return result.stdout.toString('utf8');
    }

    const status = (kind: string, name: string, content: Values) =>
      cluster.kubectl([
        'patch',
        kind,
        name,
        '-n',
        RELEASE,
        '--subresource=status',
        '--type=merge',
        '--patch',
        JSON.stringify({ status: content }),
      ]);
    const nodes = (figures: Values) =>
      status('daemonset', 'accel-cleanup', {
        observedGeneration: 1,
        currentNumberScheduled: 2,
        numberMisscheduled: 0,
        ...figures,
      });
    const finish = (name: string, end: 'Complete' | 'Failed' = 'Complete') => {
      const now = new Date().toISOString().replace(/\.\d+Z/, 'Z');
      const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: now, lastProbeTime: now });
      if (end === 'Failed') {
        const conditions = [condition('FailureTarget'), condition('Failed')];
        return status('job', name, { startTime: now, failed: 1, conditions });
      }
      return status('job', name, {
        startTime: now,
        completionTime: now,
        succeeded: 1,
        conditions: [condition('SuccessCriteriaMet'), condition('Complete')],
      });
    };

    const copyIn = (
      namespace: string,
      name = 'acr-credential-shop-p2p',
      labels: object = { 'accel.dev/copy': 'true' },
    ) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace, labels },
    });
    /** The objects of a controller, and others that only look like them. */
    async function makeLeftovers(): Promise<void> {
      const node = (name: string, value: string, isOwn: boolean) => ({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name, labels: { [NODE]: value }, annotations: isOwn ? { 'accel.dev/labelled': 'true' } : {} },
      });
      await apply([
        { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'shop', namespace: 'team-a' } },
        copyIn('team-a'),
        copyIn('team-a', 'acr-credential-mine-p2p', {}),
        copyIn('team-a', 'labelled'),
        node('own', 'true', true),
        node('mine', 'true', false),
        node('out', 'false', true),
        {
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: { name: 'accel-controller', namespace: RELEASE },
        },
      ]);
    }

    /** Runs the role of the last Job as its pod would: with its configuration and its account; what it says. */
    async function runUninstall({ spec }: Manifest, namespaces?: readonly string[]): Promise<string> {
      let config = { cluster: { namespace: RELEASE, secrets: { namespaces } } } as { cluster: object };
      if (namespaces === undefined) {
        expect(spec.template.spec.containers[0].args).toEqual([
          'serve',
          '-c',
          '/etc/accel/accel.yaml',
          '--role',
          'uninstall',
        ]);
        config = parse((await get('configmap', 'accel-leftovers')).data['accel.yaml']) as typeof config;
      }
      const token = (await cluster.kubectl(['create', 'token', 'accel-leftovers', '-n', RELEASE])).trim();
      const kubeconfig = join(folder, 'leftovers.yaml');
      const admin = parse(await readFile(cluster.kubeconfig(), 'utf8'));
      admin.users[0].user = { token };
      admin.clusters[0].cluster['certificate-authority'] = join(cluster.folder, 'certs/apiserver.crt');
      await writeFile(kubeconfig, JSON.stringify(admin));
      const file = join(folder, 'leftovers.json');
      const telemetry = { listen: '127.0.0.1:0' };
      await writeFile(file, JSON.stringify({ ...config, telemetry, cluster: { ...config.cluster, kubeconfig } }));
      let said = '';
      const stderr = { write: (text: string) => (said += text) };
      await runRole({ role: 'uninstall', config: file, check: false }, { stderr, signals: new EventEmitter() });
      return said;
    }

    /** A certificate in PEM: the API takes nothing else as a bundle. */
    const authorityOf = () => readFile(join(cluster.folder, 'certs/apiserver.crt'));

    /** The webhook's certificate is of its authority, and for the name of its Service. */
    async function verifyLeaf({ data }: Manifest): Promise<void> {
      const paths = await Promise.all(
        ['ca.crt', 'tls.crt'].map(async (key) => {
          await writeFile(join(folder, key), Buffer.from(data[key], 'base64'));
          return join(folder, key);
        }),
      );
      const [ca = '', leaf = ''] = paths;
      await run('openssl', ['verify', '-CAfile', ca, '-verify_hostname', 'accel-admission.accel.svc', leaf]);
    }
  });
});
