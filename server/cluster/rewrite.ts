/**
 * Rewrites the images of a pod: pure. {@link questionsOf} lists things to look up, {@link rewritePod} takes the answers and gives a
 * JSON patch (RFC 6902) with the reason for each image that stays. Applied to its own result it changes nothing.
 */

import { coversImage } from '../config/image-match.ts';
import { acceleratedName, type ImageName, parseImageName, tagOf, withHost } from './rewrite/image-name.ts';
import { type NodeConflict, nodeConflict } from './rewrite/node-fit.ts';
import { mergeNotes, type PatchOperation, patchAnnotations } from './rewrite/notes.ts';
import { type ImagePlace, imagesOf, newEphemeralImages, type Pod } from './rewrite/pod.ts';
import { copyName } from './rewrite/pull-secrets.ts';
import type { RewriteSettings } from './rewrite/rewrite-settings.ts';

/** Why an image stays as it is; the labels of a counter. */
export type Reason =
  | NodeConflict
  | 'unknown-mode'
  | 'not-an-image'
  | 'never-pulled'
  | 'other-registry'
  | 'already-accelerated'
  | 'already-mapped'
  // on-demand
  | 'no-accelerated-image'
  | 'outdated-accelerated-image'
  | 'unproven-accelerated-image'
  | 'missing-image'
  | 'no-labelled-node'
  | 'registry-unreachable'
  | 'registry-denied'
  | 'timed-out'
  // p2p
  | 'no-p2p-name'
  | 'secret-missing'
  | 'no-secret'
  | 'secret-copy-missing'
  | 'secret-unknown'
  | 'agents-not-ready'
  // either
  | 'circuit-open'
  | 'pod-exists';

/** A pod that is asked about. */
export interface RewriteRequest {
  readonly pod: Pod;
  readonly namespace: string;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  /** For `pods/ephemeralcontainers`: the pod as it was. Its selector and secrets cannot change any more. */
  readonly before?: Pod;
}

/** The accelerated image of an image, or why it has no such image. */
export type AcceleratedAnswer = { readonly tag?: string; readonly digest: string } | Reason;

/** A pull secret: the keys of its `auths`, and whether its copy exists; or why that is not known. */
export type SecretAnswer =
  | { readonly registries: readonly string[]; readonly hasCopy: boolean }
  | 'secret-missing'
  | 'secret-unknown';

/** The answers to the {@link Questions} about a pod, and why a mode is off. */
export interface Answers {
  /** By the image as it is written in the pod. */
  readonly accelerated: ReadonlyMap<string, AcceleratedAnswer>;
  /** By name, in the pod's namespace. */
  readonly secrets: ReadonlyMap<string, SecretAnswer>;
  /** Why a mode is off for all pods of the namespace. */
  readonly off: { readonly onDemand?: Reason | undefined; readonly p2p?: Reason | undefined };
}

/** Lists things to look up. */
export interface Questions {
  /** Images whose accelerated counterpart is wanted. */
  readonly images: readonly ImageName[];
  /** Names of pull secrets. */
  readonly secrets: readonly string[];
}

/** A rewritten pod. */
export interface Rewriting {
  readonly patch: readonly PatchOperation[];
  readonly rewritten: readonly { readonly from: string; readonly to: string; readonly mode: 'on-demand' | 'p2p' }[];
  readonly kept: readonly { readonly image: string; readonly reason: string; readonly reasons: readonly Reason[] }[];
}

/** The modes that labels ask for; undefined where none does, or one says `off`. */
export interface Modes {
  readonly onDemand: boolean;
  readonly p2p: boolean;
}

/** Most images and pull secrets of one pod that are asked for, so that no pod uses up the lookups that others need. */
const MOST_IMAGES = 64;
const MOST_SECRETS = 32;
const NOTHING: Rewriting = { patch: [], rewritten: [], kept: [] };
const MIRROR = 'kubernetes.io/config.mirror';

/** The modes by the labels: the pod's wins over its namespace's. `unknown-mode` for any other value. */
export function modesOf(request: RewriteRequest, settings: RewriteSettings): Modes | 'unknown-mode' | undefined {
  const { pod, namespace, namespaceLabels } = request;
  const value = pod.metadata.labels?.[settings.modeLabel] ?? namespaceLabels[settings.modeLabel];
  if (value === undefined || value === 'off' || settings.excluded.has(namespace)) return undefined;
  if (pod.metadata.annotations?.[MIRROR] !== undefined) return undefined;
  const words = new Set(value.split('.'));
  const modes = { onDemand: words.delete('on-demand'), p2p: words.delete('p2p') };
  return words.size === 0 ? modes : 'unknown-mode';
}

/** Lists things to look up for a pod, no more than a few of each; nothing for images that stay in any case. */
export function questionsOf(request: RewriteRequest, settings: RewriteSettings): Questions {
  const modes = modesOf(request, settings);
  if (modes === undefined || modes === 'unknown-mode') return { images: [], secrets: [] };
  const images = placesOf(request).flatMap(({ image, isPulled }) => {
    const named = candidate(image, settings);
    return typeof named === 'string' || !isPulled ? [] : [named];
  });
  const isBound = nodeProblem(request, settings) === undefined;
  const hasMapped = modes.p2p && images.some(({ registry }) => settings.hosts.has(registry));
  const distinct = [...new Map(images.map((image) => [image.text, image])).values()];
  return {
    images: modes.onDemand && isBound ? distinct.slice(0, MOST_IMAGES) : [],
    secrets: hasMapped ? secretNames(request.pod).slice(0, MOST_SECRETS) : [],
  };
}

/** Rewrites a pod by the answers. An image without an answer counts as `timed-out`. */
export function rewritePod(request: RewriteRequest, answers: Answers, settings: RewriteSettings): Rewriting {
  const modes = modesOf(request, settings);
  if (modes === undefined) return NOTHING;
  const places = placesOf(request);
  const done = mergeNotes(request.pod, places);
  const choose = (image: string): Choice =>
    modes === 'unknown-mode' ? [modes] : chooseName(image, { modes, request, answers, settings });
  const chosen = new Map<string, Choice>();
  for (const { image, isPulled } of places) {
    if (isPulled && !done.isResult(image) && !chosen.has(image)) chosen.set(image, choose(image));
  }
  const patch: PatchOperation[] = [];
  const rewritten: Rewriting['rewritten'][number][] = [];
  const kept: Rewriting['kept'][number][] = [];
  for (const [image, choice] of chosen) {
    if ('to' in choice) rewritten.push({ from: image, to: choice.to, mode: choice.mode });
    else kept.push({ image, reason: choice.join(', '), reasons: choice });
  }
  for (const image of new Set(places.filter(({ isPulled }) => !isPulled).map((place) => place.image))) {
    kept.push({ image, reason: 'never-pulled', reasons: ['never-pulled'] });
  }
  for (const { pointer, image, isPulled } of places) {
    const choice = isPulled ? chosen.get(image) : undefined;
    if (choice !== undefined && 'to' in choice) patch.push({ op: 'replace', path: pointer, value: choice.to });
  }
  if (request.before !== undefined) return { patch, rewritten, kept };
  const mapped = [...chosen.values()].flatMap((choice) => ('to' in choice && choice.mode === 'p2p' ? [choice] : []));
  if (rewritten.some(({ mode }) => mode === 'on-demand')) patch.push(...selectorPatch(request.pod, settings));
  patch.push(...secretPatch(request.pod, new Set(mapped.flatMap(({ secrets }) => secrets))));
  patch.push(...patchAnnotations(request.pod, done.with({ rewritten, kept, mapped }), settings));
  return { patch, rewritten, kept };
}

/** A new name, or the reasons why the image keeps its own. */
type Choice = Renamed | readonly Reason[];

interface Renamed {
  readonly to: string;
  readonly mode: 'on-demand' | 'p2p';
  /** Hosts, of the registry and of the agents; for p2p. */
  readonly hosts: readonly [from: string, to: string];
  /** Pull secrets whose copies are needed. */
  readonly secrets: readonly string[];
}

interface Surroundings {
  readonly modes: Modes;
  readonly request: RewriteRequest;
  readonly answers: Answers;
  readonly settings: RewriteSettings;
}

function chooseName(text: string, around: Surroundings): Choice {
  const { modes, settings } = around;
  const image = candidate(text, settings);
  if (typeof image === 'string') return [image];
  const reasons: Reason[] = [];
  for (const choose of [modes.onDemand ? accelerate : undefined, modes.p2p ? map : undefined]) {
    const choice = choose?.(image, around);
    if (typeof choice === 'string') reasons.push(choice);
    else if (choice !== undefined) return choice;
  }
  return reasons;
}

/** The image, where it may change at all. */
function candidate(text: string, { registries, mapped, suffixes }: RewriteSettings): ImageName | Reason {
  const image = parseImageName(text);
  if (image === undefined) return 'not-an-image';
  if (mapped.has(image.registry)) return 'already-mapped';
  if (!registries.has(image.registry)) return 'other-registry';
  const tag = tagOf(image);
  return tag !== undefined && suffixes.some((suffix) => tag.endsWith(suffix)) ? 'already-accelerated' : image;
}

function accelerate(image: ImageName, { request, answers, settings }: Surroundings): Renamed | Reason {
  const problem = answers.off.onDemand ?? nodeProblem(request, settings);
  if (problem !== undefined) return problem;
  const answer = answers.accelerated.get(image.text) ?? 'timed-out';
  if (typeof answer === 'string') return answer;
  return { to: acceleratedName(image, answer), mode: 'on-demand', hosts: ['', ''], secrets: [] };
}

function map(image: ImageName, { request, answers, settings }: Surroundings): Renamed | Reason {
  if (answers.off.p2p !== undefined) return answers.off.p2p;
  const host = settings.hosts.get(image.registry);
  const to = host === undefined ? undefined : withHost(image, host);
  if (host === undefined || to === undefined) return 'no-p2p-name';
  const secrets = neededSecrets(image, { request, answers, settings });
  if (typeof secrets === 'string') return secrets;
  return { to, mode: 'p2p', hosts: [image.registry, host], secrets };
}

/** The pull secrets that are for the image, each with its copy; or why it cannot be pulled by its new name. */
function neededSecrets(
  image: ImageName,
  { request, answers, settings }: Omit<Surroundings, 'modes'>,
): readonly string[] | Reason {
  const { pod, before } = request;
  const needed: string[] = [];
  let problem: Reason | undefined;
  for (const name of secretNames(pod)) {
    const answer = answers.secrets.get(name) ?? 'secret-unknown';
    if (typeof answer === 'string') {
      problem ??= answer;
    } else if (answer.registries.some((key) => coversImage(key, image)) && copyName(name) !== undefined) {
      if (!answer.hasCopy) return 'secret-copy-missing';
      needed.push(name);
    }
  }
  if (needed.length === 0) return problem ?? (settings.withoutSecret === 'keep' ? 'no-secret' : []);
  const present = new Set((pod.spec.imagePullSecrets ?? []).map(({ name }) => name));
  const isLate = before !== undefined && needed.some((name) => !present.has(copyName(name)));
  return isLate ? 'pod-exists' : needed;
}

/** Why the pod cannot be bound to nodes with lazily loading devices. */
function nodeProblem({ pod, before }: RewriteRequest, { nodeLabel }: RewriteSettings): Reason | undefined {
  if (before === undefined) return nodeConflict(pod, nodeLabel);
  // It has its node: its selector says whether that is one of them.
  return pod.spec.nodeSelector?.[nodeLabel] === 'true' ? undefined : 'pod-exists';
}

function placesOf({ pod, before }: RewriteRequest): readonly ImagePlace[] {
  return before === undefined ? imagesOf(pod) : newEphemeralImages(pod, before);
}

/** The pod's pull secrets, without copies. */
function secretNames({ spec }: Pod): readonly string[] {
  const names = (spec.imagePullSecrets ?? []).flatMap(({ name }) => (name === undefined || name === '' ? [] : [name]));
  return [...new Set(names)].filter((name) => copyName(name) !== undefined);
}

function selectorPatch({ spec }: Pod, { nodeLabel }: RewriteSettings): PatchOperation[] {
  if (spec.nodeSelector?.[nodeLabel] === 'true') return [];
  if (spec.nodeSelector === undefined)
    return [{ op: 'add', path: '/spec/nodeSelector', value: { [nodeLabel]: 'true' } }];
  return [{ op: 'add', path: `/spec/nodeSelector/${escapePointer(nodeLabel)}`, value: 'true' }];
}

/** Adds the copy of each secret after it. */
function secretPatch({ spec }: Pod, needed: ReadonlySet<string>): PatchOperation[] {
  const names = (spec.imagePullSecrets ?? []).map(({ name }) => name);
  const patch: PatchOperation[] = [];
  for (let index = 0; index < names.length; index++) {
    const name = names[index];
    const copy = name !== undefined && needed.has(name) ? copyName(name) : undefined;
    if (copy === undefined || names.includes(copy)) continue;
    names.splice(index + 1, 0, copy);
    patch.push({ op: 'add', path: `/spec/imagePullSecrets/${index + 1}`, value: { name: copy } });
  }
  return patch;
}

/** A key as a part of a JSON Pointer. */
function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
