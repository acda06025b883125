/** What a caller may leave out of a request, and what stands in then: the same for the library and the command line. */

import { availableParallelism } from 'node:os';
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import { ACCELERATED_SUFFIX, CONTAINERD_SUFFIX } from '../formats/overlaybd/tag-suffixes.ts';
import { type ArtifactOptions, type ConvertRequest, DEFAULT_ARTIFACT, type Mode, type OutputTag } from './options.ts';

/** A request of which only the repository and the source must be given. */
export interface ConvertSettings extends Partial<Omit<ConvertRequest, 'artifact'>> {
  readonly repository: string;
  readonly source: ConvertRequest['source'];
  /** The tags that {@link defaultOutputs} names, unless `outputs` names others. */
  readonly mode?: Mode;
  /** {@link DEFAULT_ARTIFACT} where nothing is said. */
  readonly artifact?: Partial<ArtifactOptions>;
}

/** More threads than this find nothing to do: the reading of a layer is one thread. */
const MAX_DEFAULT_WORKERS = 8;
/** Manifests and uploads in flight. */
const DEFAULT_CONCURRENCY = 4;

/** Compress threads by default: one processor stays with the thread that reads. */
export function defaultWorkers(): number {
  return Math.min(MAX_DEFAULT_WORKERS, Math.max(1, availableParallelism() - 1));
}

/**
 * The tags that a conversion of a tag makes unless it is told others: full mode two, `TAG_accelerated` and
 * `TAG_containerd_accelerated`, index-only mode `TAG_accelerated` alone. Throws `usage` without a tag.
 */
export function defaultOutputs(tag: string | undefined, mode: Mode = 'full'): OutputTag[] {
  if (tag === undefined) {
    throw new AccelError('usage', 'a source given by digest alone has no tag to name the result after', {
      hint: advise`Name the result with ${option('outputTag', 'TAG')}.`,
    });
  }
  if (mode === 'index-only') return [{ tag: tag + ACCELERATED_SUFFIX, kind: 'index-only' }];
  return [
    { tag: tag + ACCELERATED_SUFFIX, kind: 'full' },
    { tag: tag + CONTAINERD_SUFFIX, kind: 'containerd' },
  ];
}

/** The whole request; throws `usage` when no tag is named and none follows from the source. */
export function completeRequest({ mode, artifact, ...settings }: ConvertSettings): ConvertRequest {
  return {
    platforms: [],
    concurrency: DEFAULT_CONCURRENCY,
    workers: defaultWorkers(),
    noUpload: false,
    cache: true,
    force: false,
    ...settings,
    outputs: settings.outputs ?? defaultOutputs(settings.source.tag, mode),
    artifact: { ...DEFAULT_ARTIFACT, ...artifact },
  };
}

/** What threads and buffers of a conversion are sized for where nothing is said, in bytes. */
export const DEFAULT_MAX_MEMORY = 2 ** 29;
