/** From the options of a rule to the request of a conversion: the same for the service and for `accel convert`. */
import type { ConvertRequest } from '../../converter/options.ts';
import { fitOutputNames } from '../../converter/plan/output-names.ts';
import { type ConvertSettings, completeRequest, defaultOutputs } from '../../converter/settings.ts';
import type { RuleOptions } from './match-rule.ts';

/** An image that a rule covers. */
export interface CoveredImage {
  readonly repository: string;
  readonly tag: string;
  /** Digest of the tag, where it was looked at. */
  readonly digest?: string;
}

/**
 * The request for an image; `more` has what rules do not say, such as threads and memory. Throws `tag-too-long` for a tag that leaves no
 * room for the suffix, `reference-invalid` for a target that cannot be.
 */
export function ruleRequest(
  { mode, platforms, prefetch, targetRepository, algorithm, level, blockSize, layout }: RuleOptions,
  { repository, tag, digest }: CoveredImage,
  more: Partial<ConvertSettings> = {},
): ConvertRequest {
  return fitOutputNames(
    completeRequest({
      ...more,
      repository,
      ...(targetRepository === undefined || targetRepository === repository ? {} : { targetRepository }),
      source: digest === undefined ? { tag } : { digest },
      outputs: defaultOutputs(tag, mode),
      platforms,
      artifact: {
        ...(algorithm === undefined ? {} : { algorithm }),
        ...(level === undefined ? {} : { level }),
        ...(blockSize === undefined ? {} : { blockSize }),
        ...(layout === undefined ? {} : { layout }),
      },
      ...(prefetch === undefined ? {} : { prefetch: { lines: prefetch } }),
    }),
  );
}
