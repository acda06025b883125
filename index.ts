/** accel as a library: what `import … from 'accel-image'` gives. */
export type { Advice, OptionName, OptionReference } from './base/advice.ts';
export { AccelError, type AccelErrorCode, type ErrorPlace } from './base/error.ts';
export { VERSION } from './base/version.ts';
export { convert, convertBetween, planConversion } from './converter/convert.ts';
export type { ConvertSurroundings, Endpoints, Endpoints as Places } from './converter/endpoints.ts';
export type { ConvertEvent, EventSink, LayerId, LayerKind, LayerOutput, StageTimes } from './converter/events.ts';
export { Threads } from './converter/layer/workers/threads.ts';
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
  ReferrerCopy,
  ReferrerResult,
  TagResult,
} from './converter/options.ts';
export { DEFAULT_ARTIFACT } from './converter/options.ts';
export type { ConvertPlan, LayerPlan } from './converter/plan/dry-run.ts';
export { type AddPrefetchRequest, type AddPrefetchResult, addPrefetch } from './converter/prefetch/add-prefetch.ts';
export { type ConvertSettings, defaultOutputs } from './converter/settings.ts';
export type * from './inspect/facts.ts';
export { inspect } from './inspect/inspect-by-name.ts';
export type { ReferrerAbout, ReferrerBase, ReferrerKind } from './oci/referrer-kinds.ts';
export type { RegistryOptions } from './oci/registry/registry-options.ts';
export type { FileStat, ImageFiles } from './reader/files.ts';
export { type Named, type NameOptions, type OpenedImage, type OpenOptions, openImage } from './reader/open-by-name.ts';
export type { TrafficStatistics } from './reader/traffic.ts';
export {
  type DecideContext,
  decideEvent,
  decideImage,
  type EventDecision,
  type EventRequest,
  type FinishedTag,
  type NamedRequest,
} from './triggers/decide.ts';
export type { SkipCode } from './triggers/payload.ts';
export { type VerifyOptions, verify } from './verify/verify-by-name.ts';
export type { Difference, VerifyProgress, VerifyReport } from './verify/verify-image.ts';
export type { VerifyResult } from './verify/verify-reference.ts';
