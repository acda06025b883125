/** Images of one run, and what becomes of each: the types. */
import type { AccelError } from '../../base/error.ts';
import type { ConvertEvent } from '../../converter/events.ts';
import type { ConvertRequest, OutputTag, TagResult } from '../../converter/options.ts';

/** The name of an image of a run. */
export interface ImageName {
  /** `REPOSITORY:TAG` or `REPOSITORY@DIGEST`, canonical: two orders of one image have the same. */
  readonly reference: string;
  /** Where it was asked for, such as `images.txt:3`; one for each time. */
  readonly places: readonly string[];
}

/** An image to convert. */
export interface ImageOrder extends ImageName {
  readonly request: ConvertRequest;
  /** Verification of the result before it is tagged. */
  readonly verify: 'off' | 'quick' | 'full';
  /** A pattern found it, nobody named it: then the name of a tag may be a reason to skip it. */
  readonly found: boolean;
  /** Why it cannot be converted, if it turns out to be an image that would be. */
  readonly refused?: AccelError;
}

/** The state of an image at the end. `due`: a dry run found that it would be converted. */
export type ImageState = 'converted' | 'up-to-date' | 'due' | 'skipped' | 'failed' | 'interrupted' | 'not-started';

/** A tag of the result. */
export interface OutcomeTag extends OutputTag {
  /** Absent where a dry run would make it. */
  readonly digest?: string;
  /** Bytes over all platforms, and their share of the source's; known where it was converted in this run. */
  readonly size?: number;
  readonly ratio?: number;
}

/** The end of one image. */
export interface ImageOutcome {
  readonly order: ImageName;
  readonly state: ImageState;
  /** Of the tags. */
  readonly repository?: string;
  /** Digest of the source, where it was read. */
  readonly digest?: string;
  readonly tags: readonly OutcomeTag[];
  /** Why it was skipped. */
  readonly skip?: { readonly code: string; readonly reason: string };
  /** Why it failed. */
  readonly error?: AccelError;
  readonly warnings: readonly string[];
  /** Bytes of the layers that were read, and of those that needed no conversion. */
  readonly bytes: { readonly read: number; readonly reused: number };
  /** Wall time. */
  readonly seconds: number;
}

/** Everything that a run reports, in chronological order. */
export type ManyEvent =
  | { readonly type: 'image-start'; readonly order: ImageOrder }
  | { readonly type: 'image-event'; readonly order: ImageOrder; readonly event: ConvertEvent }
  | { readonly type: 'image-done'; readonly outcome: ImageOutcome };

/** The tags of a conversion's result. */
export function outcomeTags(tags: readonly TagResult[]): OutcomeTag[] {
  return tags.map(({ tag, kind, digest, size, ratio }) => ({ tag, kind, digest, size, ratio }));
}

/** The outcome of an image that failed before it was asked for. */
export function failedBefore(order: ImageName, error: AccelError): ImageOutcome {
  return { order, state: 'failed', error, tags: [], warnings: [], bytes: { read: 0, reused: 0 }, seconds: 0 };
}

/** The repository that an order's results go to. */
export function targetOf({ request }: ImageOrder): string {
  return request.targetRepository ?? request.repository;
}
