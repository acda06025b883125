/** Types that the parts of one conversion share. */
import type { Limiter } from '../base/limiter.ts';
import type { MemoryBudget } from '../formats/ext4/state/memory-budget.ts';
import type { Endpoints } from './endpoints.ts';
import type { ConvertEvent } from './events.ts';
import type { Spool } from './layer/spool.ts';
import type { Threads } from './layer/workers/threads.ts';
import type { ConvertContext, ConvertRequest } from './options.ts';
import type { KeptLists } from './prefetch/kept-lists.ts';
import type { PrefetchList } from './prefetch/prefetch-list.ts';
import type { LayerCache } from './publish/layer-record.ts';
import type { RecordKey } from './publish/record-key.ts';
import type { SharedRun } from './shared-run.ts';

/** The part of a session that planning needs, which only reads. */
export interface PlanSession extends Endpoints {
  readonly request: ConvertRequest;
  /** The parsed prefetch list of the request, if any. */
  readonly prefetch: PrefetchList | undefined;
  /** Prefetch lists of the images that results replace, where the request has none. */
  readonly kept: KeptLists;
  readonly recordKey: RecordKey | undefined;
  /** Canonical text of the options, for the record annotations. */
  readonly options: string;
  /** Aborts when the caller gives up or another part of the conversion failed. */
  readonly signal: AbortSignal;
  emit(event: ConvertEvent): void;
  /** See {@link ConvertContext.known}. */
  readonly known?: ConvertContext['known'];
  /** Shared with other conversions of a run. */
  readonly shared?: SharedRun;
  /** See {@link ConvertContext.beforeTags}. */
  readonly beforeTags?: ConvertContext['beforeTags'];
}

/** One run of `convert`. */
export interface Session extends PlanSession {
  readonly resources: Resources;
  /** Layers that were converted before, in this run or, unless the request says otherwise, in earlier ones. */
  readonly cache: LayerCache;
  /** Digests of manifests that this run stored and read back. */
  readonly confirmed: Set<string>;
}

/** Threads, files and memory of a run. */
export interface Resources {
  readonly threads: Threads;
  readonly spool: Spool;
  /** Bounds the images that are converted at a time. */
  readonly images: Limiter;
  /** Bounds uploads in flight. */
  readonly uploads: Limiter;
  /** Bounds the memory of names and attributes of all images together. */
  readonly metadataMemory: MemoryBudget;
}
