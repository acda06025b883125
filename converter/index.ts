/** accel as a library: what `import … from 'accel-image'` gives. */
export { AccelError, type AccelErrorCode, type ErrorPlace } from '../base/error.ts';
export { VERSION } from '../base/version.ts';
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
  TagResult,
} from './options.ts';
export { DEFAULT_ARTIFACT } from './options.ts';
export type { ConvertPlan, LayerPlan } from './plan.ts';
export {
  type DecideContext,
  decideEvent,
  decideImage,
  type EventDecision,
  type EventRequest,
  type FinishedTag,
  type NamedRequest,
} from './trigger/decide.ts';
export type { SkipCode } from './trigger/payload.ts';
