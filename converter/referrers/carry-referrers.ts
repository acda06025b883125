/**
 * Carries the referrers of the source over to the accelerated images (`copyReferrers`): reads what refers to the source and to each
 * of its platforms, decides (decide-referrers.ts), and attaches copies and links. Attached ones are left as they are.
 */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import { mapBounded } from '../../base/limiter.ts';
import { copyContent } from '../../oci/copy.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { findDocument, type NamedDocument } from '../../oci/document.ts';
import { type FoundReferrer, type FoundReferrers, listReferrersOf, MAX_REFERRERS } from '../../oci/list-referrers.ts';
import { encodeJson, type ImageManifest } from '../../oci/manifest.ts';
import { canRefer, inRegistry } from '../../oci/powers.ts';
import { referrerTag } from '../../oci/referrers.ts';
import type { ReferrerCopy, ReferrerResult, TagResult } from '../options.ts';
import { putBytes, putManifest } from '../publish/push-document.ts';
import type { PlanSession, Session } from '../session.ts';
import { type Attachment, attachedTo, copyOf, EMPTY_BYTES, linkTo } from './attached-documents.ts';
import { decideReferrer, MAX_COPIES_SIZE, type ReferrerDecision } from './decide-referrers.ts';

/** Subjects that are read at a time. */
const PARALLEL = 4;

/** A referrer of the source, and what becomes of it. */
export interface PlannedReferrer {
  /** Digest of the source manifest or index that it refers to. */
  readonly subject: string;
  readonly referrer: FoundReferrer;
  readonly decision: ReferrerDecision;
}

/** The referrers of a source, index or manifest, and of its platforms. */
export interface ReferrerPlan {
  readonly sourceDigest: string;
  readonly planned: readonly PlannedReferrer[];
}

/** Reads the referrers of the source and of `images`, and decides. Throws `usage` where the target keeps no referrers. */
export async function planReferrers(
  session: PlanSession,
  source: NamedDocument,
  images: readonly { readonly descriptor: Descriptor }[],
): Promise<ReferrerPlan> {
  if (!canRefer(session.target)) {
    throw new AccelError('usage', 'this target keeps no referrers', {
      found: session.target.name,
      hint: advise`Convert without ${option('copyReferrers')}.`,
    });
  }
  const { descriptor, document } = source;
  const digests = [...new Set([descriptor.digest, ...images.map((image) => image.descriptor.digest)])];
  const lists = await mapBounded(digests, PARALLEL, async (digest) => {
    const index = digest === descriptor.digest && document.kind === 'index' ? document.index : undefined;
    const list = await listReferrersOf(session.source, { digest }, { index, signal: session.signal });
    warnOf(session, digest, list);
    return list.found.map((referrer) => ({ subject: digest, referrer }));
  });
  let room = MAX_COPIES_SIZE;
  const planned = lists.flat().map(({ subject, referrer }) => {
    const decision = decideReferrer(referrer, room);
    if (decision.action === 'copied') room -= referrer.size;
    return { subject, referrer, decision };
  });
  return { sourceDigest: descriptor.digest, planned };
}

function warnOf({ emit }: PlanSession, digest: string, { unread, problem }: FoundReferrers): void {
  if (problem !== undefined) {
    emit({ type: 'warning', message: `the list of referrers of ${digest} cannot be read: ${problem}` });
  }
  if (unread === 0) return;
  const message = `${unread} referrers of ${digest} were not looked at: accel reads ${MAX_REFERRERS} of one image`;
  emit({ type: 'warning', message });
}

/** Attaches to the images of `tags` what the plan says. Everything that a copy refers to is pushed before it. */
export async function carryReferrers(
  session: Session,
  { sourceDigest, planned }: ReferrerPlan,
  tags: readonly TagResult[],
): Promise<ReferrerResult[]> {
  const carrier = new Carrier(session);
  const targets = pairsOf(sourceDigest, tags);
  const results: ReferrerResult[] = [];
  for (const { subject, referrer, decision } of planned) {
    const made: ReferrerCopy[] = [];
    let outcome = decision;
    for (const digest of decision.action === 'left' ? [] : (targets.get(subject) ?? [])) {
      const one = await carrier.attach(subject, digest, { referrer, decision });
      if (one === undefined)
        outcome = { action: 'left', reason: 'the accelerated image has one of its own under the tag' };
      else made.push(one);
    }
    const { manifest: _, problem: __, ...facts } = referrer;
    results.push({ subject, ...facts, ...(made.length > 0 ? decision : outcome), made });
  }
  return results;
}

/** The results of one plan for two groups of tags, as one. */
export function joinCarried(
  ones: readonly ReferrerResult[],
  others: readonly ReferrerResult[],
): readonly ReferrerResult[] {
  if (ones.length === 0 || others.length === 0) return [...ones, ...others];
  return ones.map((one, index) => {
    const other = others[index]!;
    const made = new Map([...one.made, ...other.made].map((copy) => [copy.subject, copy]));
    return { ...(one.made.length > 0 ? one : other), made: [...made.values()] };
  });
}

/** Digests of accelerated manifests and indexes, by what they were made from. */
function pairsOf(whole: string, tags: readonly TagResult[]): Map<string, Set<string>> {
  const pairs = new Map<string, Set<string>>();
  const add = (source: string, digest: string): void => {
    pairs.set(source, (pairs.get(source) ?? new Set()).add(digest));
  };
  for (const { digest, manifests } of tags) {
    add(whole, digest);
    for (const one of manifests) add(one.sourceDigest, one.digest);
  }
  return pairs;
}

/** Attaches documents to accelerated images; what was attached in this run or before is not pushed again. */
class Carrier {
  readonly #session: Session;
  readonly #listed = new Map<string, Promise<ReadonlySet<string>>>();
  /** Attached by this run, by accelerated image and digest: many referrers of a kind share a link. */
  readonly #made = new Map<string, ReferrerCopy>();
  readonly #repository: string | undefined;

  constructor(session: Session) {
    this.#session = session;
    const { source, target } = session;
    // A folder of this machine says nothing elsewhere.
    const isElsewhere = source.name !== target.name && inRegistry(source) !== undefined;
    this.#repository = isElsewhere ? source.name : undefined;
  }

  /** Undefined where a tag of cosign has content that is not accel's. */
  async attach(
    sourceDigest: string,
    digest: string,
    { referrer, decision }: Pick<PlannedReferrer, 'referrer' | 'decision'>,
  ): Promise<ReferrerCopy | undefined> {
    const { target, signal } = this.#session;
    const accelerated = await target.resolve(digest, { signal });
    const attachment: Attachment = { accelerated, sourceDigest, sourceRepository: this.#repository };
    if (decision.action === 'linked') return this.#refer(accelerated, linkTo(attachment, referrer.kind));
    const original = { digest: referrer.digest, manifest: referrer.manifest! };
    if (referrer.via !== 'tag') return this.#refer(accelerated, copyOf(attachment, original, false));
    return this.#tag(accelerated, copyOf(attachment, original, true), referrer.tag!);
  }

  async #refer(subject: Descriptor, manifest: ImageManifest): Promise<ReferrerCopy> {
    const bytes = encodeJson(manifest);
    const descriptor = { mediaType: manifest.mediaType, digest: digestOf(bytes), size: bytes.length };
    const key = `${subject.digest} ${descriptor.digest}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const { target, signal } = this.#session;
    const isListed = (await this.#listOf(subject)).has(descriptor.digest);
    const upToDate = isListed && (await target.exists(descriptor, { signal }));
    if (!upToDate) {
      await this.#pushContent(manifest);
      await putManifest(this.#session, manifest);
    }
    const made = { subject: subject.digest, digest: descriptor.digest, upToDate };
    this.#made.set(key, made);
    return made;
  }

  async #tag(accelerated: Descriptor, manifest: ImageManifest, original: string): Promise<ReferrerCopy | undefined> {
    const { target, signal } = this.#session;
    const tag = `${referrerTag(accelerated.digest)}${original.slice(original.indexOf('.'))}`;
    const digest = digestOf(encodeJson(manifest));
    const made = { subject: accelerated.digest, digest, tag };
    const present = await findDocument(target, tag, { signal });
    if (present?.descriptor.digest === digest) return { ...made, upToDate: true };
    if (present !== undefined) {
      const { document } = present;
      const isOurs = document.kind === 'manifest' && attachedTo(document.manifest.annotations) === accelerated.digest;
      if (!isOurs) return undefined;
    }
    await this.#pushContent(manifest);
    await target.tag(await putManifest(this.#session, manifest), tag, { signal });
    return { ...made, upToDate: false };
  }

  /** Digests of the referrers that an accelerated image has. */
  #listOf(subject: Descriptor): Promise<ReadonlySet<string>> {
    const { target, signal } = this.#session;
    const known = this.#listed.get(subject.digest);
    if (known !== undefined || !canRefer(target)) return known ?? Promise.resolve(new Set<string>());
    const listing = target
      .referrers(subject, undefined, { signal })
      .then((entries) => new Set(entries.map(({ digest }) => digest)));
    this.#listed.set(subject.digest, listing);
    return listing;
  }

  async #pushContent({ config, layers }: ImageManifest): Promise<void> {
    const { source, target, mountFrom, signal } = this.#session;
    for (const descriptor of new Map([config, ...layers].map((one) => [one.digest, one])).values()) {
      if (descriptor.digest === digestOf(EMPTY_BYTES)) await putBytes(this.#session, EMPTY_BYTES, descriptor.mediaType);
      else await copyContent(source, target, descriptor, { mountFrom, signal });
    }
  }
}
