/**
 * Finds what accel attached to accelerated images that are gone or go (converter/referrers): copies under tags of cosign, and copies and links in
 * registries that list referrers by themselves. Those in lists under a tag are found by referrer-lists.ts.
 */
import { loadDocument, unlessMissing } from '../../oci/document.ts';
import { canRefer } from '../../oci/powers.ts';
import { referrerTag } from '../../oci/referrers.ts';
import type { ReadOptions, Target } from '../../oci/storage.ts';
import { attachedTo } from '../referrers/attached-documents.ts';
import { groupByDigest } from './plan-prune.ts';
import type { RepositoryTags } from './read-tags.ts';
import type { PrunableTarget } from './remove-planned.ts';

/** A copy that accel keeps under a tag of cosign. */
const COPY_TAG = /^sha256-([0-9a-f]{64})\.sbom$/;

/** Settings of {@link pruneAttached}. */
export interface AttachedOptions {
  readonly dryRun: boolean;
  /** Digests that are removed by the plan. */
  readonly leaving: ReadonlySet<string>;
  readonly pace: () => Promise<void>;
  readonly signal: AbortSignal;
}

/** Digests of what is attached to nothing any more; removed unless it is a dry run. */
export async function pruneAttached(
  target: PrunableTarget,
  { tags }: Pick<RepositoryTags, 'tags'>,
  { leaving, dryRun, pace, signal }: AttachedOptions,
): Promise<string[]> {
  const options = { signal };
  const found = new Map<string, string>();
  const tagsOf = groupByDigest(tags);
  for (const { tag, digest } of tags) {
    const hex = COPY_TAG.exec(tag)?.[1];
    if (hex === undefined) continue;
    await pace();
    const subject = `sha256:${hex}`;
    const isGone = leaving.has(subject) || (await unlessMissing(() => target.resolve(subject, options))) === undefined;
    // Removing a manifest removes all of its tags.
    if (isGone && tagsOf.get(digest)!.length === 1) found.set(digest, subject);
  }
  const lists = new Set(tags.filter(({ listed }) => listed !== undefined).map(({ tag }) => tag));
  const place: Target = target;
  for (const subject of leaving) {
    if (!canRefer(place) || lists.has(referrerTag(subject))) continue;
    await pace();
    for (const { digest } of await place.referrers({ digest: subject }, undefined, options)) {
      if (tagsOf.get(digest) === undefined) found.set(digest, subject);
    }
  }
  const removed: string[] = [];
  for (const [digest, subject] of found) {
    if ((await attachedBy(target, digest, options)) !== subject) continue;
    if (!dryRun) await target.removeManifest(digest, options);
    removed.push(digest);
  }
  return removed;
}

/** The image that a manifest of accel is attached to, by its own content. */
async function attachedBy(target: PrunableTarget, digest: string, options: ReadOptions): Promise<string | undefined> {
  const document = await unlessMissing(async () =>
    loadDocument(target, await target.resolve(digest, options), options),
  );
  return document?.kind === 'manifest' ? attachedTo(document.manifest.annotations) : undefined;
}
