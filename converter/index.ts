/** accel as a library: what `import … from 'accel-image'` gives. */
export { AccelError, type AccelErrorCode, type ErrorPlace } from '../base/error.ts';
export { VERSION } from '../base/version.ts';
export type { RegistryOptions } from '../oci/registry/options.ts';
export {
  inspect,
  type Named,
  type NameOptions,
  type OpenedImage,
  type OpenOptions,
  openImage,
  type VerifyOptions,
  verify,
} from '../reader/by-name.ts';
export type { FileStat, ImageFiles } from '../reader/files.ts';
export type * from '../reader/inspect/facts.ts';
export type { TrafficStatistics } from '../reader/traffic.ts';
export type { Difference, VerifyProgress, VerifyReport } from '../reader/verify.ts';
export type { VerifyResult } from '../reader/verify-reference.ts';
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
export { type ConvertSettings, defaultOutputs } from './settings.ts';
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
