/** From the inputs of the Action to the request that the converter takes. */

import { chooseOutputs } from '../cli/output-tags.ts';
import { type ConvertRequest, DEFAULT_ARTIFACT } from '../converter/options.ts';
import { defaultWorkers } from '../converter/settings.ts';
import type { EventDecision } from '../triggers/decide.ts';
import type { ActionInputs } from './inputs.ts';

/** Manifests and uploads in flight. */
const CONCURRENCY = 4;

/** The request for an image that is to be converted. Throws `usage` or `tag-too-long` before anything is done. */
export function actionRequest(
  inputs: ActionInputs,
  { repository, source }: Extract<EventDecision, { event: 'convert' }>,
): ConvertRequest {
  return {
    repository,
    ...(inputs.prefetch === undefined ? {} : { prefetch: { lines: inputs.prefetch } }),
    ...(inputs.targetRepository === undefined ? {} : { targetRepository: inputs.targetRepository }),
    source,
    outputs: chooseOutputs({
      // With both a tag and a digest the tag names the result alone.
      inputTag: source.tag ?? inputs.tag,
      outputTag: inputs.outputTag,
      overlaybd: undefined,
      turboOci: undefined,
      mode: inputs.mode,
    }),
    artifact: { ...DEFAULT_ARTIFACT, referrer: inputs.referrer },
    platforms: inputs.platforms,
    concurrency: CONCURRENCY,
    workers: defaultWorkers(),
    noUpload: false,
    cache: inputs.cache,
    ...(inputs.pieceList ? {} : { pieceList: false }),
    ...(inputs.recordKey === undefined ? {} : { recordKey: inputs.recordKey }),
    verifyReused: inputs.verifyReused,
    ...(inputs.noPrefetch ? { noPrefetch: true } : {}),
    ...(inputs.copyReferrers ? { copyReferrers: true } : {}),
    force: inputs.force,
  };
}
