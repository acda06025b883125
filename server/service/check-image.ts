/** `accel serve check IMAGE`: which rule an image meets, and why the rules before it do not cover it. Asks no registry. */
import { AccelError } from '../../base/error.ts';
import { formatReference, parseReference, withoutTag } from '../../oci/reference.ts';
import type { RuleOptions, RuleVerdict } from '../../triggers/rules/match-rule.ts';
import type { Config } from '../config/schema.ts';
import { loadRules } from './load-rules.ts';

/** The answer about an image. */
export interface ImageCheck {
  /** `host[:port]/repository:tag`. */
  readonly image: string;
  /** Absent where no rule covers the image. */
  readonly rule?: { readonly number: number; readonly options: RuleOptions };
  /** One for each rule up to the one that covers it. */
  readonly verdicts: readonly RuleVerdict[];
}

/** Finds the rule of an image; the tag is `latest` unless given. Throws `usage` for an image that is not in a registry. */
export async function checkImage(config: Config, image: string): Promise<ImageCheck> {
  const reference = parseReference(image);
  if (reference.kind !== 'registry' || reference.digest !== undefined) {
    throw new AccelError('usage', 'rules are about tags of a registry', {
      expected: 'HOST/REPOSITORY:TAG',
      found: image,
    });
  }
  const { tag = 'latest' } = reference;
  const repository = formatReference(withoutTag(reference));
  const { rule, verdicts } = (await loadRules(config)).match({ repository, tag });
  return {
    image: `${repository}:${tag}`,
    ...(rule === undefined ? {} : { rule: { number: rule.number, options: rule.options } }),
    verdicts,
  };
}
