/** The parts of a pod that decide what happens to its images (Kubernetes API, v1 Pod). Everything else passes untouched. */
import type { ObjectMeta } from '../kube/kube-resources.ts';

/** A container of any of the three kinds. */
export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly imagePullPolicy?: string;
}

/** One requirement of a node's labels or fields. */
export interface NodeRequirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

/** A term of required node affinity: all requirements together; the terms are alternatives. */
export interface NodeTerm {
  readonly matchExpressions?: readonly NodeRequirement[];
  readonly matchFields?: readonly NodeRequirement[];
}

/** A pod, as it arrives. */
export interface Pod {
  readonly metadata: Partial<ObjectMeta>;
  readonly spec: {
    readonly containers?: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly ephemeralContainers?: readonly Container[];
    readonly volumes?: readonly {
      readonly name: string;
      readonly image?: { readonly reference?: string; readonly pullPolicy?: string };
    }[];
    readonly imagePullSecrets?: readonly { readonly name?: string }[];
    readonly nodeName?: string;
    readonly nodeSelector?: Readonly<Record<string, string>>;
    readonly os?: { readonly name?: string };
    readonly affinity?: {
      readonly nodeAffinity?: {
        readonly requiredDuringSchedulingIgnoredDuringExecution?: { readonly nodeSelectorTerms?: readonly NodeTerm[] };
      };
    };
  };
}

/** A place of a pod where an image is named. */
export interface ImagePlace {
  /** JSON Pointer (RFC 6901). */
  readonly pointer: string;
  readonly image: string;
  /** Whether kubelet pulls it, if need be; false for the policy Never, which needs the very name that the node has. */
  readonly isPulled: boolean;
}

/** The images of a pod that may change: of all kinds of containers and of volumes. */
export function imagesOf({ spec }: Pod): ImagePlace[] {
  const places: ImagePlace[] = [];
  for (const kind of ['initContainers', 'containers'] as const) {
    for (const [index, { image, imagePullPolicy }] of (spec[kind] ?? []).entries()) {
      if (image === undefined) continue;
      places.push({ pointer: `/spec/${kind}/${index}/image`, image, isPulled: imagePullPolicy !== 'Never' });
    }
  }
  for (const [index, volume] of (spec.volumes ?? []).entries()) {
    const reference = volume.image?.reference;
    if (reference === undefined) continue;
    const pointer = `/spec/volumes/${index}/image/reference`;
    places.push({ pointer, image: reference, isPulled: volume.image?.pullPolicy !== 'Never' });
  }
  return places;
}

/** The images of ephemeral containers that a pod did not have before; those that it had may not change. */
export function newEphemeralImages({ spec }: Pod, before: Pod | undefined): ImagePlace[] {
  const known = new Set((before?.spec.ephemeralContainers ?? []).map(({ name }) => name));
  return (spec.ephemeralContainers ?? []).flatMap(({ name, image, imagePullPolicy }, index) => {
    if (known.has(name) || image === undefined) return [];
    return [{ pointer: `/spec/ephemeralContainers/${index}/image`, image, isPulled: imagePullPolicy !== 'Never' }];
  });
}
