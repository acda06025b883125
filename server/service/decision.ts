/** Decisions about a pushed image: the types. decide-push.ts makes them from what the registry has now. */
import type { NewJob } from './queue.ts';

/** Why nothing is to be done; a label of metrics. */
export type DecisionCode =
  /** The tag is to be converted: a job was added, or is there already. */
  | 'convert'
  /** The tag was converted from this digest with these options. */
  | 'up-to-date'
  /** No rule covers the repository or the tag. */
  | 'not-covered'
  /** No rule names the registry, and the configuration does not list it. The registry was not asked. */
  | 'foreign-registry'
  /** A push without a tag: a child manifest of an index, or content that nobody named. */
  | 'untagged'
  | 'referrer-tag'
  | 'cache-tag'
  /** The tag does not exist any more. */
  | 'gone'
  | 'not-an-image'
  | 'already-accelerated'
  | 'named-accelerated'
  /** The image cannot be converted, or not with these credentials: a failed conversion was added, with the reason. */
  | 'impossible';

/** The decision about an event. */
export interface Decision {
  readonly code: DecisionCode;
  /** For people, one line. */
  readonly reason: string;
  /** Number of the rule that covers the image. */
  readonly rule?: number;
  /** Digest of the tag now. */
  readonly digest?: string;
  /** Jobs to add to the queue. */
  readonly jobs: readonly NewJob[];
}
