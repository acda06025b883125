/** Cases of the rewriting: labels, names of images and what registries hold. */
import { REWRITTEN } from '../rewrite/notes.ts';
import { ACC, app, D, HUB, HUB_P2P, KEEP, type NamedCase, owner, selected, VPC_P2P, vpcApp } from './rewrite-case.ts';

/** The cases. */
export const LABEL_CASES: readonly NamedCase[] = [
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
];
