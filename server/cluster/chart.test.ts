/** The chart as Helm renders it; chart-install.test.ts gives it to a real API server. */
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { VERSION } from '../../base/version.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { parseConfig } from '../config/load.ts';
import { mappedHost } from '../config/p2p-names.ts';
import type { Config } from '../config/schema.ts';
import { WEBHOOK_PATH } from './admission/serve-admission.ts';
import { CHART, find, helm, type Manifest, render, VALUE_SETS, type Values } from './testing/helm.ts';

const SEED = { acrInstances: 'test-registry-vpc.cn-hangzhou.cr.aliyuncs.com' };

/** The configuration of a role, as its pods read it on the node 10.1.2.3 in zone z. */
function configOf(manifests: readonly Manifest[], role: string, name = 'accel'): Config {
  const map = find(manifests, 'ConfigMap', `${name}-${role}`);
  const text = (map.data['accel.yaml'] as string)
    .replace('NODE_ADDRESS', '"10.1.2.3:65002"')
    .replace('NODE_ZONE', '"z"');
  return parseConfig(text, role);
}

function podsOf(manifests: readonly Manifest[]): readonly (readonly [name: string, spec: Manifest['spec']])[] {
  return manifests.flatMap(({ kind, metadata, spec }) =>
    ['DaemonSet', 'Deployment', 'Job'].includes(kind)
      ? [[`${kind} ${metadata.name}`, spec.template.spec] as const]
      : [],
  );
}

describeWith({ tools: ['helm'] }, 'the chart', () => {
  it('has the version of accel, and one source for dashboards and alerts', () => {
    const chart = readFileSync(join(CHART, 'Chart.yaml'), 'utf8');
    expect(chart).toContain(`\nversion: ${VERSION}\nappVersion: ${VERSION}\n`);
    for (const folder of ['dashboards', 'alerts'])
      expect(lstatSync(join(CHART, 'files', folder)).isSymbolicLink()).toBe(true);
  });

  it('passes helm lint', async () => {
    expect(await helm(['lint', CHART, '--strict', '--kube-version', '1.37.2'])).toContain('0 chart(s) failed');
  });

  it.each(Object.entries(VALUE_SETS))('%s: manifests whose configurations accel accepts', async (_, values) => {
    const manifests = await render(values);
    const keys = manifests.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
    expect(new Set(keys).size).toBe(keys.length);
    const maps = manifests.filter(({ kind, data }) => kind === 'ConfigMap' && 'accel.yaml' in data);
    for (const { metadata } of maps) {
      const role = metadata.labels!['app.kubernetes.io/component']!;
      configOf(manifests, role, metadata.name.slice(0, -role.length - 1));
    }
    for (const [name, { containers, initContainers = [] }] of podsOf(manifests)) {
      for (const container of [...containers, ...initContainers]) {
        expect(container.securityContext, `${name} ${container.name}`).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
      }
    }
  });

  it.each([
    [{ p2p: { prot: 1 } }, 'prot'],
    [{ p2p: { port: 70000 } }, '/p2p/port'],
    [{ config: { agnet: {} } }, 'agnet'],
    [{ config: { agent: { verify: 'never' } } }, '/config/agent/verify'],
    [{ admission: { kind: 'both' } }, '/admission/kind'],
    [{ secrets: { namespaces: ['Team'] } }, '/secrets/namespaces/0'],
    [{ ...SEED, certificates: { mode: 'files' } }, 'certificates.secret names'],
    [{ ...SEED, agent: { certificates: { mode: 'secret' } } }, 'agent.certificates.secret names'],
  ] satisfies [Values, string][])('%j is refused', async (values, word) => {
    await expect(render(values)).rejects.toThrow(word);
  });

  it('has a default for each value that the values of an earlier release lack', async () => {
    const values = { ...SEED, agent: { runtimes: { overlaybd: true } } };
    const older = { ...values, agent: { ...values.agent, snapshotterFolder: null, credentialProvider: null } };
    expect(await render(older)).toEqual(await render(values));
  });

  it('brings the parameters of the P2P component into the configuration', async () => {
    const manifests = await render(VALUE_SETS['the parameters of the P2P component']!);
    const config = configOf(manifests, 'agent');
    expect(config.registries.map(({ host }) => host)).toEqual([
      'one-registry.cn-hangzhou.cr.aliyuncs.com',
      'two-registry.cn-hangzhou.cr.aliyuncs.com',
    ]);
    expect(config.agent).toMatchObject({
      listen: '127.0.0.1:65101',
      peerListen: '0.0.0.0:65102',
      advertise: '10.1.2.3:65002',
      zone: 'z',
      ratelimit: '256M',
      proxyConcurrencyLimit: 64,
      throttleLimitMB: 128,
      engine: 'none',
      cache: { path: '/var/lib/accel/cache', capacity: 8589934592, ttl: '72h' },
      peers: {
        service: { name: 'accel-agents' },
        signer: { name: 'accel.dev/accel-accel', file: '/run/accel/identity/identity.pem' },
      },
    });
    expect(config.telemetry.listen).toBe('0.0.0.0:65103');
    expect(configOf(manifests, 'admission').cluster.p2p).toMatchObject({
      port: 65101,
      agents: { namespace: 'accel', service: 'accel-agents', nodeSelector: { 'k8s.aliyun.com/p2p-plus-node': 'true' } },
    });
    const { spec } = find(manifests, 'DaemonSet', 'accel-agent').spec.template;
    expect(spec.nodeSelector).toEqual({ 'k8s.aliyun.com/p2p-plus-node': 'true' });
    expect(spec.containers[0].image).toBe('registry.example.com/accel-agent:v1');
    expect(spec.volumes.find(({ name }: { name: string }) => name === 'cache').hostPath.path).toBe('/data/accel');
  });

  it.each([
    ['one', 'one-registry-vpc.cn-x.cr.aliyuncs.com'],
    ['cri-abc, registry.example.com:5000', 'registry.example.com:5000'],
  ])('acrInstances %s: %s', async (acrInstances, host) => {
    const config = configOf(await render({ acrInstances, region: 'cn-x' }), 'agent');
    expect(config.registries.map((registry) => registry.host)).toEqual([host]);
  });

  it.each([
    ['https://registry.example.com', 'without a scheme'],
    ['registry.example.com/team', 'without a path'],
    ['one two', 'HOST[:PORT]'],
    ['[fd00::1]:5000', 'HOST[:PORT]'],
  ])('refuses %s as a registry', async (acrInstances, words) => {
    await expect(render({ acrInstances })).rejects.toThrow(words);
  });

  it('takes a host without a dot by its port, and refuses a port for two uses', async () => {
    const manifests = await render({ acrInstances: 'localhost:5000' });
    expect(configOf(manifests, 'admission').registries).toMatchObject([{ host: 'localhost:5000' }]);
    await expect(render({ ...SEED, p2p: { v2: { p2pPort: 65001 } } })).rejects.toThrow('a number of its own');
  });

  it('lets `config` win over the parameters', async () => {
    const config = configOf(
      await render({ ...SEED, config: { agent: { ratelimit: '1M', cache: { ttl: '1h' } } } }),
      'agent',
    );
    expect(config.agent).toMatchObject({ ratelimit: '1M', cache: { ttl: '1h', capacity: 4294967296 } });
    expect(config.registries.map(({ host }) => host)).toEqual([SEED.acrInstances]);
  });

  it('mounts the folders that setup edits, and no others', async () => {
    const paths = async (runtimes: Values) => {
      const { spec } = find(await render({ ...SEED, agent: { runtimes } }), 'DaemonSet', 'accel-agent').spec.template;
      return spec.volumes.flatMap(({ hostPath }: { hostPath?: { path: string } }) => hostPath?.path ?? []).sort();
    };
    const store = '/var/lib/containerd/io.containerd.content.v1.content/blobs';
    expect(await paths({})).toEqual(['/etc/containerd', '/var/lib/accel/setup', store]);
    expect(await paths({ containers: true, docker: true, overlaybd: true })).toEqual([
      ...['/etc/containerd', '/etc/containers', '/etc/docker', '/etc/overlaybd'],
      '/opt/overlaybd',
      '/run/overlaybd-snapshotter',
      '/var/lib/accel/setup',
      store,
    ]);
    const { spec } = find(await render(SEED), 'DaemonSet', 'accel-agent').spec.template;
    expect(spec).toMatchObject({ hostNetwork: true, automountServiceAccountToken: false });
    expect(spec.volumes.some(({ secret }: Manifest) => secret?.secretName.includes('authority'))).toBe(false);
  });

  it('gives the key of the authority to no node while the controller signs, and to one container otherwise', async () => {
    /** Where a pod of an agent has an authority, and who signs. */
    const look = async (values: Values) => {
      const manifests = await render({ ...SEED, ...values });
      const { spec } = find(manifests, 'DaemonSet', 'accel-agent').spec.template;
      const named = spec.volumes.flatMap(({ secret }: Manifest) => secret?.secretName ?? []);
      const holding = [...spec.initContainers, ...spec.containers].filter(({ volumeMounts }: Manifest) =>
        volumeMounts.some(({ name }: { name: string }) => name === 'authority'),
      );
      const runs = manifests.some(
        ({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'accel-controller',
      );
      return {
        secrets: named.filter((name: string) => name !== 'accel-device-credentials'),
        holding: holding.map(({ name }: Manifest) => name),
        peers: configOf(manifests, 'agent').agent.peers,
        signs: runs ? configOf(manifests, 'controller').cluster.controller.agentCertificates : undefined,
        made: manifests.flatMap(({ kind, metadata, data }) =>
          kind === 'Secret' && metadata.name.startsWith('accel-agents') ? [[metadata.name, data !== undefined]] : [],
        ),
      };
    };
    const signer = { name: 'accel.dev/accel-accel', file: '/run/accel/identity/identity.pem' };
    const byDefault = await look({});
    expect(byDefault).toMatchObject({
      secrets: [],
      holding: [],
      peers: { signer },
      made: [['accel-agents-own', false]],
    });
    expect(byDefault.signs).toMatchObject({
      signer: signer.name,
      account: 'accel-agent',
      secret: 'accel-agents-own',
      renewAuthority: true,
    });
    const secret = { agent: { certificates: { mode: 'secret', secret: 'mine' } } };
    const given = await look(secret);
    expect(given).toMatchObject({ secrets: [], holding: [], peers: { signer }, made: [] });
    expect(given.signs).toMatchObject({ secret: 'mine', renewAuthority: false });
    const off = { controller: { enabled: false } };
    const files = { caFile: '/etc/accel/tls/ca.pem' };
    expect(await look(off)).toMatchObject({
      secrets: ['accel-agents-authority'],
      holding: ['configure'],
      peers: { certificates: files },
      made: [['accel-agents-authority', true]],
    });
    expect(await look({ ...off, ...secret })).toMatchObject({ secrets: ['mine'], holding: ['configure'], made: [] });
    for (const values of [
      { agent: { certificates: { mode: 'plaintext' } } },
      { config: { agent: { peers: { plaintext: true } } } },
    ]) {
      const clear = await look(values);
      expect(clear).toMatchObject({ peers: { plaintext: true } });
      expect(clear.peers.signer).toBeUndefined();
      expect(clear.signs?.signer).toBeUndefined();
    }
  });

  it('lets agents follow their Service unless they have another source, with a token for what they ask alone', async () => {
    const look = async (values: Values) => {
      const manifests = await render({ ...SEED, ...values });
      const { containers, initContainers, volumes } = find(manifests, 'DaemonSet', 'accel-agent').spec.template.spec;
      const mounting = [...initContainers, ...containers].filter(({ volumeMounts }: Manifest) =>
        volumeMounts.some(({ name }: { name: string }) => name === 'api'),
      );
      const roles = manifests.filter(({ kind, metadata }) => /Role$/.test(kind) && metadata.name.endsWith('-agent'));
      return {
        peers: configOf(manifests, 'agent').agent.peers,
        mounting: mounting.map(({ name }: Manifest) => name),
        roles: roles.map(({ kind }) => kind),
        token: volumes.some(({ name }: { name: string }) => name === 'api'),
      };
    };
    const dns = { config: { agent: { peers: { dns: 'agents.example.com' } } } };
    const plain = { agent: { certificates: { mode: 'plaintext' } } };
    expect(await look({})).toMatchObject({ mounting: ['agent'], roles: ['ClusterRole', 'Role'], token: true });
    expect(await look(dns)).toMatchObject({
      peers: { dns: 'agents.example.com' },
      mounting: ['agent'],
      roles: ['ClusterRole'],
    });
    expect((await look(dns)).peers.service).toBeUndefined();
    expect(await look(plain)).toMatchObject({
      peers: { service: { name: 'accel-agents' } },
      roles: ['Role'],
      token: true,
    });
    expect(await look({ ...dns, ...plain })).toMatchObject({ mounting: [], roles: [], token: false });
  });

  it('mounts the plugins of kubelet and the folder of the snapshotter where the values say they are', async () => {
    const look = async (credentialProvider: Values, more: Values = {}) => {
      const agent = { runtimes: { overlaybd: true }, credentialProvider, ...more };
      const manifests = await render({ ...SEED, agent });
      const { containers, volumes } = find(manifests, 'DaemonSet', 'accel-agent').spec.template.spec;
      /** Paths of the node by those of the container. */
      const mounts = Object.fromEntries(
        (containers[0].volumeMounts as { name: string; mountPath: string; readOnly?: boolean }[]).flatMap((mount) => {
          const path = volumes.find(({ name }: { name: string }) => name === mount.name).hostPath?.path as
            | string
            | undefined;
          return path === undefined ? [] : [[mount.mountPath, `${path}${mount.readOnly === true ? ' read-only' : ''}`]];
        }),
      );
      return { mounts, credentials: configOf(manifests, 'agent').agent.credentials };
    };
    const apart = await look({ config: '/etc/kubernetes/provider.yaml', binaries: '/usr/libexec/plugins' });
    expect(apart.credentials).toMatchObject({
      serve: true,
      kubelet: { config: '/run/accel/kubelet/config/provider.yaml', binaries: '/run/accel/kubelet/plugins' },
    });
    expect(apart.mounts).toMatchObject({
      '/run/accel/kubelet/config': '/etc/kubernetes read-only',
      '/run/accel/kubelet/plugins': '/usr/libexec/plugins read-only',
      '/host/run/overlaybd-snapshotter': '/run/overlaybd-snapshotter read-only',
    });
    const together = await look(
      { config: '/opt/plugins/config.yaml', binaries: '/opt/plugins' },
      { snapshotterFolder: '/run/other' },
    );
    expect(together.credentials.kubelet?.config).toBe('/run/accel/kubelet/plugins/config.yaml');
    expect(together.mounts['/host/run/other']).toBe('/run/other read-only');
    expect(Object.keys(together.mounts).filter((path) => path.startsWith('/run/accel/kubelet'))).toHaveLength(1);
    expect((await look({})).credentials.kubelet).toBeUndefined();
  });

  it('lets the agents look at their nodes where overlaybd runs, read-only, and the controller ask them', async () => {
    const look = async (values: Values) => {
      const manifests = await render({ ...SEED, agent: { runtimes: { overlaybd: true } }, ...values });
      const { agent, telemetry } = configOf(manifests, 'agent');
      const { containers } = find(manifests, 'DaemonSet', 'accel-agent').spec.template.spec;
      const mounts = (containers[0].volumeMounts as { mountPath: string; readOnly?: boolean }[]).filter(
        ({ mountPath }) => mountPath.startsWith('/host'),
      );
      return { agent, telemetry, mounts };
    };
    const on = await look({});
    expect(on.agent.nodeCheck).toEqual({ root: '/host', every: '5m' });
    expect(on.telemetry.listen).toBe('0.0.0.0:65003');
    expect(on.mounts.map(({ mountPath }) => mountPath)).toContain('/host/run/overlaybd-snapshotter');
    expect(on.mounts.every(({ readOnly }) => readOnly === true)).toBe(true);
    for (const values of [
      { agent: { runtimes: {} } },
      { controller: { enabled: false } },
      { config: { cluster: { controller: { labelNodes: false } } } },
    ]) {
      const off = await look(values);
      expect(off.agent.nodeCheck).toBeUndefined();
      expect(off.telemetry.listen).toBe('127.0.0.1:65003');
      expect(off.mounts).toEqual([]);
    }
  });

  it('asks about a pod once, and lets it start when nobody answers', async () => {
    const values = { ...SEED, config: { cluster: { excludedNamespaces: ['kube-system', 'monitoring'] } } };
    const { webhooks } = find(await render(values), 'MutatingWebhookConfiguration', 'accel-accel');
    const mode = 'k8s.aliyun.com/image-accelerate-mode';
    const on = [
      { key: mode, operator: 'Exists' },
      { key: mode, operator: 'NotIn', values: ['off'] },
    ];
    const never = {
      key: 'kubernetes.io/metadata.name',
      operator: 'NotIn',
      values: ['kube-system', 'accel', 'monitoring'],
    };
    expect(webhooks).toHaveLength(2);
    expect(webhooks[0]).toMatchObject({
      objectSelector: { matchExpressions: on },
      namespaceSelector: { matchExpressions: [never] },
    });
    expect(webhooks[1]).toMatchObject({
      objectSelector: { matchExpressions: [{ key: mode, operator: 'DoesNotExist' }] },
      namespaceSelector: { matchExpressions: [never, ...on] },
    });
    for (const webhook of webhooks) {
      expect(webhook).toMatchObject({
        failurePolicy: 'Ignore',
        timeoutSeconds: 3,
        sideEffects: 'NoneOnDryRun',
        reinvocationPolicy: 'IfNeeded',
        clientConfig: { service: { name: 'accel-admission', namespace: 'accel', path: WEBHOOK_PATH, port: 443 } },
        rules: [
          { operations: ['CREATE'], resources: ['pods'] },
          { operations: ['UPDATE'], resources: ['pods/ephemeralcontainers'] },
        ],
      });
    }
  });

  it.each(['keep-vpc', 'drop-vpc'] as const)('names the hosts of agents as admission does: %s', async (hostForm) => {
    const hosts = ['a-vpc.b.example.com', 'a.example.com', 'r.example.com:5000', 'localhost', '10.0.0.1', 'docker.io'];
    const config = {
      registries: hosts.map((host) => ({ host })),
      cluster: { p2p: { hostForm, hosts: { 'a.example.com': 'agents.example.com:65001' } } },
    };
    const policy = find(
      await render({ admission: { kind: 'policy' }, config }),
      'MutatingAdmissionPolicy',
      'accel-accel-pods',
    );
    const expected = Object.fromEntries(
      hosts.flatMap((host) => {
        const mapped = host === 'a.example.com' ? 'agents.example.com:65001' : mappedHost(host, 65001, hostForm);
        return mapped === undefined ? [] : [[host, mapped]];
      }),
    );
    expect(JSON.parse(policy.spec.variables[0].expression)).toEqual(expected);
  });

  it('gives permission for secrets in enabled namespaces alone', async () => {
    const secretRules = (manifests: readonly Manifest[]) =>
      manifests.flatMap(({ kind, metadata, rules = [] }) =>
        rules.some(
          ({ resources, resourceNames }: { resources?: string[]; resourceNames?: string[] }) =>
            // The release's own secret, by its name, shows no other one.
            resources?.includes('secrets') && resourceNames === undefined,
        )
          ? [`${kind} ${metadata.namespace ?? 'everywhere'}`]
          : [],
      );
    expect(secretRules(await render(SEED))).toEqual([]);
    expect(secretRules(await render(VALUE_SETS['secrets of two namespaces']!)).sort()).toEqual(
      // Of the webhook, of the controller, and at the end of the job that removes copies.
      ['team-a', 'team-a', 'team-a', 'team-b', 'team-b', 'team-b'].map((name) => `Role ${name}`),
    );
    expect(secretRules(await render({ ...SEED, secrets: { clusterWide: true } }))).toEqual(
      Array.from({ length: 3 }, () => 'ClusterRole everywhere'),
    );
  });
});
