/** Cases of the rewriting: kinds of images, selectors and affinity. */
import {
  app,
  HUB_P2P,
  KEEP,
  type NamedCase,
  NODE,
  on,
  owner,
  selected,
  terms,
  VPC_P2P,
  vpcApp,
} from './rewrite-case.ts';

/** The cases. */
export const PLACE_CASES: readonly NamedCase[] = [
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
];
