/** Sets up the session of a conversion and takes it down. */
import { setMaxListeners } from 'node:events';
import { asAccelError } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import { MemoryBudget } from '../formats/ext4/state/memory-budget.ts';
import { canTakeFiles } from '../oci/powers.ts';
import type { Target } from '../oci/storage.ts';
import type { Endpoints } from './endpoints.ts';
import type { ConvertEvent, EventSink } from './events.ts';
import { checkFlatten } from './layer/layer-groups.ts';
import { type Share, shareMemory } from './layer/memory-limit.ts';
import { wantsPieceLists } from './layer/piece-lists.ts';
import { Spool } from './layer/spool.ts';
import { Threads } from './layer/workers/threads.ts';
import type { ConvertRequest } from './options.ts';
import { KeptLists } from './prefetch/kept-lists.ts';
import { parsePrefetch } from './prefetch/prefetch-list.ts';
import { LayerCache } from './publish/layer-record.ts';
import { optionsText, withoutPieceListOption } from './publish/record-annotations.ts';
import { RecordKey } from './publish/record-key.ts';
import { withhold } from './publish/withheld-target.ts';
import type { PlanSession, Resources, Session } from './session.ts';
import { DEFAULT_MAX_MEMORY } from './settings.ts';
import type { SharedContext } from './shared-run.ts';

/** Parses the request's key and list. Throws `usage` for an invalid one, for too little memory, and for what cannot be flattened. */
export function openPlanSession(endpoints: Endpoints, request: ConvertRequest, context: SharedContext): PlanSession {
  const prefetch = request.prefetch === undefined ? undefined : parsePrefetch(request.prefetch);
  shareOf(request);
  checkFlatten(request);
  const options = optionsText(request.artifact, request.platforms, prefetch?.name);
  return {
    ...endpoints,
    request,
    prefetch,
    kept: new KeptLists(),
    recordKey: request.recordKey === undefined ? undefined : new RecordKey(request.recordKey),
    options: wantsPieceLists(request) ? options : withoutPieceListOption(options),
    signal: context.signal ?? new AbortController().signal,
    emit: (event) => context.onEvent?.(event),
    ...(context.known === undefined ? {} : { known: context.known }),
    ...(context.shared === undefined ? {} : { shared: context.shared }),
    ...(context.beforeTags === undefined ? {} : { beforeTags: context.beforeTags }),
  };
}

/** Runs `body` with threads and a spool of its own, or with the caller's threads, and releases them afterwards. */
export async function withSession<T>(
  plan: PlanSession,
  sharedThreads: Threads | undefined,
  body: (session: Session) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const signal = AbortSignal.any([plan.signal, stop.signal]);
  // Every request in progress listens to it: dozens of listeners are not a leak.
  setMaxListeners(0, signal);
  const resources = await openResources(plan, sharedThreads);
  try {
    return await body(makeSession({ ...plan, signal }, resources));
  } catch (error) {
    // The first failure is the one to report; the parts that still run fail because of it.
    stop.abort(error);
    throw error;
  } finally {
    if (sharedThreads === undefined && plan.shared === undefined) await resources.threads.close();
    // The results are complete, or the failure has its own error: leftovers are only a warning.
    await resources.spool.remove().catch((error: unknown) => {
      const message = `temporary files were left; the next run there removes them: ${asAccelError(error).message}`;
      plan.emit({ type: 'warning', message });
    });
  }
}

async function openResources(
  { request, target, shared }: PlanSession,
  sharedThreads: Threads | undefined,
): Promise<Resources> {
  const spool = await Spool.create(request.workDirectory ?? (canTakeFiles(target) ? target.scratch : undefined));
  if (shared !== undefined) {
    const { threads, images, uploads, metadataMemory } = shared;
    return { spool, threads, images, uploads, metadataMemory };
  }
  const share = shareOf(request);
  return {
    spool,
    threads: sharedThreads ?? new Threads(share.workers),
    images: new Limiter(share.images),
    uploads: new Limiter(request.concurrency),
    metadataMemory: new MemoryBudget(memoryOf(request) / 2),
  };
}

function memoryOf({ maxMemory = DEFAULT_MAX_MEMORY }: ConvertRequest): number {
  return maxMemory;
}

function shareOf(request: ConvertRequest): Share {
  return shareMemory(memoryOf(request), { images: request.concurrency, workers: request.workers });
}

function makeSession(plan: PlanSession, resources: Resources): Session {
  const { request, prefetch, kept, emit } = plan;
  if (!request.noUpload) return { ...plan, resources, cache: openCache(plan, plan.target), confirmed: new Set() };
  const keepsFiles = (): boolean => prefetch !== undefined || !kept.isEmpty;
  const endpoints = withhold(plan, { scratch: resources.spool.directory, keepsFiles });
  return {
    ...plan,
    ...endpoints,
    emit: withoutUploads(emit),
    resources,
    cache: openCache(plan, endpoints.target),
    confirmed: new Set(),
  };
}

function openCache({ request, signal, recordKey, emit, shared }: PlanSession, target: Target): LayerCache {
  if (shared !== undefined && !request.noUpload) return shared.cacheOf(target, { ...request, key: recordKey });
  const options = { key: recordKey, onWarning: (message: string) => emit({ type: 'warning', message }) };
  return request.cache && !request.force
    ? LayerCache.open(target, signal, options)
    : LayerCache.disabled(target, signal, options);
}

/** Events of what a run without upload does not do. */
const UPLOADS: ReadonlySet<ConvertEvent['type']> = new Set(['layer-pushed', 'referrer', 'tagged']);

function withoutUploads(emit: EventSink): EventSink {
  return (event) => {
    if (!UPLOADS.has(event.type)) emit(event);
  };
}
