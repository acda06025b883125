/** The annotations that say what happened to the images of a pod: which changed, which did not and why, and the agents' names. */
import { isRecord } from '../../../base/is-record.ts';
import type { ImagePlace, Pod } from './pod.ts';
import type { RewriteSettings } from './rewrite-settings.ts';

/** Annotation with a JSON object: new name by the image that it replaced. */
export const REWRITTEN = 'accel.dev/rewritten';
/** Annotation with a JSON object: reason by the image that stays. */
export const NOT_REWRITTEN = 'accel.dev/not-rewritten';

/** Most bytes of a pod's annotations, keys and values together (k8s.io/apimachinery, TotalAnnotationSizeLimitB). */
const MOST_BYTES = 256 * 1024;

/** An operation of a JSON patch. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/** The images of one decision. */
interface Outcome {
  readonly rewritten: readonly { readonly from: string; readonly to: string }[];
  readonly kept: readonly { readonly image: string; readonly reason: string }[];
  readonly mapped: readonly { readonly hosts: readonly [from: string, to: string] }[];
}

/** Earlier notes of a pod, and those of this decision. */
export interface Notes {
  readonly rewritten: Readonly<Record<string, string>>;
  readonly kept: Readonly<Record<string, string>>;
  /** Hosts of agents by those of registries. */
  readonly hosts: Readonly<Record<string, string>>;
}

/** Reads the notes that a pod has. Entries about images that it has no more are left out. */
export function mergeNotes(
  pod: Pod,
  places: readonly ImagePlace[],
): { isResult(image: string): boolean; with(outcome: Outcome): Notes } {
  const images = new Set(places.map(({ image }) => image));
  const earlier = Object.entries(textMap(pod.metadata.annotations?.[REWRITTEN])).filter(([, to]) => images.has(to));
  const results = new Set(earlier.map(([, to]) => to));
  // A name that a pod had from the start may also be the result for another of its images.
  const noted = Object.entries(textMap(pod.metadata.annotations?.[NOT_REWRITTEN])).filter(([one]) => results.has(one));
  return {
    isResult: (image) => results.has(image),
    with: ({ rewritten, kept, mapped }) => ({
      rewritten: Object.fromEntries([...earlier, ...rewritten.map(({ from, to }) => [from, to] as const)]),
      kept: Object.fromEntries([...noted, ...kept.map(({ image, reason }) => [image, reason] as const)]),
      hosts: Object.fromEntries(mapped.map(({ hosts }) => hosts)),
    }),
  };
}

/**
 * The operations that write the notes; none where they are there already. Notes that the API would not take beside the pod's other annotations
 * are left out, since it would refuse the pod: the reasons first, the agents' hosts last.
 */
export function patchAnnotations(pod: Pod, notes: Notes, settings: RewriteSettings): PatchOperation[] {
  const { annotations } = pod.metadata;
  const wanted: Record<string, string | undefined> = {
    [REWRITTEN]: textOf(notes.rewritten),
    [NOT_REWRITTEN]: textOf(notes.kept),
  };
  if (Object.keys(notes.hosts).length > 0) {
    const known = record(annotations?.[settings.annotations.p2pConfig]).hosts;
    const hosts = { ...(isRecord(known) ? known : {}), ...notes.hosts };
    wanted[settings.annotations.mode] = 'p2p';
    wanted[settings.annotations.p2pConfig] = JSON.stringify({ port: settings.port, hosts, version: settings.version });
  }
  const others = Object.entries(annotations ?? {}).filter(([key]) => !(key in wanted));
  for (const key of [NOT_REWRITTEN, REWRITTEN, settings.annotations.p2pConfig, settings.annotations.mode]) {
    if (bytesOf([...others, ...Object.entries(wanted)]) <= MOST_BYTES) break;
    if (key in wanted) wanted[key] = undefined;
  }
  const changes = Object.entries(wanted).filter(([key, value]) => value !== annotations?.[key]);
  if (changes.length === 0) return [];
  const operations: PatchOperation[] =
    annotations === undefined ? [{ op: 'add', path: '/metadata/annotations', value: {} }] : [];
  for (const [key, value] of changes) {
    const path = `/metadata/annotations/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    operations.push(value === undefined ? { op: 'remove', path } : { op: 'add', path, value });
  }
  return operations;
}

function bytesOf(entries: readonly (readonly [string, string | undefined])[]): number {
  let bytes = 0;
  for (const [key, value] of entries)
    if (value !== undefined) bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  return bytes;
}

/** In the order of its keys, so that the same notes are the same text. */
function textOf(map: Readonly<Record<string, string>>): string | undefined {
  const keys = Object.keys(map).sort();
  return keys.length === 0 ? undefined : JSON.stringify(Object.fromEntries(keys.map((key) => [key, map[key]])));
}

function textMap(text: string | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(record(text)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function record(text: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}
