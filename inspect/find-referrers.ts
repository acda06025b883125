/** Lists what refers to an image and to its source: signatures, attestations, bills of materials, and accel's copies and links. */
import { mapBounded } from '../base/limiter.ts';
import { REFERRER_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { findDocument } from '../oci/document.ts';
import { type FoundReferrer, listReferrersOf } from '../oci/list-referrers.ts';
import type { ReadOptions, Target } from '../oci/storage.ts';
import type { InspectReport, ReferrerFacts } from './facts.ts';

/** Most manifests whose referrers are listed, of the image and of its source together. */
const MAX_SUBJECTS = 64;
/** Manifests whose referrers are listed at a time. */
const PARALLEL = 4;

/** Lists the referrers of all manifests of a report, and of what they were made from, as far as the same place has them. */
export async function referrersOf(
  target: Target,
  { digest, images, sourceDigest }: InspectReport,
  options: ReadOptions,
): Promise<readonly ReferrerFacts[]> {
  const own = [digest, ...images.map((image) => image.digest)];
  const bases = images.flatMap((image) => (image.accelerated && image.base !== undefined ? [image.base.digest] : []));
  const sources = [...(sourceDigest === undefined ? [] : [sourceDigest]), ...bases];
  const subjects = new Map<string, ReferrerFacts['of']>([
    ...sources.map((one) => [one, 'source'] as const),
    ...own.map((one) => [one, 'image'] as const),
  ]);
  const lists = await mapBounded([...subjects].slice(0, MAX_SUBJECTS), PARALLEL, async ([subject, of]) => {
    const named = await findDocument(target, subject, options);
    const index = named?.document.kind === 'index' ? named.document.index : undefined;
    const { found } = await listReferrersOf(target, { digest: subject }, { ...options, index });
    return found.map((referrer) => factsOf(referrer, { of, subject }));
  });
  return lists.flat().sort((one, other) => (one.of === other.of ? 0 : one.of === 'image' ? -1 : 1));
}

function factsOf({ manifest, ...facts }: FoundReferrer, whose: Pick<ReferrerFacts, 'of' | 'subject'>): ReferrerFacts {
  const notes = manifest?.annotations ?? {};
  const { [REFERRER_ANNOTATION.copiedFrom]: copiedFrom, [REFERRER_ANNOTATION.linkedKind]: linkedKind } = notes;
  const isOurs = copiedFrom !== undefined || linkedKind !== undefined;
  const { [REFERRER_ANNOTATION.sourceDigest]: digest, [REFERRER_ANNOTATION.sourceRepository]: repository } = notes;
  return {
    ...whose,
    ...facts,
    ...(copiedFrom === undefined ? {} : { copiedFrom }),
    ...(linkedKind === undefined ? {} : { linkedKind }),
    ...(!isOurs || digest === undefined
      ? {}
      : { source: { digest, ...(repository === undefined ? {} : { repository }) } }),
  };
}
