/** From an order to the request of the converter: the same for the decision and for the conversion. */
import type { ConvertRequest } from '../../converter/options.ts';
import { fitOutputNames } from '../../converter/plan/output-names.ts';
import { completeRequest, defaultOutputs } from '../../converter/settings.ts';
import type { ConversionOrder } from './conversion.ts';

/** Means of a conversion. */
export interface ConversionMeans {
  readonly workDirectory?: string | undefined;
}

/**
 * The request of an order whose tag has the digest. Throws `tag-too-long` for a tag that leaves no room for the suffix,
 * `reference-invalid` for a target that cannot be.
 */
export function conversionRequest(order: ConversionOrder, digest: string, means: ConversionMeans = {}): ConvertRequest {
  const { mode, platforms, prefetch, targetRepository, algorithm, blockSize } = order.rule.options;
  const target = targetRepository ?? order.repository;
  return fitOutputNames(
    completeRequest({
      repository: order.repository,
      ...(target === order.repository ? {} : { targetRepository: target }),
      // By its digest: the tag may move meanwhile.
      source: { digest },
      outputs: defaultOutputs(order.tag, mode),
      platforms,
      artifact: {
        ...(algorithm === undefined ? {} : { algorithm }),
        ...(blockSize === undefined ? {} : { blockSize }),
      },
      ...(prefetch === undefined ? {} : { prefetch: { lines: prefetch } }),
      ...(order.force === true ? { force: true } : {}),
      ...(means.workDirectory === undefined ? {} : { workDirectory: means.workDirectory }),
    }),
  );
}
