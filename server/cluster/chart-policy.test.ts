/** The chart's MutatingAdmissionPolicy on a real API server: what it does to pods. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { VERSION } from '../../base/version.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { CHART, helm, type Manifest, RELEASE, type Values } from './testing/helm.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';

const MODE = 'k8s.aliyun.com/image-accelerate-mode';
const FROM = 'test-registry-vpc.cn-hangzhou.cr.aliyuncs.com/docker-builder/nginx';
const TO = 'test-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001/docker-builder/nginx';
const CONFIG = JSON.stringify({
  hosts: { [FROM.split('/')[0]!]: TO.split('/')[0] },
  port: 65001,
  version: VERSION,
});

const pod = ({ mode, ...spec }: { readonly mode?: string } & Values): Values => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'pod', ...(mode === undefined ? {} : { labels: { [MODE]: mode } }) },
  spec: { containers: [{ name: 'c', image: `${FROM}:latest` }], ...spec },
});

describeWith({ tools: ['helm'] }, "the chart's policy", () => {
  describeWithCluster('on Kubernetes 1.37', {}, () => {
    let cluster: TestCluster;

    beforeAll(async () => {
      cluster = await startCluster();
      const namespaces = [
        ['accel', ''],
        ['other', ''],
        ['by-label', 'p2p'],
        ['lazy', 'on-demand'],
      ].map(([name, mode]) => ({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name, labels: mode === '' ? {} : { [MODE]: mode } },
      }));
      await cluster.kubectl(['apply', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: namespaces }),
      });
      const values = { acrInstances: FROM.split('/')[0], admission: { kind: 'policy' } };
      const access = ['--kubeconfig', cluster.kubeconfig(), '--namespace', RELEASE];
      await helm(['install', RELEASE, CHART, ...access, '--values', '-'], JSON.stringify(values));
      // The server reads policies from a cache.
      await eventually(
        async () => (await admitted('other', pod({ mode: 'p2p' }))).spec.containers[0].image === `${TO}:latest`,
      );
    });
    afterAll(() => cluster?.stop());

    const admitted = async (namespace: string, object: Values): Promise<Manifest> => {
      const args = ['create', '--dry-run=server', '-n', namespace, '-o', 'json', '-f', '-'];
      return JSON.parse(await cluster.kubectl(args, { input: JSON.stringify(object) })) as Manifest;
    };

    it('gives the pod that the documents show', async () => {
      const { metadata, spec } = await admitted(
        'other',
        pod({ mode: 'p2p', imagePullSecrets: [{ name: 'test-registry' }] }),
      );
      expect(metadata.annotations).toEqual({ [MODE]: 'p2p', 'k8s.aliyun.com/p2p-config': CONFIG });
      expect(spec.containers).toMatchObject([{ name: 'c', image: `${TO}:latest` }]);
      expect(spec.imagePullSecrets).toEqual([{ name: 'test-registry' }, { name: 'acr-credential-test-registry-p2p' }]);
    });

    it.each([
      ['the label of the namespace', 'by-label', pod({}), `${TO}:latest`],
      ['off wins over the namespace', 'by-label', pod({ mode: 'off' }), `${FROM}:latest`],
      ['both modes', 'other', pod({ mode: 'on-demand.p2p' }), `${TO}:latest`],
      ['on-demand alone', 'lazy', pod({}), `${FROM}:latest`],
      ['no label', 'other', pod({}), `${FROM}:latest`],
      ['its own namespace', 'accel', pod({ mode: 'p2p' }), `${FROM}:latest`],
      [
        'a digest stays',
        'other',
        pod({ mode: 'p2p', containers: [{ name: 'c', image: `${FROM}@sha256:${'a'.repeat(64)}` }] }),
        `${TO}@sha256:${'a'.repeat(64)}`,
      ],
      [
        'another registry',
        'other',
        pod({ mode: 'p2p', containers: [{ name: 'c', image: 'example.com/x:1' }] }),
        'example.com/x:1',
      ],
      ['no registry', 'other', pod({ mode: 'p2p', containers: [{ name: 'c', image: 'nginx' }] }), 'nginx'],
      ['rewritten before', 'other', pod({ mode: 'p2p', containers: [{ name: 'c', image: `${TO}:1` }] }), `${TO}:1`],
    ] as const)('%s', async (_, namespace, object, image) => {
      const { metadata, spec } = await admitted(namespace, object);
      expect(spec.containers[0].image).toBe(image);
      const given = (object as { spec: Manifest['spec'] }).spec.containers[0].image;
      expect(metadata.annotations ?? {}).toEqual(
        image === given ? {} : { [MODE]: 'p2p', 'k8s.aliyun.com/p2p-config': CONFIG },
      );
    });

    it('init containers, image volumes, and the other containers and secrets as they were', async () => {
      const { spec } = await admitted('other', {
        ...pod({
          mode: 'p2p',
          containers: [
            { name: 'a', image: 'nginx', env: [{ name: 'X', value: 'y' }] },
            { name: 'b', image: `${FROM}:1`, command: ['sleep', '3600'] },
          ],
          initContainers: [{ name: 'i', image: `${FROM}:2` }],
          volumes: [
            { name: 'v', image: { reference: `${FROM}:3` } },
            { name: 'w', emptyDir: {} },
          ],
          imagePullSecrets: [{ name: 'acr-credential-x-p2p' }, { name: 'y' }],
        }),
      });
      expect(spec.containers).toMatchObject([
        { name: 'a', image: 'nginx', env: [{ name: 'X', value: 'y' }] },
        { name: 'b', image: `${TO}:1`, command: ['sleep', '3600'] },
      ]);
      expect(spec.initContainers).toMatchObject([{ name: 'i', image: `${TO}:2` }]);
      expect(spec.volumes).toMatchObject([
        { name: 'v', image: { reference: `${TO}:3` } },
        { name: 'w', emptyDir: {} },
      ]);
      expect(spec.imagePullSecrets.map(({ name }: { name: string }) => name).sort()).toEqual([
        'acr-credential-x-p2p',
        'acr-credential-y-p2p',
        'y',
      ]);
    });

    it('ephemeral containers', async () => {
      await cluster.kubectl(['create', '-n', 'other', '-f', '-'], { input: JSON.stringify(pod({ mode: 'p2p' })) });
      const debug = { spec: { ephemeralContainers: [{ name: 'debug', image: `${FROM}:debug` }] } };
      await cluster.kubectl([
        'patch',
        'pod',
        'pod',
        '-n',
        'other',
        '--subresource',
        'ephemeralcontainers',
        '--patch',
        JSON.stringify(debug),
      ]);
      const { spec } = JSON.parse(
        await cluster.kubectl(['get', 'pod', 'pod', '-n', 'other', '-o', 'json']),
      ) as Manifest;
      expect(spec.ephemeralContainers).toMatchObject([{ name: 'debug', image: `${TO}:debug` }]);
    });
  });
});
