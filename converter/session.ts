/** What all parts of one conversion share. */

import type { Limiter } from '../base/limiter.ts';
import type { MemoryBudget } from '../formats/ext4/state/memory-budget.ts';
import type { Target } from '../oci/storage.ts';
import type { ConvertEvent } from './events.ts';
import type { Spool } from './layer/spool.ts';
import type { Threads } from './layer/workers/threads.ts';
import type { ConvertRequest } from './options.ts';
import type { KeptLists } from './prefetch/kept-lists.ts';
import type { PrefetchList } from './prefetch/prefetch-list.ts';
import type { LayerCache } from './publish/layer-record.ts';
import type { RecordKey } from './publish/record-key.ts';

/** One run of `convert`. */
export interface Session {
  readonly request: ConvertRequest;
  /** Where the image is read. */
  readonly source: Target;
  /** Where the result goes; the same object unless the request names another repository. */
  readonly target: Target;
  /** Repository from which the target's registry can mount blobs of the source; undefined where it cannot. */
  readonly mountFrom: string | undefined;
  readonly spool: Spool;
  readonly threads: Threads;
  /** Images to convert at a time. */
  readonly imagesAtOnce: number;
  /** Bounds uploads in flight. */
  readonly uploads: Limiter;
  /** Layers that were converted before, in this run or, unless the request says otherwise, in earlier ones. */
  readonly cache: LayerCache;
  /** Key of what this run makes and takes over, if there is one. */
  readonly recordKey: RecordKey | undefined;
  /** Canonical text of the options, for the record annotations. */
  readonly options: string;
  /** Fires when the caller gives up, or when a part of the conversion failed and the others should stop. */
  readonly signal: AbortSignal;
  /** Fires {@link signal}, for a part that failed. */
  stop(reason: unknown): void;
  /** Digests of manifests that this run stored and read back. */
  readonly confirmed: Set<string>;
  /** Push nothing. */
  readonly noUpload: boolean;
  /** The parsed list of files to prefetch, if any. */
  readonly prefetch: PrefetchList | undefined;
  /** Bounds the memory of names and attributes of all images together. */
  readonly metadataMemory: MemoryBudget;
  /** Lists of images that are replaced, where the request has none. */
  readonly kept: KeptLists;
  emit(event: ConvertEvent): void;
}
