/** Cases of the rewriting: pods, what is known, and what becomes of them. The tests of the webhook's rewriting and of the policy's read them. */
import { parseConfig } from '../../config/load.ts';
import type { Pod } from '../rewrite/pod.ts';
import { rewriteSettings } from '../rewrite/rewrite-settings.ts';
import { type Answers, questionsOf, type Reason, type RewriteRequest, type SecretAnswer } from '../rewrite.ts';

/** Label of pods and namespaces. */
export const MODE = 'k8s.aliyun.com/image-accelerate-mode';
/** Label of nodes. */
export const NODE = 'alibabacloud.com/image-accelerate-enabled';
/** A registry. */
export const VPC = 'shop-vpc.cn-x.cr.example.com';
/** Its name by way of the agents. */
export const VPC_P2P = 'shop-vpc.distributed.cn-x.cr.example.com:65001';
/** Another registry. */
export const HUB = 'registry.example.com';
/** Its name by way of the agents. */
export const HUB_P2P = 'registry.distributed.example.com:65001';
/** A digest. */
export const D = `sha256:${'d'.repeat(64)}`;
/** The digest of accelerated images. */
export const ACC = `sha256:${'a'.repeat(64)}`;

/** Registries of the configuration of all cases. */
export const HEAD = `registries: [{host: ${VPC}}, {host: ${HUB}}, {host: "10.0.0.1:5000"}, {host: docker.io}, {host: named.example.com}]\n`;
/** The part of the configuration that cases have unless they say otherwise. */
export const P2P = 'p2p: { hosts: { named.example.com: agents.local:7000 } }';
/** Settings by a part of the configuration. */
export const settingsOf = (cluster = P2P) =>
  rewriteSettings(parseConfig(`${HEAD}cluster: { ${cluster} }\n`, 'c.yaml'), 'accel');
/** Settings of cases without a configuration of their own. */
export const settings = settingsOf();

/** A pod; `images` are its containers. */
export interface Case {
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
export interface Expected {
  readonly images?: readonly string[];
  readonly reasons?: readonly string[];
  readonly selector?: Record<string, string> | 'none';
  readonly secrets?: readonly string[];
}

/** A container of a case. */
export const container = (image: string, index: number) => ({ name: `c${index}`, image });

/** The question about the pod of a case. */
export function requestOf({
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

/** Collects the answers of a case. */
export function answersOf({ accelerated = {}, secrets = {}, off = {} }: Case, request: RewriteRequest): Answers {
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

/** The one image stays. */
export const KEEP = (reason: string): Expected => ({ reasons: [reason], selector: 'none', secrets: [] });
/** A pull secret with its copy. */
export const SECRET: SecretAnswer = { registries: [VPC], hasCopy: true };
/** A pod's pull secrets. */
export const pull = (...names: string[]) => ({ imagePullSecrets: names.map((name) => ({ name })) });
/** A pod's node affinity. */
export const terms = (...nodeSelectorTerms: unknown[]) => ({
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } },
});
/** A term of it. */
export const on = (key: string, operator: string, values?: string[]) => ({
  matchExpressions: [{ key, operator, values }],
});
/** The owner of a pod. */
export const owner = (kind: string, controller = true) => ({
  ownerReferences: [{ apiVersion: 'apps/v1', kind, name: 'o', uid: 'u', controller }],
});
/** The selector of on-demand pods. */
export const selected = { [NODE]: 'true' };
/** An image. */
export const app: string = `${HUB}/team/app`;
/** An image of the other registry. */
export const vpcApp: string = `${VPC}/team/app`;

/** A case: its name, what is given, and what is expected. */
export type NamedCase = readonly [name: string, given: Case, expected: Expected];
