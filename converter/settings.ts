/** Completes a request with defaults: the same for the library and the command line. */

import { availableParallelism } from 'node:os';
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import { ACCELERATED_SUFFIX, CONTAINERD_SUFFIX } from '../formats/overlaybd/tag-suffixes.ts';
import { type ArtifactOptions, type ConvertRequest, DEFAULT_ARTIFACT, type Mode, type OutputTag } from './options.ts';

/** A request of which only the repository and the source must be given. */
export interface ConvertSettings extends Partial<Omit<ConvertRequest, 'artifact'>> {
  readonly repository: string;
  readonly source: ConvertRequest['source'];
  /** Selects the tags of {@link defaultOutputs}, unless `outputs` is set. */
  readonly mode?: Mode;
  /** Omitted options are those of {@link DEFAULT_ARTIFACT}. */
  readonly artifact?: Partial<ArtifactOptions>;
}

/** More threads would be idle: one thread reads a layer. */
const MAX_DEFAULT_WORKERS = 8;
/** Manifests and uploads in flight. */
const DEFAULT_CONCURRENCY = 4;

/**
 * Default number of compress threads: leaves a processor to the threads that read, but of two only what they leave over, since those
 * are idle a third of the time while one thread compresses.
 */
export function defaultWorkers(): number {
  const processors = availableParallelism();
  return Math.min(MAX_DEFAULT_WORKERS, processors < 3 ? processors : processors - 1);
}

/**
 * The default tags of a conversion: full mode makes two, `TAG_accelerated` and
 * `TAG_containerd_accelerated`, index-only mode only `TAG_accelerated`. Throws `usage` without a tag.
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

/** Completes a request. Throws `usage` if no tag is named and the source has none. */
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

/** Default memory limit of a conversion, in bytes. */
export const DEFAULT_MAX_MEMORY = 2 ** 29;
