/** Cases of the rewriting: pull secrets, gates and ephemeral containers. */
import {
  app,
  container,
  HUB_P2P,
  KEEP,
  type NamedCase,
  pull,
  SECRET,
  selected,
  VPC,
  VPC_P2P,
  vpcApp,
} from './rewrite-case.ts';

/** The cases. */
export const SECRET_CASES: readonly NamedCase[] = [
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
