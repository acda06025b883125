/**
 * What to do about an event: convert, report a finished conversion, or nothing, and why. Nothing may ever convert its own
 * output, and no conversion be reported by both of its tags, however often events arrive and in whatever order: so the
 * decision is made from what stands in the registry now, its annotations first, the name of the tag second.
 */
import { AccelError } from '../base/error.ts';
import { CACHE_TAG } from '../converter/publish/layer-record.ts';
import { ACCELERATED_SUFFIX, CONTAINERD_SUFFIX } from '../formats/overlaybd/tag-suffixes.ts';
import { assertDigest } from '../oci/digest.ts';
import { type OpenOptions, openTarget } from '../oci/open.ts';
import { assertTag, formatReference, parseRepository } from '../oci/reference.ts';
import { lookAt, type StandingTag } from './existing-tag.ts';
import { DEFAULT_EXPRESSION, type TagMatcher, tagMatcher } from './expression.ts';
import { type ImageNotice, readEvent, type Skip, type SkipCode } from './payload.ts';

/** An event to decide about. */
export interface EventRequest {
  /** Name of the event, as GITHUB_EVENT_NAME has it. */
  readonly name: string;
  /** Its payload, parsed. */
  readonly payload: unknown;
  /**
   * `host[:port]/repo` or `oci:DIR`: events of another repository are left alone, and events that name none mean this
   * one; omitted: any.
   */
  readonly repository?: string | undefined;
  /** What a tag of a finished conversion matches; omitted: `_accelerated$`. */
  readonly expression?: string | undefined;
}

/** An image that the caller names himself; there is no event to it. */
export interface NamedRequest {
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: string | undefined;
  readonly expression?: string | undefined;
}

/** Surroundings of a decision. */
export interface DecideContext {
  readonly registry?: OpenOptions;
  readonly signal?: AbortSignal;
}

/** A tag of a finished conversion. */
export interface FinishedTag {
  readonly tag: string;
  readonly digest: string;
  /** How it was converted, where accel did it. */
  readonly mode?: 'full' | 'containerd' | 'index-only';
}

/** What to do, and why in one line. */
export type EventDecision =
  | {
      readonly event: 'convert';
      readonly repository: string;
      readonly source: { readonly tag?: string; readonly digest?: string };
      /** What the source names now. */
      readonly digest: string;
      readonly reason: string;
    }
  | {
      readonly event: 'accelerated';
      readonly repository: string;
      /** The tag of the event, and the other one of full mode if it was made with it. */
      readonly tags: readonly FinishedTag[];
      readonly reason: string;
    }
  | ({ readonly event: 'skipped'; readonly repository?: string; readonly tag?: string } & Skip);

/** Tags that registries without a referrers API keep referrers under, and that signatures and attestations stand under. */
const REFERRER_TAG = /^sha(256|512)-[0-9a-f]{32,128}(\.[a-z]+)?$/;

/**
 * Decides about an event. Reads manifests alone and writes nothing. Throws `usage` for a malformed payload or expression,
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
 * Decides about an image that was named by the caller: as for an event, but what is not there is an error. With both a
 * tag and a digest the digest says what is meant.
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
  throw new AccelError('not-found', 'the image is not there', {
    where: { image: digest === undefined ? `${repository}:${tag}` : `${repository}@${digest}` },
    hint: 'Push it first, or name another tag.',
  });
}

/** The image with its repository, checked against the one that the caller allows. */
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
    assertTag(tag);
    if (tag === CACHE_TAG) return skipped('cache-tag', "accel's own record of converted layers", image);
    if (REFERRER_TAG.test(tag)) return skipped('referrer-tag', 'what refers to an image, not an image', image);
  }
  if (digest !== undefined && tag === undefined) assertDigest(digest, 'reference-invalid');
  const target = await openTarget(parseRepository(image.repository), registry);
  try {
    // The tag as it is now, not as it was when the event was sent: a later push is converted with it, or after it.
    const standing = await lookAt(target, tag ?? digest!, signal);
    const about = { ...image, repository: target.name };
    if (standing === undefined) return skipped('gone', 'nothing stands there any more', about);
    if (standing.kind === 'no-image') return skipped('not-an-image', standing.problem ?? 'not an image', about);
    if (standing.kind === 'accelerated')
      return await finished(about, standing, matches, (name) => lookAt(target, name, signal));
    return ordinary(about, standing, matches);
  } finally {
    await target.close?.();
  }
}

function ordinary(image: About, { digest }: StandingTag, matches: TagMatcher): EventDecision {
  const { tag, repository } = image;
  // Its annotations say that it was never converted; its name says that someone takes it for the result of it.
  if (tag !== undefined && (matches(tag) || tag.endsWith(ACCELERATED_SUFFIX)))
    return skipped('named-accelerated', 'an ordinary image under the tag of an accelerated one', image);
  const source = tag === undefined ? { digest } : { tag };
  return { event: 'convert', repository, source, digest, reason: 'an ordinary image' };
}

async function finished(
  image: About,
  standing: StandingTag,
  matches: TagMatcher,
  look: (tag: string) => Promise<StandingTag | undefined>,
): Promise<EventDecision> {
  const { tag, repository } = image;
  if (tag === undefined || !matches(tag))
    return skipped('already-accelerated', 'an accelerated image, which is never converted', image);
  const tags = [finishedTag(tag, standing)];
  const reason = 'a finished conversion';
  if (tag.endsWith(CONTAINERD_SUFFIX)) {
    const other = tag.slice(0, -CONTAINERD_SUFFIX.length) + ACCELERATED_SUFFIX;
    if (matches(other) && isPair(standing, await look(other)))
      return skipped('reported-with-other', `${other} is of the same conversion and reports it`, image);
  } else if (tag.endsWith(ACCELERATED_SUFFIX)) {
    const other = tag.slice(0, -ACCELERATED_SUFFIX.length) + CONTAINERD_SUFFIX;
    const found = matches(other) ? await look(other) : undefined;
    if (found !== undefined && isPair(standing, found)) tags.push(finishedTag(other, found));
  }
  return { event: 'accelerated', repository, tags, reason };
}

/** Whether two tags come from one conversion in full mode: both accelerated, and of one source where both say of which. */
function isPair(one: StandingTag, other: StandingTag | undefined): boolean {
  if (other?.kind !== 'accelerated') return false;
  return (
    one.record === undefined || other.record === undefined || one.record.sourceDigest === other.record.sourceDigest
  );
}

function finishedTag(tag: string, { digest, record }: StandingTag): FinishedTag {
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
