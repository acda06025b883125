/**
 * Decides about a push from what the registry has now: the event only says where to look. It may come twice, late, out of order, about
 * our own tags, child manifests or signatures; the decision is the same whichever event asked for it.
 */
import { type ConvertSurroundings, type Endpoints, targetOptions, withEndpoints } from '../../converter/endpoints.ts';
import { openPlanSession } from '../../converter/open-session.ts';
import type { OutputTag } from '../../converter/options.ts';
import { prepare } from '../../converter/plan/preparation.ts';
import { skipOfTag } from '../../triggers/decide.ts';
import { type ConversionDecision, decideConversion, questionOf } from '../../triggers/decide-conversion.ts';
import type { MatchedRule, RuleSet } from '../../triggers/rules/match-rule.ts';
import { type RegistryAccess, registryOptions } from '../config/registry-access.ts';
import { type ConversionOrder, orderData } from './conversion.ts';
import { conversionRequest } from './conversion-request.ts';
import type { Decision, DecisionCode } from './decision.ts';
import { type PushEvent, repositoryOf } from './push-event.ts';
import type { Failure, NewJob } from './queue.ts';
import { failureOf } from './retries.ts';

/** The things on which decisions depend beside the registry. */
export interface DecisionContext {
  readonly rules: RuleSet;
  readonly registries: readonly RegistryAccess[];
  readonly signal?: AbortSignal;
}

/**
 * Decides about an event. Throws what may pass: the registry does not answer. A failure that cannot
 * pass is the decision `impossible`, with a conversion that has failed already.
 */
export async function decidePush(event: PushEvent, context: DecisionContext): Promise<Decision> {
  const repository = repositoryOf(event);
  const { tag } = event;
  if (!isKnownHost(event.registry, context)) {
    return nothing('foreign-registry', `no rule names the registry ${event.registry}`);
  }
  if (tag === undefined)
    return nothing('untagged', 'a push without a tag: a child of an index, or nothing that has a name');
  const { rule } = context.rules.match({ repository, tag });
  if (rule === undefined) return nothing('not-covered', 'no rule covers it');
  const order: ConversionOrder = {
    repository,
    tag,
    rule,
    from: event.kind,
    ...(event.force === true ? { force: true } : {}),
  };
  try {
    return await look(order, rule, context);
  } catch (error) {
    context.signal?.throwIfAborted();
    const failure = failureOf(error);
    if (failure.temporary || failure.code === 'internal') throw error;
    return {
      code: 'impossible',
      reason: failure.message,
      rule: rule.number,
      jobs: [conversionJob(order, { parked: failure, failed: event.kind === 'reconcile' ? 'keep' : 'revive' })],
    };
  }
}

async function look(order: ConversionOrder, rule: MatchedRule, context: DecisionContext): Promise<Decision> {
  const { repository, tag } = order;
  const { registries, signal } = context;
  const skip = skipOfTag(tag);
  if (skip !== undefined) return { ...nothing(skipCode(skip.code), skip.reason), rule: rule.number };
  const registry = await registryOptions(registries, repository);
  const { request, refused } = questionOf(tag, (named) => conversionRequest({ ...order, tag: named }, undefined));
  const { targetRepository } = request;
  const surroundings = {
    registry,
    ...(targetRepository === undefined ? {} : { targetRegistry: await registryOptions(registries, targetRepository) }),
    ...(signal === undefined ? {} : { signal }),
  };
  const question = { request: { ...request, noUpload: true }, found: true, ...(refused ? { refused } : {}) };
  // The options of the target are the caller's: nothing of the source's credentials goes there.
  return await withEndpoints(
    question.request,
    { ...surroundings, targetRegistry: targetOptions(request, surroundings) },
    async (endpoints) => {
      const about = await decideConversion(endpoints, question, surroundings);
      if (about.state === 'skipped') {
        return { ...nothing(skipCode(about.skip.code), about.skip.reason), rule: rule.number };
      }
      const { digest } = about;
      const due = about.state === 'up-to-date' ? [] : await dueOutputs(endpoints, about, surroundings);
      if (due.length === 0) {
        return { ...nothing('up-to-date', 'converted from this digest with these options'), rule: rule.number, digest };
      }
      return {
        code: 'convert',
        reason: `to make: ${due.map((output) => output.tag).join(', ')}`,
        rule: rule.number,
        digest,
        jobs: [conversionJob({ ...order, digest }, order.from === 'reconcile' ? { failed: 'keep' } : {})],
      };
    },
  );
}

/** The outputs that are to be made, by all that the registry has of the image. */
async function dueOutputs(
  endpoints: Endpoints,
  { request, named }: Extract<ConversionDecision, { readonly state: 'due' }>,
  surroundings: ConvertSurroundings,
): Promise<readonly OutputTag[]> {
  return (await prepare(openPlanSession(endpoints, request, { ...surroundings, known: named }))).due;
}

/**
 * The job of an order. Orders of the same tag, digest and options are one; of the same digest and options one runs at a time, whatever
 * the tags.
 */
export function conversionJob(
  order: ConversionOrder,
  more: { readonly parked?: Failure; readonly failed?: 'keep' | 'revive' } = {},
): NewJob {
  const { repository, tag, digest = 'unknown', rule } = order;
  const lane = `${repository}@${digest} ${rule.identity}`;
  const key = `${repository}:${tag}@${digest} ${rule.identity}${order.force === true ? ' force' : ''}`;
  return {
    topic: 'convert',
    key,
    // An image that could not be looked at is alone with its tag.
    lane: order.digest === undefined ? key : lane,
    repository,
    data: orderData(order),
    ...more,
  };
}

/** A registry may be asked if a rule names it without a wildcard, or if the configuration lists it. */
export function isKnownHost(
  host: string,
  { rules, registries }: Pick<DecisionContext, 'rules' | 'registries'>,
): boolean {
  return rules.hosts.has(host) || registries.some((registry) => registry.host === host);
}

function nothing(code: DecisionCode, reason: string): Decision {
  return { code, reason, jobs: [] };
}

const SKIPS: Readonly<Record<string, DecisionCode>> = {
  gone: 'gone',
  'not-an-image': 'not-an-image',
  'already-accelerated': 'already-accelerated',
  'named-accelerated': 'named-accelerated',
  'referrer-tag': 'referrer-tag',
  'cache-tag': 'cache-tag',
};

function skipCode(code: string): DecisionCode {
  return SKIPS[code] ?? 'not-an-image';
}
