/** All cases of the rewriting at a real API server, once by the webhook and once by the chart's policy: they differ in what docs/kubernetes.md lists, and in nothing else. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import { makeCertificates } from '../../tests/support/registry.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { AdmissionMetrics } from '../telemetry/admission-metrics.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { type AdmissionServer, serveAdmission, WEBHOOK_PATH } from './admission/serve-admission.ts';
import { Admission } from './admission.ts';
import { isKubeError } from './kube/kube-error.ts';
import { type KubeObject, RESOURCES } from './kube/kube-resources.ts';
import type { KubeClient } from './kube.ts';
import type { Container, Pod } from './rewrite/pod.ts';
import { type Manifest, RELEASE, render } from './testing/helm.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';
import { LABEL_CASES } from './testing/label-cases.ts';
import { PLACE_CASES } from './testing/place-cases.ts';
import { ACC, answersOf, type Case, HEAD, HUB, MODE, P2P, requestOf, settingsOf } from './testing/rewrite-case.ts';
import { SECRET_CASES } from './testing/secret-cases.ts';

const CASES = [...LABEL_CASES, ...PLACE_CASES, ...SECRET_CASES];
/** Configurations of the cases. */
const VARIANTS = [...new Set(CASES.map(([, { cluster = P2P }]) => cluster))];
/** Values of namespaces' labels in the cases. */
const LABELS = [...new Set(CASES.map(([, { namespaceLabel = '' }]) => namespaceLabel))];
const SIDES = ['webhook', 'policy'] as const;
type Side = (typeof SIDES)[number];

/** Beginnings of the limits in docs/kubernetes.md, each with the cases that differ by it. Cases of on-demand are known by what the webhook gives. */
const LIMITS: Readonly<Record<string, readonly string[]>> = {
  '`on-demand` alone is ignored': [],
  'Copies are named for all pull secrets': [
    'the copy follows its own secret',
    'two secrets, two copies',
    'another secret has the registry',
    'a secret of another registry: the image may be public',
    'only the secret of the mapped registry',
  ],
  'Secrets are not read': [
    'the secret is missing',
    'the copy does not exist yet',
    'the secret cannot be read',
    'nothing is known of the secret',
    'one image can, the other waits for its secret',
  ],
  '`p2p.withoutSecret`, the share of agents and the breaker': [
    'no secret, by a value',
    'too few agents',
    'the breaker is open',
    'both: no node, and no agents',
  ],
  'Images of Docker Hub without a host': ["Docker Hub's short name through the agent", 'the host in capitals'],
  'Names that no registry takes': ['no valid name', 'no valid digest'],
  'Names of more than 255 characters': [],
};
/** Limits that are not of images, selectors and secrets. */
const OTHER_LIMITS = ['No annotations `accel.dev/…`', '`k8s.aliyun.com/p2p-config` lists all'];

describeWith({ tools: ['helm', 'openssl'] }, 'every case', () => {
  describeWithCluster('by webhook and by policy', {}, () => {
    let cluster: TestCluster;
    let admin: KubeClient;
    let server: AdmissionServer;

    const sideOf = (side: Side, variant: number) => LABELS.map((_, index) => `${side[0]}${variant}-${index}`);
    const namespaceOf = (side: Side, { namespace, cluster: text = P2P, namespaceLabel = '' }: Case) =>
      namespace ?? sideOf(side, VARIANTS.indexOf(text))[LABELS.indexOf(namespaceLabel)]!;

    beforeAll(async () => {
      cluster = await startCluster();
      admin = await cluster.client();
      const all = SIDES.flatMap((side) => VARIANTS.flatMap((_, variant) => sideOf(side, variant)));
      const namespaces = [RELEASE, ...all].map((name) => {
        const label = LABELS[Number(name.split('-')[1])] ?? '';
        return {
          apiVersion: 'v1',
          kind: 'Namespace',
          metadata: { name, labels: label === '' ? {} : { [MODE]: label } },
        };
      });
      const folder = cluster.folder;
      const files = await makeCertificates(folder);
      const [cert, key, ca] = await Promise.all(
        [files.cert, files.key, files.ca].map((path) => readFile(path, 'utf8')),
      );
      const certificates = { current: { cert: cert!, key: key! }, onChange: () => undefined, close: () => undefined };
      server = await serveAdmission({ review: (body) => review(body) }, certificates, { host: '127.0.0.1', port: 0 });
      const url = `https://127.0.0.1:${server.port}${WEBHOOK_PATH}`;
      const made = await Promise.all(
        VARIANTS.flatMap((text, variant) =>
          SIDES.map(async (side) => {
            const { excludedNamespaces = [], ...more } = (parse(`{ ${text} }`) ?? {}) as {
              excludedNamespaces?: string[];
            };
            const own = sideOf(side, variant);
            const others = all.filter((name) => excludedNamespaces.length > 0 || !own.includes(name));
            const config = { ...parse(HEAD), cluster: { ...more, excludedNamespaces: others } };
            const values = { config, fullnameOverride: `${side}-${variant}`, admission: { kind: side } };
            const version = 'admissionregistration.k8s.io/v1/MutatingAdmissionPolicy';
            const manifests = await render(values, ['--api-versions', version]);
            return manifests
              .filter(({ kind }) => /^Mutating/.test(kind))
              .map((manifest) => (side === 'webhook' ? byUrl(manifest, url, ca!) : manifest));
          }),
        ),
      );
      const items = [...namespaces, ...made.flat()];
      await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
      // Each server reads both from a cache.
      for (const side of SIDES) {
        for (const [variant, text] of VARIANTS.entries()) {
          const [name = ''] = sideOf(side, variant);
          if (/excludedNamespaces: \[shop\]|withoutSecret/.test(text)) continue;
          const label = text.includes('example.com/mode') ? 'example.com/mode' : MODE;
          await eventually(async () => {
            const metadata = { name: 'case-1000', namespace: name, labels: { [label]: 'p2p' } };
            const pod = { metadata, spec: { containers: [{ name: 'c', image: `${HUB}/a:1` }] } };
            const stored = (await create(pod as never)) as unknown as Pod;
            return stored.spec.containers?.[0]?.image !== `${HUB}/a:1`;
          }).catch((error: Error) => {
            throw new Error(`${side} of ${text}: ${error.message}`);
          });
        }
      }
    });
    afterAll(async () => {
      await server?.close();
      await cluster?.stop();
    });

    const byUrl = (manifest: Manifest, url: string, ca: string): Manifest => ({
      ...manifest,
      webhooks: manifest.webhooks.map((webhook: object) => ({
        ...webhook,
        clientConfig: { url, caBundle: Buffer.from(ca).toString('base64') },
      })),
    });
    const metrics = new AdmissionMetrics(createMetrics('admission'));
    const probe: Case = { label: 'p2p', images: [`${HUB}/a:1`] };
    /** Decides as the webhook does, with the answers of the case that a pod's name says. */
    function review(body: unknown): Promise<object | undefined> {
      const { object, namespace } = (body as { request: { object: Pod; namespace: string } }).request;
      const given = CASES[Number(object.metadata.name?.slice('case-'.length))]?.[1] ?? {
        ...probe,
        cluster: VARIANTS[Number(/^w(\d+)-/.exec(namespace)?.[1])]!,
      };
      const answers = answersOf(given, requestOf(given));
      return new Admission({
        settings: () => settingsOf(given.cluster),
        images: { find: async ({ text }) => answers.accelerated.get(text) ?? 'timed-out' },
        secrets: { find: async (_, name) => answers.secrets.get(name) ?? 'secret-unknown' },
        namespaceLabels: async () => (given.namespaceLabel === undefined ? {} : { [MODE]: given.namespaceLabel }),
        off: () => answers.off,
        events: { complain: () => undefined },
        ...{ metrics, log: () => undefined, deadline: 1_000 },
      }).review(body);
    }

    const create = (pod: KubeObject) =>
      admin.create(RESOURCES.pods, { ...pod, apiVersion: 'v1', kind: 'Pod' }, { dryRun: true });

    /** The pod that the API makes of a case, or its refusal. */
    async function stored(side: Side, index: number): Promise<Pod | string> {
      const [, given] = CASES[index]!;
      const namespace = namespaceOf(side, given);
      const { pod } = requestOf(given);
      const name = `case-${index}`;
      const { containers = [], ephemeralContainers, ...spec } = pod.spec;
      // The API takes no pod without a container.
      const base = {
        ...spec,
        containers: containers.length > 0 ? containers : [{ name: 'base', image: 'base.example.com/a:1' }],
      };
      const metadata = { ...pod.metadata, name, namespace };
      try {
        if (given.before === undefined) return (await create({ metadata, spec: base } as never)) as unknown as Pod;
        const { labels, ...unlabelled } = metadata;
        await admin.create(RESOURCES.pods, {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: unlabelled,
          spec: base,
        } as KubeObject);
        const debug = async (added: readonly Container[], args: readonly string[]) =>
          JSON.parse(
            await cluster.kubectl([
              ...['patch', 'pod', name, '-n', namespace, '--subresource', 'ephemeralcontainers', '-o', 'json', ...args],
              ...['--patch', JSON.stringify({ spec: { ephemeralContainers: added } })],
            ]),
          ) as Pod;
        if (given.before.length > 0) await debug(ephemeralContainers!.slice(0, given.before.length), []);
        await admin.patch(RESOURCES.pods, { namespace, name }, { kind: 'merge', content: { metadata: { labels } } });
        return await debug(ephemeralContainers ?? [], ['--dry-run=server']);
      } catch (error) {
        if (!isKubeError(error, 'Invalid')) throw error;
        return error.message;
      }
    }

    /** Whether the webhook gave an accelerated image that the case did not name. */
    const isOnDemand = (pod: ReturnType<typeof essence>, index: number) => {
      if (typeof pod === 'string') return false;
      const given = JSON.stringify(requestOf(CASES[index]![1]).pod.spec);
      return [...pod.images, ...pod.volumes].some((image) =>
        /_accelerated(@|$)/.test(image ?? '') ? !given.includes(image!) : image?.endsWith(ACC) === true,
      );
    };

    /** Images, selector and pull secrets. */
    const essence = (pod: Pod | string) => {
      if (typeof pod === 'string') return pod;
      const { initContainers = [], containers = [], ephemeralContainers = [], volumes = [] } = pod.spec;
      return {
        images: [...initContainers, ...containers, ...ephemeralContainers].map(({ image }) => image),
        volumes: volumes.flatMap(({ image }) => (image === undefined ? [] : [image.reference])),
        selector: pod.spec.nodeSelector ?? {},
        secrets: (pod.spec.imagePullSecrets ?? []).map(({ name }) => name),
        mode: pod.metadata.annotations?.[MODE],
      };
    };

    it('has the same images, selectors and secrets, but for the limits', async () => {
      const differing: string[] = [];
      const known = Object.values(LIMITS).flat();
      for (const [index, [name]] of CASES.entries()) {
        const [webhook, policy] = [essence(await stored('webhook', index)), essence(await stored('policy', index))];
        if (known.includes(name) || !isOnDemand(webhook, index)) {
          if (JSON.stringify(webhook) !== JSON.stringify(policy)) differing.push(name);
        } else {
          // By the first limit: the policy leaves such an image, or lets it go through the agent.
          expect(JSON.stringify(policy), name).not.toContain(ACC);
          expect(policy, name).not.toEqual(webhook);
        }
      }
      expect(differing.sort()).toEqual([...known].sort());
    });

    it('has the limits that the page lists', async () => {
      const page = await readFile(join(import.meta.dirname, '../../docs/kubernetes.md'), 'utf8');
      const [, section = ''] = /\n## Without the webhook\n([\s\S]*?)\n## /.exec(page) ?? [];
      const listed = [...section.matchAll(/^- (.*)$/gm)].map(([, text = '']) => text);
      const wanted = [...Object.keys(LIMITS), ...OTHER_LIMITS];
      expect(listed.map((text) => wanted.find((one) => text.startsWith(one)) ?? text)).toEqual(wanted);
    });
  });
});
