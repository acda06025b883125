/**
 * Leftovers of images that refer to their base (the option `referrer` of a conversion), and of what a conversion attached to its results, in repositories where an index under a tag lists referrers
 * (distribution-spec v1.1, "Referrers Tag Schema"): entries of what is gone, and images without a tag whose subject is gone. Entries of
 * others, such as signatures, are kept.
 */
import { bytesSource } from '../../base/byte-source.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import { loadIndex, unlessMissing } from '../../oci/document.ts';
import { encodeJson } from '../../oci/manifest.ts';
import { OCI } from '../../oci/media-types.ts';
import { canMoveTags } from '../../oci/powers.ts';
import { type AttachedOptions, pruneAttached } from './attached-copies.ts';
import type { TagFacts } from './plan-prune.ts';
import type { RepositoryTags } from './read-tags.ts';
import { isOursByContent, type PrunableTarget } from './remove-planned.ts';

/** Leftovers in lists of referrers. */
export interface ReferrerLeftovers {
  /** Images of accel without a tag, whose subject is gone; they were removed unless it was a dry run. */
  readonly untagged: readonly string[];
  /** Entries of lists whose image is gone, or goes. */
  readonly entries: number;
  readonly problems: readonly string[];
}

/** Finds the leftovers, and removes them unless it is a dry run. `tags` is the repository without what the plan has removed. */
export async function pruneReferrers(
  target: PrunableTarget,
  { tags }: Pick<RepositoryTags, 'tags'>,
  options: AttachedOptions,
): Promise<ReferrerLeftovers> {
  const { leaving, dryRun, signal, pace } = options;
  const untagged: string[] = [];
  const problems: string[] = [];
  let entries = 0;
  const staying = tags.filter(({ digest, listed }) => listed === undefined && !leaving.has(digest));
  // An unreadable index may need anything: then nothing without a tag is touched.
  const isReadable = staying.every(({ children }) => children !== undefined);
  const needed = new Set(staying.flatMap(({ digest, children = [] }) => [digest, ...children]));
  for (const list of tags) {
    const gone = new Set<string>();
    let isSubjectGone: boolean | undefined;
    for (const digest of list.listed ?? []) {
      await pace();
      const isNeeded = needed.has(digest);
      if (leaving.has(digest)) gone.add(digest);
      else if ((await unlessMissing(() => target.resolve(digest, { signal }))) === undefined) gone.add(digest);
      else if (!isNeeded && isReadable) {
        isSubjectGone ??= await subjectIsGone(target, list.tag, options);
        if (!isSubjectGone || !(await isOursByContent(target, digest, { signal }))) continue;
        if (!dryRun) await target.removeManifest(digest, { signal });
        untagged.push(digest);
        gone.add(digest);
      }
    }
    entries += gone.size;
    if (gone.size === 0 || dryRun) continue;
    const isShared = tags.some(({ tag, digest }) => tag !== list.tag && digest === list.digest);
    if (!(await dropEntries(target, list, { gone, isShared, signal }))) {
      problems.push(`${target.name}:${list.tag} keeps its entries: it has changed meanwhile`);
    }
  }
  untagged.push(...(await pruneAttached(target, { tags }, options)));
  return { untagged, entries, problems };
}

/** A subject by the tag of its list; a SHA-512 is cut in the tag, so that it is not known. */
async function subjectIsGone(
  target: PrunableTarget,
  tag: string,
  { leaving, signal }: AttachedOptions,
): Promise<boolean> {
  const [algorithm, hex] = tag.split('-');
  if (algorithm !== 'sha256') return false;
  if (leaving.has(`sha256:${hex}`)) return true;
  return (await unlessMissing(() => target.resolve(`sha256:${hex}`, { signal }))) === undefined;
}

/** Writes a list without some entries, or removes it where none is left. False: somebody else has changed it. */
async function dropEntries(
  target: PrunableTarget,
  { tag, digest }: TagFacts,
  { gone, isShared, signal }: { gone: ReadonlySet<string>; isShared: boolean; signal: AbortSignal },
): Promise<boolean> {
  const options = { signal };
  const found = await unlessMissing(() => target.resolve(tag, options));
  if (found?.digest !== digest) return false;
  const index = await loadIndex(target, found, options);
  const manifests = index.manifests.filter((entry) => !gone.has(entry.digest));
  if (manifests.length === 0 && !isShared) {
    await target.removeManifest(digest, options);
    return true;
  }
  const bytes = encodeJson({ ...index, manifests });
  const next: Descriptor = { mediaType: OCI.index, digest: digestOf(bytes), size: bytes.length };
  await target.push(next, bytesSource(bytes), options);
  if (canMoveTags(target)) return target.moveTag(next, { tag, previous: digest }, options);
  await target.tag(next, tag, options);
  return true;
}
