/**
 * The main job: source -> manifests -> layers -> tags. Nothing is tagged until everything that a tag refers to stands in
 * the target; an interrupted run leaves no tag and no temporary file.
 */
import { setMaxListeners } from 'node:events';
import { advise, option } from '../base/advice.ts';
import { AccelError, asAccelError, withPlace } from '../base/error.ts';
import { awaitAll, Limiter } from '../base/limiter.ts';
import { MemoryBudget } from '../formats/ext4/state/memory-budget.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { type OpenOptions, openTarget } from '../oci/open.ts';
import { canProbePush, canTakeFiles } from '../oci/powers.ts';
import { formatReference, parseRepository, type Reference } from '../oci/reference.ts';
import type { Target } from '../oci/storage.ts';
import type { ConvertEvent } from './events.ts';
import { shareMemory } from './layer/memory-limit.ts';
import { wantsPieceLists } from './layer/piece-lists.ts';
import { Spool } from './layer/spool.ts';
import { Threads } from './layer/workers/threads.ts';
import type { ConvertContext, ConvertRequest, ConvertResult } from './options.ts';
import { type ConvertPlan, makePlan } from './plan/dry-run.ts';
import { fitOutputNames } from './plan/output-names.ts';
import { prepare } from './plan/preparation.ts';
import { KeptLists } from './prefetch/kept-lists.ts';
import { parsePrefetch } from './prefetch/prefetch-list.ts';
import { LayerCache, type RecordOptions } from './publish/layer-record.ts';
import { optionsText, withoutPieceListOption } from './publish/record-annotations.ts';
import { RecordKey } from './publish/record-key.ts';
import { makeOutputs } from './publish/tags.ts';
import type { Session } from './session.ts';
import { type ConvertSettings, completeRequest, DEFAULT_MAX_MEMORY } from './settings.ts';

/** Surroundings of {@link convert}: events, a signal to stop, and how to reach registries. */
export interface ConvertSurroundings extends ConvertContext {
  readonly registry?: OpenOptions;
  /** For the target repository, where it is another one; omitted: as for the source, but without its credentials elsewhere. */
  readonly targetRegistry?: OpenOptions;
}

/**
 * Converts one image as the settings say and tags the results. Every failure is an AccelError; its `where` tells image,
 * platform, layer and place.
 */
export async function convert(settings: ConvertSettings, context: ConvertSurroundings = {}): Promise<ConvertResult> {
  const request = fitOutputNames(completeRequest(settings));
  return withPlaces(request, context, (places) => convertBetween(places, request, context));
}

/** What {@link convert} would do with the same request; reads manifests and the first bytes of layers, writes nothing. */
export async function planConversion(
  settings: ConvertSettings,
  context: ConvertSurroundings = {},
): Promise<ConvertPlan> {
  const request = fitOutputNames(completeRequest(settings));
  return withPlaces({ ...request, noUpload: true }, context, (places) =>
    withSession(places, request, context, makePlan),
  );
}

/** The places of a conversion, open already; they stay open. */
export type Places = Pick<Session, 'source' | 'target' | 'mountFrom'>;

/** {@link convert} between places that are open already. Tags and digests of the request are looked up in the source. */
export async function convertBetween(
  places: Places,
  request: ConvertRequest,
  context: ConvertContext = {},
): Promise<ConvertResult> {
  const totals = new Totals();
  const onEvent = (event: ConvertEvent): void => {
    totals.add(event);
    context.onEvent?.(event);
  };
  return withSession(places, request, { ...context, onEvent }, (session) => run(session, totals));
}

async function withPlaces<T>(
  request: ConvertRequest,
  context: ConvertSurroundings,
  body: (places: Places) => Promise<T>,
): Promise<T> {
  const from = parseRepository(request.repository);
  const to = request.targetRepository === undefined ? from : parseRepository(request.targetRepository);
  const isSame = formatReference(from) === formatReference(to);
  if (to.kind === 'archive' && to.format === 'docker' && !request.noUpload) {
    throw new AccelError('usage', 'a docker-archive is a source alone', {
      found: formatReference(to),
      hint: advise`Name where the result goes with ${option('targetRepository')}, for example oci:DIR or oci-archive:FILE.`,
    });
  }
  const source = await openTarget(from, context.registry);
  let target = source;
  let closing: Promise<unknown> | undefined;
  const close = (): Promise<unknown> => {
    closing ??= awaitAll([target.close?.(), target === source ? undefined : source.close?.()]);
    return closing;
  };
  try {
    if (!isSame) target = await openOther(to, targetOptions(request, context), request.noUpload);
    const result = await body({ source, target, mountFrom: isSame ? undefined : repositoryToMount(from, to) });
    await close();
    return result;
  } catch (error) {
    // The first failure is the one to tell.
    await close().catch(() => undefined);
    throw withPlace(context.signal?.aborted === true ? aborted(error) : error, { image: source.name });
  }
}

function repositoryToMount(from: Reference, to: Reference): string | undefined {
  return from.kind === 'registry' && to.kind === 'registry' && from.registry === to.registry
    ? from.repository
    : undefined;
}

/** A layout that does not exist yet is made, unless nothing is to be written: then an empty place stands in for it. */
async function openOther(to: Reference, options: OpenOptions, isDry: boolean): Promise<Target> {
  try {
    return await openTarget(to, { ...options, create: !isDry });
  } catch (error) {
    if (!isDry || asAccelError(error).code !== 'not-found') throw error;
    return new MemoryTarget(formatReference(to));
  }
}

/**
 * How the place of the results is reached. The source's password is for the source's registry: another one gets it only
 * when told so.
 */
export function targetOptions(
  { repository, targetRepository }: Pick<ConvertRequest, 'repository' | 'targetRepository'>,
  { registry = {}, targetRegistry }: ConvertSurroundings,
): OpenOptions {
  if (targetRepository === undefined) return registry;
  if (targetRegistry !== undefined) return targetRegistry;
  if (repositoryToMount(parseRepository(repository), parseRepository(targetRepository)) !== undefined) return registry;
  const { username: _, password: __, ...rest } = registry;
  return rest;
}

async function withSession<T>(
  places: Places,
  request: ConvertRequest,
  context: ConvertContext,
  body: (session: Session) => Promise<T>,
): Promise<T> {
  const { target } = places;
  const recordKey = request.recordKey === undefined ? undefined : new RecordKey(request.recordKey);
  const prefetch = request.prefetch === undefined ? undefined : parsePrefetch(request.prefetch);
  const asked = { images: request.concurrency, workers: request.workers };
  const maxMemory = request.maxMemory ?? DEFAULT_MAX_MEMORY;
  const share = shareMemory(maxMemory, asked);
  const stop = new AbortController();
  const signal = context.signal === undefined ? stop.signal : AbortSignal.any([context.signal, stop.signal]);
  // Every request under way listens to it: dozens are no leak.
  setMaxListeners(0, signal);
  const spool = await Spool.create(request.workDirectory ?? (canTakeFiles(target) ? target.scratch : undefined));
  const threads = new Threads(share.workers);
  try {
    return await body({
      ...places,
      request,
      spool,
      threads,
      signal,
      stop: (reason) => stop.abort(reason),
      imagesAtOnce: share.images,
      metadataMemory: new MemoryBudget(maxMemory / 2),
      uploads: new Limiter(request.concurrency),
      cache: openCache(target, request, signal, {
        key: recordKey,
        onWarning: (message) => context.onEvent?.({ type: 'warning', message }),
      }),
      recordKey,
      options: optionsOf(request, prefetch?.name),
      noUpload: request.noUpload,
      confirmed: new Set(),
      prefetch,
      kept: new KeptLists(),
      emit: (event) => context.onEvent?.(event),
    });
  } catch (error) {
    // The first failure counts; what the others fail with afterwards is its echo.
    stop.abort(error);
    throw error;
  } finally {
    await threads.close();
    // What was made stands, and what failed has its own error: neither is made worse by what lies about.
    await spool.remove().catch((error: unknown) => {
      const message = `temporary files were left; the next run there removes them: ${asAccelError(error).message}`;
      context.onEvent?.({ type: 'warning', message });
    });
  }
}

function optionsOf(request: ConvertRequest, prefetch: string | undefined): string {
  const options = optionsText(request.artifact, request.platforms, prefetch);
  return wantsPieceLists(request) ? options : withoutPieceListOption(options);
}

function openCache(
  target: Target,
  { cache, force }: ConvertRequest,
  signal: AbortSignal,
  options: RecordOptions,
): LayerCache {
  return cache && !force ? LayerCache.open(target, signal, options) : LayerCache.disabled(target, signal, options);
}

async function run(session: Session, totals: Totals): Promise<ConvertResult> {
  const { request } = session;
  const started = performance.now();
  // Threads start while the first answers are on their way.
  session.threads.warmUp();
  const preparation = await prepare(session);
  const { source, selection, images, standing, due } = preparation;
  for (const { tag, digest } of standing) session.emit({ type: 'up-to-date', tag, digest });
  // Before the work rather than after it: a push that will be denied.
  if (due.length > 0 && !request.noUpload && canProbePush(session.target)) {
    await session.target.probePush({ signal: session.signal });
  }
  const tags = [...standing, ...(due.length > 0 ? await makeOutputs(session, preparation) : [])];
  return {
    repository: request.targetRepository ?? request.repository,
    source: {
      digest: source.descriptor.digest,
      mediaType: source.descriptor.mediaType,
      size: images.reduce((sum, image) => sum + image.size, 0),
    },
    tags: request.outputs.map((output) => tags.find((tag) => tag.tag === output.tag)!),
    skipped: selection.skipped,
    warnings: totals.warnings,
    seconds: { total: (performance.now() - started) / 1000, convert: totals.convert, push: totals.push },
  };
}

/** Sums over the events of a run. */
class Totals {
  convert = 0;
  push = 0;
  readonly warnings: string[] = [];

  add(event: ConvertEvent): void {
    if (event.type === 'layer-done') {
      this.convert += event.times.convert;
      this.push += event.times.push;
    } else if (event.type === 'warning') {
      const layer = event.layer === undefined ? '' : `layer ${event.layer.index + 1} of ${event.layer.count}: `;
      this.warnings.push(`${layer}${event.path === undefined ? '' : `${event.path}: `}${event.message}`);
    }
  }
}

/** After the caller's abort every failure is one: the caller's reason counts, not what broke first. */
function aborted(error: unknown): AccelError {
  const known = asAccelError(error);
  return known.code === 'aborted' ? known : new AccelError('aborted', 'interrupted', { cause: known });
}
