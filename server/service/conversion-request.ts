/** From an order to the request of the converter: the same for the decision and for the conversion. */
import type { ConvertRequest } from '../../converter/options.ts';
import { ruleRequest } from '../../triggers/rules/rule-request.ts';
import type { ConversionOrder } from './conversion.ts';

/** Means of a conversion. */
export interface ConversionMeans {
  readonly workDirectory?: string | undefined;
}

/**
 * The request of an order whose tag has the digest; by that digest, for the tag may move meanwhile, or by the tag where it has not been
 * looked at. Throws `tag-too-long` for a tag that leaves no room for the suffix, `reference-invalid` for a target that cannot be.
 */
export function conversionRequest(
  order: ConversionOrder,
  digest: string | undefined,
  means: ConversionMeans = {},
): ConvertRequest {
  const { repository, tag, rule, force } = order;
  return ruleRequest(
    rule.options,
    { repository, tag, ...(digest === undefined ? {} : { digest }) },
    {
      ...(force === true ? { force: true } : {}),
      ...(means.workDirectory === undefined ? {} : { workDirectory: means.workDirectory }),
    },
  );
}
