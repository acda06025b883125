/** Does what a plan says, after another look at the registry right before each removal: a plan is older than what it speaks of. */
import { AccelError, asAccelError } from '../../base/error.ts';
import { loadDocument, unlessMissing } from '../../oci/document.ts';
import type { ManifestRemover, ReadOptions, TagLister, Target } from '../../oci/storage.ts';
import { decodeRecord } from '../publish/record-annotations.ts';
import { attachedTo } from '../referrers/attached-documents.ts';
import type { FindBase } from './find-bases.ts';
import { type BaseFacts, basesOf, type PrunePlan, type Removal } from './plan-prune.ts';
import { digestOfTag, type RepositoryTags, readTag } from './read-tags.ts';

/** Facts for a plan. */
export interface Look {
  readonly tags: RepositoryTags;
  readonly bases: ReadonlyMap<string, BaseFacts>;
}

/** A target whose tags can be listed and removed. */
export type PrunableTarget = Target & TagLister & ManifestRemover;

/** Parts of a run of removals. */
export interface RemovalRun {
  readonly target: PrunableTarget;
  readonly findBase: FindBase;
  /** Looks at everything. */
  readonly look: (before: RepositoryTags) => Promise<Look>;
  readonly plan: (look: Look) => PrunePlan;
  /** Whether ages are read. */
  readonly ages: boolean;
  readonly pace: () => Promise<void>;
  readonly onRemoved: (removal: Removal) => void | Promise<void>;
  readonly signal: AbortSignal;
}

/** Results of the removals. */
export interface Removals {
  /** With the children that were removed in fact. */
  readonly removed: readonly Removal[];
  readonly problems: readonly string[];
  /** The last look, without what was removed. */
  readonly tags: RepositoryTags;
}

/**
 * Tags of a repository that is looked at as a whole before each removal. In a larger one the tags of the digest, their bases and new tags
 * are; the whole again after twice the time that the last look took.
 */
const FEW_TAGS = 100;
/** Removals that may fail one after another before the others are left. */
const MAX_FAILURES = 3;

/** Removes what `planned` and each later look at the registry agree on. A removal that fails is a problem; after three in a row it ends. */
export async function removePlanned(planned: PrunePlan, before: RepositoryTags, run: RemovalRun): Promise<Removals> {
  const { target, pace, signal } = run;
  const removed: Removal[] = [];
  const problems: string[] = [];
  let failures = 0;
  const lookAll = async (known: RepositoryTags): Promise<{ seen: Look; next: number }> => {
    const start = performance.now();
    const seen = await run.look(known);
    const end = performance.now();
    return { seen, next: seen.tags.tags.length > FEW_TAGS ? end + 2 * (end - start) : end };
  };
  let { seen, next } = await lookAll(before);
  for (const [index, { digest }] of planned.removals.entries()) {
    await pace();
    if (failures === MAX_FAILURES) {
      problems.push(
        `${target.name}: ${planned.removals.length - index} more removals are left after ${failures} failures`,
      );
      break;
    }
    try {
      if (performance.now() >= next) ({ seen, next } = await lookAll(seen.tags));
      seen = await lookAtTagsOf(digest, seen, run);
      const removal = run.plan(seen).removals.find((one) => one.digest === digest);
      if (removal === undefined) {
        problems.push(`${target.name}@${digest} is kept: its tags or their bases have changed meanwhile`);
        continue;
      }
      const outcome = await target.removeManifest(digest, { signal });
      seen = { ...seen, tags: without(seen.tags, digest) };
      if (outcome === 'absent') continue;
      const children = await removeChildren(removal, seen.tags, run);
      const done = { ...removal, children };
      removed.push(done);
      await run.onRemoved(done);
      failures = 0;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AccelError) || error.code === 'internal') throw error;
      failures += 1;
      problems.push(`${target.name}@${digest} is not removed: ${asAccelError(error).message}`);
    }
  }
  return { removed, problems, tags: seen.tags };
}

/** The look with the tags of a digest as they are now, those of their bases, and those that have appeared. */
async function lookAtTagsOf(digest: string, { tags: before, bases }: Look, run: RemovalRun): Promise<Look> {
  const { target, findBase, ages, signal } = run;
  const own = before.tags.filter((facts) => facts.digest === digest);
  const baseNames = new Set(own.flatMap(basesOf));
  const listed = await target.tags({ signal });
  const fresh = listed.filter((tag) => !before.byTag.has(tag) && !before.broken.includes(tag));
  const names = new Set([...own.map(({ tag }) => tag), ...baseNames, ...fresh]);
  const byTag = new Map(before.byTag);
  const broken = new Set(before.broken);
  for (const tag of names) {
    const known = byTag.get(tag);
    const now = await digestOfTag(target, tag, { signal });
    if (known !== undefined && known.digest === now) continue;
    byTag.delete(tag);
    broken.delete(tag);
    const facts = now === undefined ? undefined : await readTag(target, tag, { signal, ages });
    if (facts !== undefined) byTag.set(tag, facts);
    else if (listed.includes(tag)) broken.add(tag);
  }
  const tags: RepositoryTags = { tags: [...byTag.values()], byTag, broken: [...broken] };
  const asked = new Map(bases);
  const unknown = fresh.flatMap((tag) => (byTag.has(tag) ? basesOf(byTag.get(tag)!) : []));
  for (const base of new Set([...baseNames, ...unknown])) asked.set(base, await findBase(base, tags));
  return { tags, bases: asked };
}

function without({ tags, broken }: RepositoryTags, digest: string): RepositoryTags {
  const left = tags.filter((facts) => facts.digest !== digest);
  return { tags: left, byTag: new Map(left.map((facts) => [facts.tag, facts])), broken };
}

/** Removes the manifests of a removed index that are proven ours and that nothing else leads to; the digests of those removed. */
async function removeChildren(
  { children }: Removal,
  { tags }: RepositoryTags,
  { target, signal, pace }: RemovalRun,
): Promise<string[]> {
  const needed = new Set(
    tags.flatMap(({ digest, children: others = [], listed }) => [digest, ...(listed ? [] : others)]),
  );
  const removed: string[] = [];
  for (const child of children) {
    if (needed.has(child)) continue;
    await pace();
    if (!(await isOursByContent(target, child, { signal }))) continue;
    if ((await target.removeManifest(child, { signal })) === 'removed') removed.push(child);
  }
  return removed;
}

/** Whether a manifest has annotations by which accel made it; false where it does not exist. */
export async function isOursByContent(target: Target, digest: string, options: ReadOptions): Promise<boolean> {
  const document = await unlessMissing(async () =>
    loadDocument(target, await target.resolve(digest, options), options),
  );
  if (document === undefined) return false;
  const { annotations } = document.kind === 'index' ? document.index : document.manifest;
  return decodeRecord(annotations) !== undefined || attachedTo(annotations) !== undefined;
}
