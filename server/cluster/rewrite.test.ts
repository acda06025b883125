import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coversImage } from '../config/image-match.ts';
import { NOT_REWRITTEN, REWRITTEN } from './rewrite/notes.ts';
import { copyName } from './rewrite/pull-secrets.ts';
import { type Reason, rewritePod, type SecretAnswer } from './rewrite.ts';
import { applyPatch } from './testing/json-patch.ts';
import { LABEL_CASES } from './testing/label-cases.ts';
import { PLACE_CASES } from './testing/place-cases.ts';
import {
  answersOf,
  app,
  type Case,
  D,
  HUB,
  HUB_P2P,
  MODE,
  NODE,
  owner,
  requestOf,
  SECRET,
  selected,
  settings,
  settingsOf,
  VPC,
  VPC_P2P,
  vpcApp,
} from './testing/rewrite-case.ts';
import { SECRET_CASES } from './testing/secret-cases.ts';

const CASES = [...LABEL_CASES, ...PLACE_CASES, ...SECRET_CASES];

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

it('leaves an image alone whose name is too long for a kubelet with the host of the agents', () => {
  const image = (length: number) => `${vpcApp}/${'x'.repeat(length)}:1`;
  expect(judge({ label: 'p2p', images: [image(200)] })).toMatchObject({
    images: [image(200)],
    reasons: ['no-p2p-name'],
  });
  expect(judge({ label: 'p2p', images: [image(190)] })).toMatchObject({ reasons: [] });
});

describe('annotations', () => {
  it.each([
    ['no room', 262_140, {}],
    ['room for the hosts of the agents', 261_850, { mode: 'p2p' }],
    ['room for what changed, but not for what did not', 261_700, { mode: 'p2p', rewritten: true }],
  ])('%s: the API takes the pod, and twice changes nothing', (_, size, expected) => {
    const given = { label: 'p2p', images: [`${vpcApp}:1`, `quay.io/${'x'.repeat(200)}:1`] };
    const request = requestOf(given);
    const pod = { ...request.pod, metadata: { ...request.pod.metadata, annotations: { note: 'x'.repeat(size - 4) } } };
    const answers = answersOf(given, request);
    const after = applyPatch(pod, rewritePod({ ...request, pod }, answers, settings).patch);
    const annotations: Readonly<Record<string, string>> = after.metadata.annotations ?? {};
    const bytes = Object.entries(annotations).reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    expect(bytes).toBeLessThanOrEqual(262_144);
    expect(after.spec.containers!.map(({ image }) => image)).toContain(`${VPC_P2P}/team/app:1`);
    expect({
      ...(annotations[MODE] === undefined ? {} : { mode: annotations[MODE] }),
      ...(annotations[REWRITTEN] === undefined ? {} : { rewritten: true }),
    }).toEqual(expected);
    expect(annotations[NOT_REWRITTEN]).toBeUndefined();
    expect(rewritePod({ ...request, pod: after }, answers, settings).patch).toEqual([]);
  });

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
