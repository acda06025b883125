/** Lists the tags of a repository that rules cover. */
import { LAYER_RECORD } from '../../formats/overlaybd/annotations.ts';
import { TAG_SUFFIXES } from '../../formats/overlaybd/tag-suffixes.ts';
import { canListTags } from '../../oci/powers.ts';
import type { Target } from '../../oci/storage.ts';
import type { MatchedRule, RuleSet } from './match-rule.ts';

/** A tag, and the rule that covers it. */
export interface CoveredTag {
  readonly tag: string;
  readonly rule: MatchedRule;
}

/** The tags that rules cover, sorted. `repository` is the name that rules have for the target. Throws what the target throws. */
export async function coveredTags(
  target: Target,
  { repository, rules }: { readonly repository: string; readonly rules: RuleSet },
  signal: AbortSignal,
): Promise<readonly CoveredTag[]> {
  const tags = canListTags(target) ? await target.tags({ signal }) : [];
  return tags.flatMap((tag) => {
    const { rule } = rules.match({ repository, tag });
    return rule === undefined ? [] : [{ tag, rule }];
  });
}

/** Whether a tag has a name that conversions make. Its content decides what it is. */
export function isOwnName(tag: string): boolean {
  return tag === LAYER_RECORD.tag || TAG_SUFFIXES.some((suffix) => tag.endsWith(suffix));
}
