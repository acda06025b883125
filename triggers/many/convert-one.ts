/**
 * One image of a run: decides by what the registry has, and converts it. An image that is up to date costs a request for
 * its manifest and one for each of its tags.
 */
import { AccelError, asAccelError } from '../../base/error.ts';
import { convertBetween } from '../../converter/convert.ts';
import type { Endpoints } from '../../converter/endpoints.ts';
import type { ConvertEvent } from '../../converter/events.ts';
import { openPlanSession } from '../../converter/open-session.ts';
import type { ConvertRequest } from '../../converter/options.ts';
import { prepare } from '../../converter/plan/preparation.ts';
import { verifyMade } from '../../converter/publish/verify-made.ts';
import type { SharedContext, SharedRun } from '../../converter/shared-run.ts';
import type { NamedDocument } from '../../oci/document.ts';
import { ALREADY_ACCELERATED, skipOfTag } from '../decide.ts';
import { decideConversion } from '../decide-conversion.ts';
import type { Skip } from '../payload.ts';
import { type ImageOrder, type ImageOutcome, outcomeTags, targetOf } from './image-orders.ts';
import type { TargetPool } from './target-pool.ts';

/** Shared by the images of a run. */
export interface ImageRun {
  readonly pool: TargetPool;
  readonly shared: SharedRun;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** `REPOSITORY:TAG` of tags that this run has made or seen to be results of accel, by their annotations. */
  readonly proven: Set<string>;
  readonly onEvent: (order: ImageOrder, event: ConvertEvent) => void;
}

/** An image that was looked at, before it is converted. */
interface Look {
  readonly named: NamedDocument;
  readonly endpoints: Endpoints;
  /** By the digest that was looked at: the tag may move meanwhile. */
  readonly request: ConvertRequest;
  readonly context: SharedContext;
}

/** The part of an outcome that the image decides. */
type Ending = Pick<ImageOutcome, 'state' | 'tags'> & Partial<Pick<ImageOutcome, 'digest' | 'skip' | 'error'>>;

/** Converts an image, or says why not. Never throws: a failure is the outcome `failed`, an abort `interrupted`. */
export async function convertOne(order: ImageOrder, run: ImageRun): Promise<ImageOutcome> {
  const started = performance.now();
  const warnings: string[] = [];
  const bytes = { read: 0, reused: 0 };
  const onEvent = (event: ConvertEvent): void => {
    if (event.type === 'warning') warnings.push(event.message);
    else if (event.type === 'layer-done') bytes.read += event.layer.size;
    else if (event.type === 'layer-reused') bytes.reused += event.layer.size;
    run.onEvent(order, event);
  };
  const ending = await decideAndConvert(order, run, onEvent).catch((error: unknown): Ending => {
    if (run.signal.aborted) return { state: 'interrupted', tags: [] };
    const known = asAccelError(error);
    // In place of the repository alone.
    const where = { ...known.where, image: order.reference };
    return { state: 'failed', tags: [], error: new AccelError(known.code, known.message, { ...known.details, where }) };
  });
  return {
    order,
    repository: targetOf(order),
    warnings,
    bytes,
    ...ending,
    seconds: (performance.now() - started) / 1000,
  };
}

async function decideAndConvert(
  order: ImageOrder,
  run: ImageRun,
  onEvent: (event: ConvertEvent) => void,
): Promise<Ending> {
  const { request } = order;
  const { tag, digest } = request.source;
  const byName = tag === undefined || digest !== undefined ? undefined : skipByName(order, run);
  if (byName !== undefined) return skipped(byName);
  const endpoints = await run.pool.endpoints(request);
  const { shared, signal } = run;
  const decision = await decideConversion(endpoints, order, { onEvent, signal, shared });
  if (decision.state === 'skipped') return { ...decision, tags: [] };
  if (decision.state === 'up-to-date') {
    for (const one of decision.tags) run.proven.add(`${endpoints.target.name}:${one.tag}`);
    return decision;
  }
  const { named } = decision;
  const look = { named, endpoints, request: decision.request, context: { onEvent, signal, shared, known: named } };
  return run.dryRun ? plan(look) : convert(order, look, run);
}

/** Reasons that need no request: names of referrers and records, and results that this run has seen. */
function skipByName({ reference, request }: ImageOrder, { proven }: ImageRun): Skip | undefined {
  if (proven.has(reference)) return ALREADY_ACCELERATED;
  return skipOfTag(request.source.tag!);
}

function skipped(skip: Skip): Ending {
  return { state: 'skipped', tags: [], skip };
}

async function plan({ named, endpoints, request, context }: Look): Promise<Ending> {
  const { due, existing } = await prepare(openPlanSession(endpoints, request, context));
  const { digest } = named.descriptor;
  if (due.length === 0) return { state: 'up-to-date', digest, tags: outcomeTags(existing) };
  return { state: 'due', digest, tags: due };
}

async function convert({ verify }: ImageOrder, look: Look, run: ImageRun): Promise<Ending> {
  const { endpoints, request, context } = look;
  const { digest } = look.named.descriptor;
  const result = await convertBetween(endpoints, request, {
    ...context,
    ...(verify === 'off'
      ? {}
      : {
          beforeTags: (made) => verifyMade(made, { endpoints, source: digest, extent: verify, signal: run.signal }),
        }),
  });
  for (const { tag } of result.tags) run.proven.add(`${endpoints.target.name}:${tag}`);
  const isCurrent = result.tags.every(({ upToDate }) => upToDate);
  return { state: isCurrent ? 'up-to-date' : 'converted', digest, tags: outcomeTags(result.tags) };
}

/** Whether an image failed because the images beside it took the memory that all share. */
export function lackedMemory({ error }: ImageOutcome, budgetExceeded: string): boolean {
  return error instanceof AccelError && error.code === 'limit-exceeded' && error.message === budgetExceeded;
}
