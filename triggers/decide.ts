/**
 * Decides about an event: convert, report a finished conversion, or skip, with the reason. accel never converts its own
 * output, and never reports a conversion once for each of its tags, however often events arrive and in whatever order. The
 * decision therefore depends on the registry's present content: first its annotations, then the name of the tag.
 */
import { AccelError } from '../base/error.ts';
import { CACHE_TAG } from '../converter/publish/layer-record.ts';
import { ACCELERATED_SUFFIX, CONTAINERD_SUFFIX } from '../formats/overlaybd/tag-suffixes.ts';
import { assertDigest } from '../oci/digest.ts';
import { type OpenOptions, openTarget } from '../oci/open.ts';
import { assertTag, formatReference, parseRepository } from '../oci/reference.ts';
import { type ExistingTag, examineTag } from './existing-tag.ts';
import { DEFAULT_EXPRESSION, type TagMatcher, tagMatcher } from './expression.ts';
import { type ImageNotice, readEvent, type Skip, type SkipCode } from './payload.ts';

/** An event to decide about. */
export interface EventRequest {
  /** Name of the event, as GITHUB_EVENT_NAME has it. */
  readonly name: string;
  /** Its payload, parsed. */
  readonly payload: unknown;
  /**
   * `host[:port]/repo` or `oci:DIR`: events of other repositories are skipped, and events without a repository refer to
   * this one; omitted: any repository.
   */
  readonly repository?: string | undefined;
  /** Regular expression for the tags of finished conversions; omitted: `_accelerated$`. */
  readonly expression?: string | undefined;
}

/** An image that the caller names, without an event. */
export interface NamedRequest {
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: string | undefined;
  readonly expression?: string | undefined;
}

/** Options of a decision. */
export interface DecideContext {
  readonly registry?: OpenOptions;
  readonly signal?: AbortSignal;
}

/** A tag of a finished conversion. */
export interface FinishedTag {
  readonly tag: string;
  readonly digest: string;
  /** The mode, if accel converted it. */
  readonly mode?: 'full' | 'containerd' | 'index-only';
}

/** The decision, with its reason in one line. */
export type EventDecision =
  | {
      readonly event: 'convert';
      readonly repository: string;
      readonly source: { readonly tag?: string; readonly digest?: string };
      /** Present digest of the source. */
      readonly digest: string;
      readonly reason: string;
    }
  | {
      readonly event: 'accelerated';
      readonly repository: string;
      /** The tag of the event, and the second tag of full mode if the same conversion made it. */
      readonly tags: readonly FinishedTag[];
      readonly reason: string;
    }
  | ({ readonly event: 'skipped'; readonly repository?: string; readonly tag?: string } & Skip);

/** Tags of referrers in registries without the referrers API, and of signatures and attestations. */
const REFERRER_TAG = /^sha(256|512)-[0-9a-f]{32,128}(\.[a-z]+)?$/;

/**
 * Decides about an event. Reads only manifests and writes nothing. Throws `usage` for a malformed payload or expression,
 * `reference-invalid` for an image that cannot be, and what the registry throws.
 */
export async function decideEvent(request: EventRequest, context: DecideContext = {}): Promise<EventDecision> {
  const matches = tagMatcher(request.expression ?? DEFAULT_EXPRESSION);
  const reading = readEvent(request.name, request.payload);
  if (reading.kind === 'skip') return skipped(reading.code, reading.reason, {});
  const image = placed(reading.image, request);
  if ('code' in image) return skipped(image.code, image.reason, reading.image);
  return look(image, matches, context);
}

/**
 * Decides about an image that the caller names, as about an event; a missing image is an error. If both a tag and a digest
 * are given, the digest identifies the image.
 */
export async function decideImage(request: NamedRequest, context: DecideContext = {}): Promise<EventDecision> {
  const matches = tagMatcher(request.expression ?? DEFAULT_EXPRESSION);
  const { repository, tag, digest } = request;
  const named = digest === undefined ? (tag === undefined ? undefined : { tag }) : { digest };
  if (named === undefined)
    throw new AccelError('usage', 'no image was named', { where: { repository }, expected: 'a tag or a digest' });
  const image = { repository, ...named };
  const decision = await look(image, matches, context);
  if (decision.event !== 'skipped' || decision.code !== 'gone') return decision;
  throw new AccelError('not-found', 'the image does not exist', {
    where: { image: digest === undefined ? `${repository}:${tag}` : `${repository}@${digest}` },
    hint: 'Push it first, or name another tag.',
  });
}

/** Adds the repository to the image and checks that the caller allows it. */
function placed(image: ImageNotice, { repository, name }: EventRequest): About | Skip {
  if (image.repository === undefined && repository === undefined) {
    throw new AccelError('usage', `the event ${name} names no repository`, {
      expected: 'repository in client_payload',
      hint: 'Send it, or name the repository to act on yourself.',
    });
  }
  const about = { ...image, repository: image.repository ?? repository! };
  if (repository === undefined || canonical(about.repository) === canonical(repository)) return about;
  return { code: 'other-repository', reason: `${about.repository} is not ${repository}` };
}

function canonical(repository: string): string {
  return formatReference(parseRepository(repository));
}

async function look(
  image: About,
  matches: TagMatcher,
  { registry, signal = new AbortController().signal }: DecideContext,
): Promise<EventDecision> {
  const { tag, digest } = image;
  if (tag !== undefined) {
    const skip = skipOfTag(assertTag(tag));
    if (skip !== undefined) return skipped(skip.code, skip.reason, image);
  }
  if (digest !== undefined && tag === undefined) assertDigest(digest, 'reference-invalid');
  const target = await openTarget(parseRepository(image.repository), registry);
  try {
    // The present content of the tag, not that of the time of the event: a later push is converted now or by its own event.
    const existing = await examineTag(target, tag ?? digest!, signal);
    const about = { ...image, repository: target.name };
    if (existing === undefined) return skipped('gone', 'the image no longer exists', about);
    if (existing.kind === 'no-image') return skipped('not-an-image', existing.problem ?? 'not an image', about);
    if (existing.kind === 'accelerated')
      return await finished(about, existing, matches, (name) => examineTag(target, name, signal));
    return ordinary(about, existing, matches);
  } finally {
    await target.close?.();
  }
}

/** The reason to skip a tag that is seen by its name alone; undefined for any other. */
export function skipOfTag(tag: string): Skip | undefined {
  if (tag === CACHE_TAG) return { code: 'cache-tag', reason: "accel's own record of converted layers" };
  if (REFERRER_TAG.test(tag)) return { code: 'referrer-tag', reason: 'a referrer of an image, not an image' };
  return undefined;
}

/** An accelerated image, by its annotations. */
export const ALREADY_ACCELERATED: Skip = {
  code: 'already-accelerated',
  reason: 'an accelerated image, which is never converted',
};

/** By its annotations it was never converted, but its name is that of a result. */
export const NAMED_ACCELERATED: Skip = {
  code: 'named-accelerated',
  reason: 'an ordinary image under the tag of an accelerated one',
};

function ordinary(image: About, { digest }: ExistingTag, matches: TagMatcher): EventDecision {
  const { tag, repository } = image;
  if (tag !== undefined && (matches(tag) || tag.endsWith(ACCELERATED_SUFFIX)))
    return skipped(NAMED_ACCELERATED.code, NAMED_ACCELERATED.reason, image);
  const source = tag === undefined ? { digest } : { tag };
  return { event: 'convert', repository, source, digest, reason: 'an ordinary image' };
}

async function finished(
  image: About,
  existing: ExistingTag,
  matches: TagMatcher,
  look: (tag: string) => Promise<ExistingTag | undefined>,
): Promise<EventDecision> {
  const { tag, repository } = image;
  if (tag === undefined || !matches(tag)) return skipped(ALREADY_ACCELERATED.code, ALREADY_ACCELERATED.reason, image);
  const tags = [finishedTag(tag, existing)];
  const reason = 'a finished conversion';
  if (tag.endsWith(CONTAINERD_SUFFIX)) {
    const other = tag.slice(0, -CONTAINERD_SUFFIX.length) + ACCELERATED_SUFFIX;
    if (matches(other) && isPair(existing, await look(other)))
      return skipped('reported-with-other', `${other} is of the same conversion and reports it`, image);
  } else if (tag.endsWith(ACCELERATED_SUFFIX)) {
    const other = tag.slice(0, -ACCELERATED_SUFFIX.length) + CONTAINERD_SUFFIX;
    const second = matches(other) ? await look(other) : undefined;
    if (second !== undefined && isPair(existing, second)) tags.push(finishedTag(other, second));
  }
  return { event: 'accelerated', repository, tags, reason };
}

/** Whether two tags come from one conversion in full mode: both are accelerated, and if both record a source, it is the same. */
function isPair(one: ExistingTag, other: ExistingTag | undefined): boolean {
  if (other?.kind !== 'accelerated') return false;
  return (
    one.record === undefined || other.record === undefined || one.record.sourceDigest === other.record.sourceDigest
  );
}

function finishedTag(tag: string, { digest, record }: ExistingTag): FinishedTag {
  return { tag, digest, ...(record === undefined ? {} : { mode: record.mode }) };
}

type About = ImageNotice & { readonly repository: string };

function skipped(code: SkipCode, reason: string, { repository, tag }: ImageNotice): EventDecision {
  return {
    event: 'skipped',
    code,
    reason,
    ...(repository === undefined ? {} : { repository }),
    ...(tag === undefined ? {} : { tag }),
  };
}
