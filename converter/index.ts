/** accel as a library: what `import … from 'accel-image'` gives. */
export { AccelError, type AccelErrorCode, type ErrorPlace } from '../base/error.ts';
export { VERSION } from '../base/version.ts';
export {
  type AddPrefetchRequest,
  type AddPrefetchResult,
  addPrefetch,
} from './add-prefetch.ts';
export { type ConvertSurroundings, convert, convertBetween, type Places, planConversion } from './convert.ts';
export type { ConvertEvent, EventSink, LayerId, LayerKind, LayerOutput, StageTimes } from './events.ts';
export type {
  Algorithm,
  ArtifactOptions,
  ConvertContext,
  ConvertRequest,
  ConvertResult,
  LayerResult,
  ManifestResult,
  Mode,
  OutputTag,
  PrefetchRequest,
  PrefetchResult,
  TagResult,
} from './options.ts';
export { DEFAULT_ARTIFACT } from './options.ts';
export type { ConvertPlan, LayerPlan } from './plan.ts';
