/** AdmissionReview v1 (k8s.io/api/admission/v1): the question that the API server asks, and the answer. */
import { z } from 'zod';
import type { PatchOperation } from '../rewrite/notes.ts';
import type { Pod } from '../rewrite/pod.ts';

const POD = z.looseObject({
  metadata: z.looseObject({}).default({}),
  spec: z.looseObject({}),
});
const REVIEW = z.object({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  request: z.object({
    uid: z.string().min(1).max(256),
    resource: z.object({ group: z.string().default(''), version: z.string(), resource: z.string() }),
    subResource: z.string().default(''),
    operation: z.string(),
    namespace: z.string().default(''),
    object: z.unknown(),
    oldObject: z.unknown().optional(),
    dryRun: z.boolean().nullish(),
  }),
});

/** A question about a pod. */
export interface PodQuestion {
  readonly uid: string;
  readonly namespace: string;
  readonly pod: Pod;
  /** The pod as it was; for `pods/ephemeralcontainers`. */
  readonly before?: Pod;
  readonly dryRun: boolean;
}

/** A question, or the uid of one that is not about a pod's images; undefined for what is no AdmissionReview v1. */
export function readReview(body: unknown): PodQuestion | { readonly uid: string } | undefined {
  const review = REVIEW.safeParse(body);
  if (!review.success) return undefined;
  const { uid, resource, subResource, operation, namespace, object, oldObject, dryRun } = review.data.request;
  const isPod = resource.group === '' && resource.resource === 'pods';
  const isNew = isPod && subResource === '' && operation === 'CREATE';
  const isEphemeral = isPod && subResource === 'ephemeralcontainers' && operation === 'UPDATE';
  const pod = POD.safeParse(object);
  if (!(isNew || isEphemeral) || !pod.success) return { uid };
  const question = { uid, namespace, pod: pod.data as unknown as Pod, dryRun: dryRun === true };
  if (!isEphemeral) return question;
  const before = POD.safeParse(oldObject);
  return before.success ? { ...question, before: before.data as unknown as Pod } : { uid };
}

/** The answer: allowed, always. */
export function answerOf(uid: string, patch: readonly PatchOperation[] = []): object {
  const changes =
    patch.length === 0
      ? {}
      : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch), 'utf8').toString('base64') };
  return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid, allowed: true, ...changes } };
}
