/**
 * Converts an image: source, manifests, layers, tags. Nothing is tagged until the target has everything that the tag
 * refers to; an interrupted run leaves no tag and no temporary file.
 */
import { canProbePush } from '../oci/powers.ts';
import { type ConvertSurroundings, type Endpoints, withEndpoints } from './endpoints.ts';
import type { ConvertEvent } from './events.ts';
import { openPlanSession, withSession } from './open-session.ts';
import type { ConvertRequest, ConvertResult, ReferrerResult, TagResult } from './options.ts';
import { type ConvertPlan, makePlan } from './plan/dry-run.ts';
import { fitOutputNames } from './plan/output-names.ts';
import { type Preparation, prepare } from './plan/preparation.ts';
import { makeOutputs } from './publish/tags.ts';
import { carryReferrers, joinCarried, planReferrers } from './referrers/carry-referrers.ts';
import type { Session } from './session.ts';
import { type ConvertSettings, completeRequest } from './settings.ts';
import type { SharedContext } from './shared-run.ts';
import { WarningLimit } from './warning-limit.ts';

/**
 * Converts one image as the settings say and tags the results. Every failure is an AccelError; its `where` names image,
 * platform, layer and digest.
 */
export async function convert(settings: ConvertSettings, context: ConvertSurroundings = {}): Promise<ConvertResult> {
  const request = fitOutputNames(completeRequest(settings));
  return withEndpoints(request, context, (endpoints) => convertBetween(endpoints, request, context));
}

/** Plans the conversion of the same request; reads manifests and the first bytes of layers, writes nothing. */
export async function planConversion(
  settings: ConvertSettings,
  context: ConvertSurroundings = {},
): Promise<ConvertPlan> {
  const request = fitOutputNames(completeRequest(settings));
  return withEndpoints({ ...request, noUpload: true }, context, (endpoints) =>
    makePlan(openPlanSession(endpoints, request, context)),
  );
}

/** Does what {@link convert} does, between open repositories, which stay open. */
export async function convertBetween(
  endpoints: Endpoints,
  request: ConvertRequest,
  context: SharedContext = {},
): Promise<ConvertResult> {
  const started = performance.now();
  const totals = new Totals();
  const pass = (event: ConvertEvent): void => {
    totals.add(event);
    context.onEvent?.(event);
  };
  const limit = new WarningLimit(pass);
  const onEvent = (event: ConvertEvent): void => (event.type === 'warning' ? limit.add(event) : pass(event));
  const plan = openPlanSession(endpoints, request, { ...context, onEvent });
  const converting = withSession(plan, context.threads, async (session) => {
    // On the real endpoints: a run without upload replaces the session's target by one that withholds.
    const preparation = await prepare({ ...plan, signal: session.signal });
    const { source, selection, images, existing, due } = preparation;
    for (const { tag, digest } of existing) session.emit({ type: 'up-to-date', tag, digest });
    const plans = request.copyReferrers === true ? await planReferrers(session, source, images) : undefined;
    let carried: readonly ReferrerResult[] = [];
    const carry = async (results: readonly TagResult[]): Promise<void> => {
      if (plans !== undefined) carried = joinCarried(carried, await carryReferrers(session, plans, results));
    };
    const made = due.length > 0 ? await makeDue(session, preparation, carry) : [];
    if (existing.length > 0) {
      await carry(existing);
      await session.target.commit?.({ signal: session.signal });
    }
    const tags = new Map([...existing, ...made].map((result) => [result.tag, result]));
    return {
      repository: request.targetRepository ?? request.repository,
      source: {
        digest: source.descriptor.digest,
        mediaType: source.descriptor.mediaType,
        size: images.reduce((sum, image) => sum + image.size, 0),
      },
      tags: request.outputs.map((output) => tags.get(output.tag)!),
      ...(plans === undefined ? {} : { referrers: carried }),
      skipped: selection.skipped,
      seconds: { total: (performance.now() - started) / 1000, convert: totals.convert, push: totals.push },
    };
  });
  const result = await converting.finally(() => limit.end());
  return { ...result, warnings: totals.warnings, warningCount: limit.count };
}

async function makeDue(
  session: Session,
  preparation: Preparation,
  carry: (made: readonly TagResult[]) => Promise<void>,
): Promise<TagResult[]> {
  // A push that will be denied is denied before the work rather than after it.
  if (canProbePush(session.target)) await session.target.probePush({ signal: session.signal });
  return makeOutputs(session, preparation, carry);
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
