import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coversImage } from '../config/image-match.ts';
import { parseConfig } from '../config/load.ts';
import { NOT_REWRITTEN, REWRITTEN } from './rewrite/notes.ts';
import type { Pod } from './rewrite/pod.ts';
import { copyName } from './rewrite/pull-secrets.ts';
import { rewriteSettings } from './rewrite/rewrite-settings.ts';
import {
  type Answers,
  questionsOf,
  type Reason,
  type RewriteRequest,
  rewritePod,
  type SecretAnswer,
} from './rewrite.ts';
import { applyPatch } from './testing/json-patch.ts';

const MODE = 'k8s.aliyun.com/image-accelerate-mode';
const NODE = 'alibabacloud.com/image-accelerate-enabled';
const VPC = 'shop-vpc.cn-x.cr.example.com';
const VPC_P2P = 'shop-vpc.distributed.cn-x.cr.example.com:65001';
const HUB = 'registry.example.com';
const HUB_P2P = 'registry.distributed.example.com:65001';
const D = `sha256:${'d'.repeat(64)}`;
const ACC = `sha256:${'a'.repeat(64)}`;

const HEAD = `registries: [{host: ${VPC}}, {host: ${HUB}}, {host: "10.0.0.1:5000"}, {host: docker.io}, {host: named.example.com}]\n`;
const P2P = 'p2p: { hosts: { named.example.com: agents.local:7000 } }';
const settingsOf = (cluster = P2P) =>
  rewriteSettings(parseConfig(`${HEAD}cluster: { ${cluster} }\n`, 'c.yaml'), 'accel');
const settings = settingsOf();

/** A pod; `images` are its containers. */
interface Case {
  readonly label?: string | undefined;
  readonly namespaceLabel?: string | undefined;
  readonly namespace?: string;
  readonly images: readonly string[];
  readonly spec?: Record<string, unknown>;
  readonly metadata?: Record<string, unknown>;
  readonly before?: readonly string[];
  /** Answers beside the usual ones: accelerated by image, secrets by name. */
  readonly accelerated?: Record<string, Reason | { tag?: string; digest: string }>;
  readonly secrets?: Record<string, SecretAnswer>;
  readonly off?: Answers['off'];
  readonly cluster?: string;
}

/** The expected pod: images in order, reasons in order of the images that stay, selector and secrets. */
interface Expected {
  readonly images?: readonly string[];
  readonly reasons?: readonly string[];
  readonly selector?: Record<string, string> | 'none';
  readonly secrets?: readonly string[];
}

const container = (image: string, index: number) => ({ name: `c${index}`, image });

function requestOf({
  label,
  namespaceLabel,
  namespace = 'shop',
  images,
  spec,
  metadata,
  before,
}: Case): RewriteRequest {
  const pod = {
    metadata: { name: 'pod', ...(label === undefined ? {} : { labels: { [MODE]: label } }), ...metadata },
    spec: { containers: images.map(container), ...spec },
  } as Pod;
  const old = before && { ...pod, spec: { ...pod.spec, ephemeralContainers: before.map(container) } };
  return {
    pod,
    namespace,
    namespaceLabels: namespaceLabel === undefined ? {} : { [MODE]: namespaceLabel },
    ...(old === undefined ? {} : { before: old as Pod }),
  };
}

function answersOf({ accelerated = {}, secrets = {}, off = {} }: Case, request: RewriteRequest): Answers {
  // Whatever is asked for has a counterpart, unless the case says otherwise.
  const usual = questionsOf(request, settings).images.map(({ text, tag, digest }) => {
    const base = tag ?? (digest === undefined ? 'latest' : undefined);
    return [text, { ...(base === undefined ? {} : { tag: `${base}_accelerated` }), digest: ACC }] as const;
  });
  return {
    accelerated: new Map([...usual, ...Object.entries(accelerated)]),
    secrets: new Map(Object.entries(secrets)),
    off,
  };
}

function judge(given: Case) {
  const own = given.cluster === undefined ? settings : settingsOf(given.cluster);
  const request = requestOf(given);
  const { patch, kept, rewritten } = rewritePod(request, answersOf(given, request), own);
  const pod = applyPatch(request.pod, patch);
  const { spec } = pod;
  const places =
    given.before === undefined
      ? [
          ...(spec.initContainers ?? []).map(({ image }) => image),
          ...(spec.containers ?? []).map(({ image }) => image),
          ...(spec.volumes ?? []).flatMap(({ image }) => (image === undefined ? [] : [image.reference])),
        ]
      : (spec.ephemeralContainers ?? []).map(({ image }) => image);
  return {
    pod,
    patch,
    rewritten,
    images: places,
    reasons: kept.map(({ reason }) => reason),
    selector: spec.nodeSelector ?? 'none',
    secrets: (spec.imagePullSecrets ?? []).map(({ name }) => name),
  };
}

const KEEP = (reason: string): Expected => ({ reasons: [reason], selector: 'none', secrets: [] });
const SECRET: SecretAnswer = { registries: [VPC], hasCopy: true };
const pull = (...names: string[]) => ({ imagePullSecrets: names.map((name) => ({ name })) });
const terms = (...nodeSelectorTerms: unknown[]) => ({
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } },
});
const on = (key: string, operator: string, values?: string[]) => ({ matchExpressions: [{ key, operator, values }] });
const owner = (kind: string, controller = true) => ({
  ownerReferences: [{ apiVersion: 'apps/v1', kind, name: 'o', uid: 'u', controller }],
});
const selected = { [NODE]: 'true' };
const app = `${HUB}/team/app`;
const vpcApp = `${VPC}/team/app`;

const CASES: readonly (readonly [name: string, given: Case, expected: Expected])[] = [
  // labels
  ['no label: the pod stays', { images: [`${app}:1`] }, { images: [`${app}:1`], reasons: [] }],
  [
    'on-demand by the pod',
    { label: 'on-demand', images: [`${app}:1`] },
    { images: [`${app}:1_accelerated`], selector: selected },
  ],
  [
    'on-demand by the namespace',
    { namespaceLabel: 'on-demand', images: [`${app}:1`] },
    { images: [`${app}:1_accelerated`], selector: selected },
  ],
  [
    'on-demand by both',
    { label: 'on-demand', namespaceLabel: 'on-demand', images: [`${app}:1`] },
    { images: [`${app}:1_accelerated`] },
  ],
  ['p2p by the pod', { label: 'p2p', images: [`${app}:1`] }, { images: [`${HUB_P2P}/team/app:1`], selector: 'none' }],
  ['p2p by the namespace', { namespaceLabel: 'p2p', images: [`${app}:1`] }, { images: [`${HUB_P2P}/team/app:1`] }],
  [
    "the pod's p2p wins over its namespace",
    { label: 'p2p', namespaceLabel: 'on-demand', images: [`${app}:1`] },
    { images: [`${HUB_P2P}/team/app:1`], selector: 'none' },
  ],
  [
    "the pod's on-demand wins over its namespace",
    { label: 'on-demand', namespaceLabel: 'p2p', images: [`${app}:1`] },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'off takes the pod out of an on-demand namespace',
    { label: 'off', namespaceLabel: 'on-demand', images: [`${app}:1`] },
    { images: [`${app}:1`], reasons: [] },
  ],
  [
    'off takes the pod out of a p2p namespace',
    { label: 'off', namespaceLabel: 'p2p', images: [`${app}:1`] },
    { images: [`${app}:1`], reasons: [] },
  ],
  ['a namespace that is off', { namespaceLabel: 'off', images: [`${app}:1`] }, { images: [`${app}:1`], reasons: [] }],
  [
    'the pod asks in a namespace that is off',
    { label: 'p2p', namespaceLabel: 'off', images: [`${app}:1`] },
    { images: [`${HUB_P2P}/team/app:1`] },
  ],
  ['an unknown value', { label: 'fast', images: [`${app}:1`] }, KEEP('unknown-mode')],
  ['an empty value', { label: '', images: [`${app}:1`] }, KEEP('unknown-mode')],
  ['half an unknown value', { label: 'p2p.fast', images: [`${app}:1`] }, KEEP('unknown-mode')],
  ['a value in capitals', { label: 'P2P', images: [`${app}:1`] }, KEEP('unknown-mode')],
  [
    'another label',
    { cluster: 'labels: { mode: example.com/mode }', label: 'p2p', images: [`${app}:1`] },
    { images: [`${app}:1`], reasons: [] },
  ],
  // both modes
  [
    'both: the accelerated image keeps its host',
    { label: 'on-demand.p2p', images: [`${app}:1`] },
    { images: [`${app}:1_accelerated`], selector: selected },
  ],
  [
    'both: an image without one goes through the agent',
    { label: 'on-demand.p2p', images: [`${app}:1`], accelerated: { [`${app}:1`]: 'no-accelerated-image' } },
    { images: [`${HUB_P2P}/team/app:1`], selector: 'none' },
  ],
  [
    'both: each image for itself',
    {
      label: 'on-demand.p2p',
      images: [`${app}:1`, `${app}:2`],
      accelerated: { [`${app}:2`]: 'outdated-accelerated-image' },
    },
    { images: [`${app}:1_accelerated`, `${HUB_P2P}/team/app:2`], selector: selected },
  ],
  [
    'both: the order of the words does not count',
    { label: 'p2p.on-demand', images: [`${app}:1`] },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'both: neither is possible',
    {
      label: 'on-demand.p2p',
      images: ['10.0.0.1:5000/a:1'],
      accelerated: { '10.0.0.1:5000/a:1': 'no-accelerated-image' },
    },
    KEEP('no-accelerated-image, no-p2p-name'),
  ],
  [
    'both: a pod of a DaemonSet goes through the agent',
    { label: 'on-demand.p2p', images: [`${app}:1`], metadata: owner('DaemonSet') },
    { images: [`${HUB_P2P}/team/app:1`], selector: 'none' },
  ],
  // where pods stay
  [
    'kube-system stays',
    { label: 'p2p', namespace: 'kube-system', images: [`${app}:1`] },
    { images: [`${app}:1`], reasons: [] },
  ],
  [
    "the release's namespace stays",
    { label: 'p2p', namespace: 'accel', images: [`${app}:1`] },
    { images: [`${app}:1`], reasons: [] },
  ],
  [
    'a namespace that the configuration leaves out',
    { cluster: 'excludedNamespaces: [shop]', label: 'p2p', images: [`${app}:1`] },
    { images: [`${app}:1`], reasons: [] },
  ],
  [
    'kube-system stays, whatever the configuration leaves out',
    { cluster: 'excludedNamespaces: []', label: 'p2p', namespace: 'kube-system', images: [`${app}:1`] },
    { images: [`${app}:1`], reasons: [] },
  ],
  [
    'a mirror pod stays',
    { label: 'p2p', images: [`${app}:1`], metadata: { annotations: { 'kubernetes.io/config.mirror': 'x' } } },
    { images: [`${app}:1`], reasons: [] },
  ],
  // names of images
  ['no tag is latest', { label: 'on-demand', images: [app] }, { images: [`${app}:latest_accelerated`] }],
  ['p2p without a tag', { label: 'p2p', images: [app] }, { images: [`${HUB_P2P}/team/app`] }],
  ['a repository of many parts', { label: 'p2p', images: [`${HUB}/a/b/c/d:1`] }, { images: [`${HUB_P2P}/a/b/c/d:1`] }],
  ['-vpc stays by default', { label: 'p2p', images: [`${vpcApp}:1`] }, { images: [`${VPC_P2P}/team/app:1`] }],
  [
    '-vpc goes by a value',
    { cluster: 'p2p: { hostForm: drop-vpc }', label: 'p2p', images: [`${vpcApp}:1`] },
    { images: ['shop.distributed.cn-x.cr.example.com:65001/team/app:1'] },
  ],
  [
    'another port',
    { cluster: 'p2p: { port: 7001 }', label: 'p2p', images: [`${app}:1`] },
    { images: ['registry.distributed.example.com:7001/team/app:1'] },
  ],
  ['a name by the table', { label: 'p2p', images: ['named.example.com/a:1'] }, { images: ['agents.local:7000/a:1'] }],
  ['a registry with a port has no name', { label: 'p2p', images: ['10.0.0.1:5000/a:1'] }, KEEP('no-p2p-name')],
  [
    'a registry with a port by the table',
    { cluster: 'p2p: { hosts: { "10.0.0.1:5000": "10.0.0.1:65001" } }', label: 'p2p', images: ['10.0.0.1:5000/a:1'] },
    { images: ['10.0.0.1:65001/a:1'] },
  ],
  [
    'on-demand at a registry with a port',
    { label: 'on-demand', images: ['10.0.0.1:5000/a:1'] },
    { images: ['10.0.0.1:5000/a:1_accelerated'] },
  ],
  ["Docker Hub's short name", { label: 'on-demand', images: ['nginx:1'] }, { images: ['nginx:1_accelerated'] }],
  [
    "Docker Hub's short name without a tag",
    { label: 'on-demand', images: ['nginx'] },
    { images: ['nginx:latest_accelerated'] },
  ],
  [
    "Docker Hub's long name",
    { label: 'on-demand', images: ['docker.io/library/nginx:1'] },
    { images: ['docker.io/library/nginx:1_accelerated'] },
  ],
  [
    "Docker Hub's short name through the agent",
    { label: 'p2p', images: ['nginx:1'] },
    { images: ['docker.distributed.io:65001/library/nginx:1'] },
  ],
  ['another registry stays', { label: 'p2p', images: ['quay.io/a/b:1'] }, KEEP('other-registry')],
  ['another registry stays on-demand', { label: 'on-demand', images: ['quay.io/a/b:1'] }, KEEP('other-registry')],
  [
    'a registry that only begins alike stays',
    { label: 'p2p', images: [`${HUB}.evil.com/a:1`] },
    KEEP('other-registry'),
  ],
  ['another port is another registry', { label: 'p2p', images: [`${HUB}:5000/a:1`] }, KEEP('other-registry')],
  ['the host in capitals', { label: 'p2p', images: [`${HUB.toUpperCase()}/a:1`] }, { images: [`${HUB_P2P}/a:1`] }],
  ['no name', { label: 'p2p', images: [''] }, KEEP('not-an-image')],
  ['no valid name', { label: 'p2p', images: [`${HUB}/UPPER:1`] }, KEEP('not-an-image')],
  ['a scheme', { label: 'p2p', images: [`docker://${app}:1`] }, KEEP('not-an-image')],
  ['no valid tag', { label: 'on-demand', images: [`${app}:-x`] }, KEEP('not-an-image')],
  ['a folder', { label: 'p2p', images: ['oci:/etc'] }, KEEP('not-an-image')],
  // digests
  ['p2p keeps the digest', { label: 'p2p', images: [`${app}@${D}`] }, { images: [`${HUB_P2P}/team/app@${D}`] }],
  ['p2p keeps tag and digest', { label: 'p2p', images: [`${app}:1@${D}`] }, { images: [`${HUB_P2P}/team/app:1@${D}`] }],
  [
    'on-demand by digest becomes a digest',
    { label: 'on-demand', images: [`${app}@${D}`] },
    { images: [`${app}@${ACC}`] },
  ],
  [
    'on-demand by tag and digest',
    { label: 'on-demand', images: [`${app}:1@${D}`] },
    { images: [`${app}:1_accelerated@${ACC}`] },
  ],
  [
    'a digest by a tag that the pod does not name',
    {
      label: 'on-demand',
      images: [`${app}@${D}`],
      accelerated: { [`${app}@${D}`]: { tag: '9_accelerated', digest: ACC } },
    },
    { images: [`${app}@${ACC}`] },
  ],
  [
    'a digest without a conversion',
    { label: 'on-demand', images: [`${app}@${D}`], accelerated: { [`${app}@${D}`]: 'no-accelerated-image' } },
    KEEP('no-accelerated-image'),
  ],
  ['no valid digest', { label: 'p2p', images: [`${app}@sha256:12`] }, KEEP('not-an-image')],
  // what registries hold
  [
    'no accelerated image',
    { label: 'on-demand', images: [`${app}:1`], accelerated: { [`${app}:1`]: 'no-accelerated-image' } },
    KEEP('no-accelerated-image'),
  ],
  [
    'an outdated accelerated image',
    { label: 'on-demand', images: [`${app}:1`], accelerated: { [`${app}:1`]: 'outdated-accelerated-image' } },
    KEEP('outdated-accelerated-image'),
  ],
  [
    'the image does not exist',
    { label: 'on-demand', images: [`${app}:1`], accelerated: { [`${app}:1`]: 'missing-image' } },
    KEEP('missing-image'),
  ],
  [
    'the registry does not answer',
    { label: 'on-demand', images: [`${app}:1`], accelerated: { [`${app}:1`]: 'registry-unreachable' } },
    KEEP('registry-unreachable'),
  ],
  [
    'the registry refuses',
    { label: 'on-demand', images: [`${app}:1`], accelerated: { [`${app}:1`]: 'registry-denied' } },
    KEEP('registry-denied'),
  ],
  [
    'the registry is slow',
    { label: 'on-demand', images: [`${app}:1`], accelerated: { [`${app}:1`]: 'timed-out' } },
    KEEP('timed-out'),
  ],
  [
    'the preferred tag',
    {
      label: 'on-demand',
      images: [`${app}:1`],
      accelerated: { [`${app}:1`]: { tag: '1_containerd_accelerated', digest: ACC } },
    },
    { images: [`${app}:1_containerd_accelerated`] },
  ],
  // already
  [
    'an accelerated tag stays on-demand',
    { label: 'on-demand', images: [`${app}:1_accelerated`] },
    KEEP('already-accelerated'),
  ],
  [
    'an accelerated tag stays with p2p',
    { label: 'p2p', images: [`${app}:1_containerd_accelerated`] },
    KEEP('already-accelerated'),
  ],
  ['a name of the agents stays', { label: 'p2p', images: [`${HUB_P2P}/team/app:1`] }, KEEP('already-mapped')],
  [
    'the other form of a name stays',
    { label: 'p2p', images: ['shop.distributed.cn-x.cr.example.com:65001/a:1'] },
    KEEP('already-mapped'),
  ],
  ['a name of the table stays', { label: 'p2p', images: ['agents.local:7000/a:1'] }, KEEP('already-mapped')],
  [
    'rewritten before: nothing more',
    {
      label: 'on-demand',
      images: [`${app}:1_accelerated`],
      metadata: { annotations: { [REWRITTEN]: JSON.stringify({ [`${app}:1`]: `${app}:1_accelerated` }) } },
    },
    { images: [`${app}:1_accelerated`], reasons: [] },
  ],
  [
    'rewritten before, a container is new',
    {
      label: 'on-demand',
      images: [`${app}:1_accelerated`, `${app}:2`],
      metadata: { annotations: { [REWRITTEN]: JSON.stringify({ [`${app}:1`]: `${app}:1_accelerated` }) } },
    },
    { images: [`${app}:1_accelerated`, `${app}:2_accelerated`], reasons: [] },
  ],
  [
    'an annotation that is no JSON',
    { label: 'on-demand', images: [`${app}:1`], metadata: { annotations: { [REWRITTEN]: '{' } } },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'an annotation of another shape',
    { label: 'on-demand', images: [`${app}:1`], metadata: { annotations: { [REWRITTEN]: '[1]' } } },
    { images: [`${app}:1_accelerated`] },
  ],
  // kinds of images
  [
    'init containers',
    { label: 'on-demand', images: [`${app}:1`], spec: { initContainers: [{ name: 'i', image: `${app}:0` }] } },
    { images: [`${app}:0_accelerated`, `${app}:1_accelerated`] },
  ],
  [
    'init containers through the agent',
    { label: 'p2p', images: [`${app}:1`], spec: { initContainers: [{ name: 'i', image: `${app}:0` }] } },
    { images: [`${HUB_P2P}/team/app:0`, `${HUB_P2P}/team/app:1`] },
  ],
  [
    'an image volume',
    {
      label: 'on-demand',
      images: [`${app}:1`],
      spec: { volumes: [{ name: 'v', image: { reference: `${app}:data` } }] },
    },
    { images: [`${app}:1_accelerated`, `${app}:data_accelerated`] },
  ],
  [
    'an image volume through the agent',
    {
      label: 'p2p',
      images: [`${app}:1`],
      spec: {
        volumes: [
          { name: 'e', emptyDir: {} },
          { name: 'v', image: { reference: `${app}:data` } },
        ],
      },
    },
    { images: [`${HUB_P2P}/team/app:1`, `${HUB_P2P}/team/app:data`] },
  ],
  [
    'an image volume without a reference',
    { label: 'p2p', images: [`${app}:1`], spec: { volumes: [{ name: 'v', image: {} }] } },
    { images: [`${HUB_P2P}/team/app:1`, undefined as unknown as string] },
  ],
  [
    'a container without an image',
    { label: 'p2p', images: [`${app}:1`], spec: { containers: [{ name: 'a' }, { name: 'b', image: `${app}:1` }] } },
    { images: [undefined as unknown as string, `${HUB_P2P}/team/app:1`] },
  ],
  [
    'the same image twice',
    { label: 'on-demand', images: [`${app}:1`, `${app}:1`] },
    { images: [`${app}:1_accelerated`, `${app}:1_accelerated`] },
  ],
  [
    'several registries',
    { label: 'p2p', images: [`${app}:1`, `${vpcApp}:1`, 'quay.io/x:1'] },
    { images: [`${HUB_P2P}/team/app:1`, `${VPC_P2P}/team/app:1`, 'quay.io/x:1'], reasons: ['other-registry'] },
  ],
  [
    'several registries on-demand',
    { label: 'on-demand', images: [`${app}:1`, `${vpcApp}:1`], accelerated: { [`${vpcApp}:1`]: 'timed-out' } },
    { images: [`${app}:1_accelerated`, `${vpcApp}:1`], reasons: ['timed-out'], selector: selected },
  ],
  [
    'an image that is never pulled stays',
    { label: 'p2p', images: [], spec: { containers: [{ name: 'a', image: `${app}:1`, imagePullPolicy: 'Never' }] } },
    { images: [`${app}:1`], reasons: ['never-pulled'] },
  ],
  [
    'an image that is pulled in one of two containers',
    {
      label: 'on-demand',
      images: [],
      spec: {
        containers: [
          { name: 'a', image: `${app}:1`, imagePullPolicy: 'Never' },
          { name: 'b', image: `${app}:1`, imagePullPolicy: 'Always' },
        ],
      },
    },
    { images: [`${app}:1`, `${app}:1_accelerated`], reasons: ['never-pulled'], selector: selected },
  ],
  [
    'an image volume that is never pulled stays',
    {
      label: 'p2p',
      images: [`${app}:1`],
      spec: { volumes: [{ name: 'v', image: { reference: `${app}:data`, pullPolicy: 'Never' } }] },
    },
    { images: [`${HUB_P2P}/team/app:1`, `${app}:data`], reasons: ['never-pulled'] },
  ],
  // selectors and affinity
  [
    'the selector joins others',
    { label: 'on-demand', images: [`${app}:1`], spec: { nodeSelector: { zone: 'a' } } },
    { images: [`${app}:1_accelerated`], selector: { zone: 'a', ...selected } },
  ],
  [
    'the selector is there',
    { label: 'on-demand', images: [`${app}:1`], spec: { nodeSelector: selected } },
    { images: [`${app}:1_accelerated`], selector: selected },
  ],
  [
    'the selector forbids it',
    { label: 'on-demand', images: [`${app}:1`], spec: { nodeSelector: { [NODE]: 'false' } } },
    { images: [`${app}:1`], reasons: ['selector-conflict'], selector: { [NODE]: 'false' } },
  ],
  [
    'the pod names a node',
    { label: 'on-demand', images: [`${app}:1`], spec: { nodeName: 'n1' } },
    KEEP('names-a-node'),
  ],
  [
    'an empty name of a node',
    { label: 'on-demand', images: [`${app}:1`], spec: { nodeName: '' } },
    { images: [`${app}:1_accelerated`] },
  ],
  ['a DaemonSet', { label: 'on-demand', images: [`${app}:1`], metadata: owner('DaemonSet') }, KEEP('daemonset')],
  [
    'a DaemonSet that does not control it',
    { label: 'on-demand', images: [`${app}:1`], metadata: owner('DaemonSet', false) },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'a ReplicaSet',
    { label: 'on-demand', images: [`${app}:1`], metadata: owner('ReplicaSet') },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'a DaemonSet through the agent',
    { label: 'p2p', images: [`${app}:1`], metadata: owner('DaemonSet') },
    { images: [`${HUB_P2P}/team/app:1`] },
  ],
  [
    'a node by a field',
    {
      label: 'on-demand',
      images: [`${app}:1`],
      spec: terms({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n'] }] }),
    },
    KEEP('names-a-node'),
  ],
  [
    'affinity to other values',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'In', ['false'])) },
    KEEP('affinity-conflict'),
  ],
  [
    'affinity against the value',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'NotIn', ['true'])) },
    KEEP('affinity-conflict'),
  ],
  [
    'affinity against the label',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'DoesNotExist')) },
    KEEP('affinity-conflict'),
  ],
  [
    'affinity by a number',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'Gt', ['1'])) },
    KEEP('affinity-conflict'),
  ],
  [
    'affinity to the value',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'In', ['true', 'x'])) },
    { images: [`${app}:1_accelerated`], selector: selected },
  ],
  [
    'affinity to the label',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'Exists')) },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'affinity against another value',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'NotIn', ['false'])) },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'affinity by another label',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on('zone', 'In', ['a'])) },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'one of two terms admits it',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'DoesNotExist'), on('zone', 'Exists')) },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'both terms exclude it',
    { label: 'on-demand', images: [`${app}:1`], spec: terms(on(NODE, 'DoesNotExist'), on(NODE, 'In', ['no'])) },
    KEEP('affinity-conflict'),
  ],
  [
    'affinity does not matter through the agent',
    { label: 'p2p', images: [`${app}:1`], spec: terms(on(NODE, 'DoesNotExist')) },
    { images: [`${HUB_P2P}/team/app:1`] },
  ],
  [
    'Windows cannot',
    { label: 'on-demand', images: [`${app}:1`], spec: { os: { name: 'windows' } } },
    KEEP('not-linux'),
  ],
  [
    'Linux by name',
    { label: 'on-demand', images: [`${app}:1`], spec: { os: { name: 'linux' } } },
    { images: [`${app}:1_accelerated`] },
  ],
  [
    'another label of nodes',
    { cluster: 'labels: { node: example.com/lazy }', label: 'on-demand', images: [`${app}:1`] },
    { images: [`${app}:1_accelerated`], selector: { 'example.com/lazy': 'true' } },
  ],
  [
    'no image changes: no selector',
    { label: 'on-demand', images: ['quay.io/x:1'], spec: { nodeSelector: { zone: 'a' } } },
    { selector: { zone: 'a' } },
  ],
  // secrets
  [
    'the copy follows the secret',
    { label: 'p2p', images: [`${vpcApp}:1`], spec: pull('shop'), secrets: { shop: SECRET } },
    { images: [`${VPC_P2P}/team/app:1`], secrets: ['shop', 'acr-credential-shop-p2p'] },
  ],
  [
    'the copy follows its own secret',
    {
      label: 'p2p',
      images: [`${vpcApp}:1`],
      spec: pull('other', 'shop', 'last'),
      secrets: {
        other: { registries: ['quay.io'], hasCopy: false },
        shop: SECRET,
        last: { registries: ['x.example.com'], hasCopy: false },
      },
    },
    { secrets: ['other', 'shop', 'acr-credential-shop-p2p', 'last'] },
  ],
  [
    'two secrets, two copies',
    { label: 'p2p', images: [`${vpcApp}:1`], spec: pull('a', 'b'), secrets: { a: SECRET, b: SECRET } },
    { secrets: ['a', 'acr-credential-a-p2p', 'b', 'acr-credential-b-p2p'] },
  ],
  [
    'the copy is there',
    { label: 'p2p', images: [`${vpcApp}:1`], spec: pull('shop', 'acr-credential-shop-p2p'), secrets: { shop: SECRET } },
    { images: [`${VPC_P2P}/team/app:1`], secrets: ['shop', 'acr-credential-shop-p2p'] },
  ],
  [
    'a copy is not copied',
    { label: 'p2p', images: [`${vpcApp}:1`], spec: pull('acr-credential-x-p2p') },
    { images: [`${VPC_P2P}/team/app:1`], secrets: ['acr-credential-x-p2p'] },
  ],
  [
    'the secret is missing',
    { label: 'p2p', images: [`${vpcApp}:1`], spec: pull('shop'), secrets: { shop: 'secret-missing' } },
    { images: [`${vpcApp}:1`], reasons: ['secret-missing'], secrets: ['shop'] },
  ],
  [
    'another secret has the registry',
    {
      label: 'p2p',
      images: [`${vpcApp}:1`],
      spec: pull('gone', 'shop'),
      secrets: { gone: 'secret-missing', shop: SECRET },
    },
    { images: [`${VPC_P2P}/team/app:1`], secrets: ['gone', 'shop', 'acr-credential-shop-p2p'] },
  ],
  [
    'the copy does not exist yet',
    {
      label: 'p2p',
      images: [`${vpcApp}:1`],
      spec: pull('shop'),
      secrets: { shop: { registries: [VPC], hasCopy: false } },
    },
    { images: [`${vpcApp}:1`], reasons: ['secret-copy-missing'], secrets: ['shop'] },
  ],
  [
    'the secret cannot be read',
    { label: 'p2p', images: [`${vpcApp}:1`], spec: pull('shop'), secrets: { shop: 'secret-unknown' } },
    { images: [`${vpcApp}:1`], reasons: ['secret-unknown'], secrets: ['shop'] },
  ],
  [
    'nothing is known of the secret',
    { label: 'p2p', images: [`${vpcApp}:1`], spec: pull('shop') },
    { images: [`${vpcApp}:1`], reasons: ['secret-unknown'], secrets: ['shop'] },
  ],
  [
    'a secret of another registry: the image may be public',
    {
      label: 'p2p',
      images: [`${vpcApp}:1`],
      spec: pull('other'),
      secrets: { other: { registries: ['quay.io'], hasCopy: false } },
    },
    { images: [`${VPC_P2P}/team/app:1`], secrets: ['other'] },
  ],
  [
    'no secret, by a value',
    { cluster: 'p2p: { withoutSecret: keep }', label: 'p2p', images: [`${vpcApp}:1`] },
    KEEP('no-secret'),
  ],
  [
    'a secret without a name',
    { label: 'p2p', images: [`${vpcApp}:1`], spec: { imagePullSecrets: [{}] } },
    { images: [`${VPC_P2P}/team/app:1`] },
  ],
  [
    'secrets do not matter on-demand',
    { label: 'on-demand', images: [`${vpcApp}:1`], spec: pull('shop'), secrets: { shop: 'secret-missing' } },
    { images: [`${vpcApp}:1_accelerated`], secrets: ['shop'] },
  ],
  [
    'only the secret of the mapped registry',
    {
      label: 'p2p',
      images: [`${vpcApp}:1`, 'quay.io/x:1'],
      spec: pull('shop', 'quay'),
      secrets: { shop: SECRET, quay: { registries: ['quay.io'], hasCopy: false } },
    },
    { secrets: ['shop', 'acr-credential-shop-p2p', 'quay'], reasons: ['other-registry'] },
  ],
  [
    'one image can, the other waits for its secret',
    {
      label: 'p2p',
      images: [`${app}:1`, `${vpcApp}:1`],
      spec: pull('shop'),
      secrets: { shop: { registries: [VPC], hasCopy: false } },
    },
    { images: [`${HUB_P2P}/team/app:1`, `${vpcApp}:1`], reasons: ['secret-copy-missing'], secrets: ['shop'] },
  ],
  // gates
  [
    'too few agents',
    { label: 'p2p', images: [`${app}:1`], off: { p2p: 'agents-not-ready' } },
    KEEP('agents-not-ready'),
  ],
  ['the breaker is open', { label: 'p2p', images: [`${app}:1`], off: { p2p: 'circuit-open' } }, KEEP('circuit-open')],
  [
    'the breaker of the other mode',
    { label: 'p2p', images: [`${app}:1`], off: { onDemand: 'circuit-open' } },
    { images: [`${HUB_P2P}/team/app:1`] },
  ],
  [
    'on-demand is off',
    { label: 'on-demand', images: [`${app}:1`], off: { onDemand: 'circuit-open' } },
    KEEP('circuit-open'),
  ],
  [
    'on-demand while no node could take the pod',
    { label: 'on-demand', images: [`${app}:1`], off: { onDemand: 'no-labelled-node' } },
    KEEP('no-labelled-node'),
  ],
  [
    'p2p while no node could take an on-demand pod',
    { label: 'p2p', images: [`${app}:1`], off: { onDemand: 'no-labelled-node' } },
    { images: [`${HUB_P2P}/team/app:1`] },
  ],
  [
    'both: no node could take the accelerated image, so the agent is asked',
    { label: 'on-demand.p2p', images: [`${app}:1`], off: { onDemand: 'no-labelled-node' } },
    { images: [`${HUB_P2P}/team/app:1`], selector: 'none' },
  ],
  [
    'both: no node, and no agents',
    {
      label: 'on-demand.p2p',
      images: [`${app}:1`],
      off: { onDemand: 'no-labelled-node', p2p: 'agents-not-ready' },
    },
    KEEP('no-labelled-node, agents-not-ready'),
  ],
  [
    'an ephemeral container of a pod that runs, while no node has the label any more',
    {
      label: 'on-demand',
      images: [`${app}:1`],
      spec: { nodeSelector: selected, ephemeralContainers: [{ name: 'e', image: `${app}:2` }] },
      before: [],
      off: { onDemand: 'no-labelled-node' },
    },
    { images: [`${app}:2`], reasons: ['no-labelled-node'], selector: selected },
  ],
  [
    'both: on-demand is off',
    { label: 'on-demand.p2p', images: [`${app}:1`], off: { onDemand: 'circuit-open' } },
    { images: [`${HUB_P2P}/team/app:1`], selector: 'none' },
  ],
  // ephemeral containers
  [
    'an ephemeral container through the agent',
    { label: 'p2p', images: [], before: [], spec: { ephemeralContainers: [container(`${app}:1`, 0)] } },
    { images: [`${HUB_P2P}/team/app:1`] },
  ],
  [
    'those that were there stay',
    {
      label: 'p2p',
      images: [],
      before: [`${app}:1`],
      spec: { ephemeralContainers: [container(`${app}:1`, 0), container(`${app}:2`, 1)] },
    },
    { images: [`${app}:1`, `${HUB_P2P}/team/app:2`] },
  ],
  [
    'on-demand needs the selector',
    { label: 'on-demand', images: [], before: [], spec: { ephemeralContainers: [container(`${app}:1`, 0)] } },
    { images: [`${app}:1`], reasons: ['pod-exists'], selector: 'none' },
  ],
  [
    'on-demand where the pod has the selector',
    {
      label: 'on-demand',
      images: [],
      before: [],
      spec: { nodeSelector: selected, nodeName: 'n', ephemeralContainers: [container(`${app}:1`, 0)] },
    },
    { images: [`${app}:1_accelerated`], selector: selected },
  ],
  [
    'a copy of the secret cannot join',
    {
      label: 'p2p',
      images: [],
      before: [],
      spec: { ...pull('shop'), ephemeralContainers: [container(`${vpcApp}:1`, 0)] },
      secrets: { shop: SECRET },
    },
    { images: [`${vpcApp}:1`], reasons: ['pod-exists'], secrets: ['shop'] },
  ],
  [
    'the pod has the copy',
    {
      label: 'p2p',
      images: [],
      before: [],
      spec: { ...pull('shop', 'acr-credential-shop-p2p'), ephemeralContainers: [container(`${vpcApp}:1`, 0)] },
      secrets: { shop: SECRET },
    },
    { images: [`${VPC_P2P}/team/app:1`] },
  ],
];

describe('a pod and what is known give images, selector and secrets', () => {
  it('has a hundred cases or more, each with a name of its own', () => {
    expect(CASES.length).toBeGreaterThanOrEqual(100);
    expect(new Set(CASES.map(([name]) => name)).size).toBe(CASES.length);
  });

  it.each(CASES)('%s', (_, given, expected) => {
    const result = judge(given);
    expect(result).toMatchObject(expected);
    if (expected.images !== undefined && expected.reasons === undefined) expect(result.reasons).toEqual([]);
    if (expected.reasons !== undefined && expected.images === undefined && expected.secrets === undefined) {
      expect(result.images).toEqual(given.images);
    }
  });

  it.each(CASES)('%s: applied twice it changes nothing', (_, given) => {
    const request = requestOf(given);
    if (request.before !== undefined) return;
    const answers = answersOf(given, request);
    const own = given.cluster === undefined ? settings : settingsOf(given.cluster);
    const pod = applyPatch(request.pod, rewritePod(request, answers, own).patch);
    expect(rewritePod({ ...request, pod }, answers, own).patch).toEqual([]);
  });
});

describe('annotations', () => {
  it('say what changed, what did not and why, and what the agents answer', () => {
    const { pod } = judge({ label: 'p2p', images: [`${vpcApp}:1`, 'quay.io/x:1'] });
    expect(JSON.parse(pod.metadata.annotations![REWRITTEN]!)).toEqual({ [`${vpcApp}:1`]: `${VPC_P2P}/team/app:1` });
    expect(JSON.parse(pod.metadata.annotations![NOT_REWRITTEN]!)).toEqual({ 'quay.io/x:1': 'other-registry' });
    expect(pod.metadata.annotations![MODE]).toBe('p2p');
    expect(JSON.parse(pod.metadata.annotations!['k8s.aliyun.com/p2p-config']!)).toEqual({
      port: 65001,
      hosts: { [VPC]: VPC_P2P },
      version: settings.version,
    });
  });

  it('of other people stay', () => {
    const { pod } = judge({ label: 'on-demand', images: [`${app}:1`], metadata: { annotations: { 'a/b~c': 'x' } } });
    expect(pod.metadata.annotations).toEqual({ 'a/b~c': 'x', [REWRITTEN]: expect.any(String) });
  });

  it('about an image that can be rewritten later go', () => {
    const { pod } = judge({
      label: 'on-demand',
      images: [`${app}:1`],
      metadata: { annotations: { [NOT_REWRITTEN]: JSON.stringify({ [`${app}:1`]: 'timed-out' }) } },
    });
    expect(pod.metadata.annotations).toEqual({ [REWRITTEN]: expect.any(String) });
  });

  it('have the names that the configuration gives', () => {
    const { pod } = judge({
      cluster: 'annotations: { mode: example.com/mode, p2pConfig: example.com/config }',
      label: 'p2p',
      images: [`${app}:1`],
    });
    expect(pod.metadata.annotations).toMatchObject({
      'example.com/mode': 'p2p',
      'example.com/config': expect.any(String),
    });
  });
});

it.each([
  ['https://index.docker.io/v1/', 'registry-1.docker.io', 'library/nginx', true],
  ['registry.example.com', 'registry.example.com', 'a', true],
  ['REGISTRY.example.com', 'registry.example.com', 'a', true],
  ['https://registry.example.com', 'registry.example.com', 'a', true],
  ['registry.example.com:5000', 'registry.example.com', 'a', false],
  ['registry.example.com', 'registry.example.com:5000', 'a', false],
  ['*.example.com', 'registry.example.com', 'a', true],
  ['*.com', 'registry.example.com', 'a', false],
  ['reg*.example.com', 'registry.example.com', 'a', true],
  ['reg?.example.com', 'registry.example.com', 'a', false],
  ['registry.example.com/team', 'registry.example.com', 'team/app', true],
  ['registry.example.com/team', 'registry.example.com', 'teams/app', true],
  ['registry.example.com/team', 'registry.example.com', 'tea', false],
  ['registryXexample.com', 'registry.example.com', 'a', false],
])('an entry %s is for %s/%s: %s', (key, registry, repository, covers) => {
  expect(coversImage(key, { registry, repository })).toBe(covers);
});

it('a copy has no copy, and no name longer than a secret may have', () => {
  expect(copyName('test-registry')).toBe('acr-credential-test-registry-p2p');
  expect(copyName('acr-credential-test-registry-p2p')).toBeUndefined();
  expect(copyName('x'.repeat(240))).toBeUndefined();
});

describe('any pod', () => {
  const image = fc.constantFrom(
    ...[
      `${app}:1`,
      `${app}:2`,
      app,
      `${vpcApp}:1`,
      `${app}@${D}`,
      `${app}:1@${D}`,
      'nginx',
      'quay.io/x:1',
      '',
      'oci:/a',
    ],
    ...[`${app}:1_accelerated`, `${HUB_P2P}/team/app:1`, '10.0.0.1:5000/a', 'named.example.com/a@sha256:1'],
  );
  const pod = fc.record({
    label: fc.option(fc.constantFrom('on-demand', 'p2p', 'on-demand.p2p', 'off', 'x'), { nil: undefined }),
    namespaceLabel: fc.option(fc.constantFrom('on-demand', 'p2p', 'off'), { nil: undefined }),
    images: fc.array(image, { maxLength: 4 }),
    metadata: fc.constantFrom(
      {},
      { annotations: {} },
      { annotations: { [REWRITTEN]: '{"a":1}', [NOT_REWRITTEN]: 'x' } },
      owner('DaemonSet'),
    ),
    spec: fc.record(
      {
        initContainers: fc.array(
          image.map((text) => ({ name: 'i', image: text })),
          { maxLength: 2 },
        ),
        volumes: fc.array(
          image.map((text) => ({ name: 'v', image: { reference: text } })),
          { maxLength: 2 },
        ),
        nodeSelector: fc.constantFrom({}, selected, { [NODE]: 'no' }, { zone: 'a' }),
        imagePullSecrets: fc.array(
          fc.constantFrom('a', 'b', 'c', 'acr-credential-a-p2p').map((name) => ({ name })),
          { maxLength: 4 },
        ),
      },
      { requiredKeys: [] },
    ),
    accelerated: fc.dictionary(
      fc.constantFrom(`${app}:1`, app, `${vpcApp}:1`),
      fc.constantFrom<Reason>('no-accelerated-image', 'timed-out'),
    ),
    secrets: fc.dictionary(
      fc.constantFrom('a', 'b', 'c'),
      fc.constantFrom<SecretAnswer>(SECRET, 'secret-missing', { registries: [VPC, HUB], hasCopy: false }),
    ),
  });

  it('is rewritten once: again changes nothing, and what is not an image, a secret or a note stays', () => {
    fc.assert(
      fc.property(pod, (given) => {
        const request = requestOf(given);
        const answers = answersOf(given, request);
        const first = rewritePod(request, answers, settings);
        const changed = applyPatch(request.pod, first.patch);
        const again = rewritePod({ ...request, pod: changed }, answers, settings);
        expect(again.patch).toEqual([]);
        // Every image has a new name or a reason, when a label asks.
        const named = new Set([...first.rewritten.map(({ from }) => from), ...first.kept.map((one) => one.image)]);
        if (first.patch.length > 0) {
          const places = [...given.images, ...(given.spec.initContainers ?? []).map((one) => one.image)];
          expect(places.filter((one) => !named.has(one))).toEqual([]);
        }
        expect(first.rewritten.filter(({ from, to }) => from === to)).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });
});
