/** Finds the images that rules cover: in the repositories that they name or that a catalogue lists, or in given ones. */
import { type AccelError, asAccelError } from '../../base/error.ts';
import { awaitAll, Limiter } from '../../base/limiter.ts';
import { coveredTags } from '../rules/covered-tags.ts';
import { findRepositories, type UnreadCatalogue } from '../rules/find-repositories.ts';
import type { MatchedRule, RuleSet } from '../rules/match-rule.ts';
import type { TargetPool } from './target-pool.ts';

/** Repositories whose tags are listed at a time. */
const AT_ONCE = 8;

/** An image that a rule covers. */
export interface FoundImage {
  readonly repository: string;
  readonly tag: string;
  readonly rule: MatchedRule;
}

/** Images, and the places that could not be read. */
export interface FoundImages {
  /** By repository and tag, sorted. */
  readonly images: readonly FoundImage[];
  readonly repositories: readonly string[];
  readonly unread: readonly UnreadCatalogue[];
  readonly failed: readonly { readonly repository: string; readonly error: AccelError }[];
}

/** Finds the images; without `repositories` those that the rules' patterns mean. Throws the signal's reason. */
export async function findImages(
  rules: RuleSet,
  { pool, repositories: given }: { readonly pool: TargetPool; readonly repositories?: readonly string[] },
  signal: AbortSignal,
): Promise<FoundImages> {
  const registries = { hosts: [], options: () => Promise.resolve(pool.registry) };
  const { repositories, unread } =
    given === undefined
      ? await findRepositories(rules.repositories, { rules, registries }, signal)
      : { repositories: given, unread: [] };
  const failed: { repository: string; error: AccelError }[] = [];
  const limiter = new Limiter(AT_ONCE);
  const listing = repositories.map((repository) =>
    limiter.run(async () => {
      try {
        const target = await pool.source(repository);
        const tags = await coveredTags(target, { repository, rules }, signal);
        return tags.map(({ tag, rule }) => ({ repository, tag, rule }));
      } catch (error) {
        signal.throwIfAborted();
        failed.push({ repository, error: asAccelError(error) });
        return [];
      }
    }),
  );
  const images = (await awaitAll(listing)).flat();
  return { images, repositories, unread, failed };
}
