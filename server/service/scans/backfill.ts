/** `accel serve backfill`: finds the images that existed before the service did, and lets it convert them. */

import { asAccelError } from '../../../base/error.ts';
import { canonicalPattern, patternHost } from '../../../triggers/rules/match-rule.ts';
import { compilePattern } from '../../../triggers/rules/pattern.ts';
import type { Config } from '../../config/schema.ts';
import { decidePush } from '../decide-push.ts';
import { failureText } from '../failure-text.ts';
import { loadRules } from '../load-rules.ts';
import { type PushEvent, repositoryOf } from '../push-event.ts';
import { createPace } from './pace.ts';
import { scanTags } from './scan-tags.ts';
import { openAccess } from './service-access.ts';

/** A backfill. */
export interface BackfillRequest {
  /** Globs of `HOST/REPOSITORY`. */
  readonly patterns: readonly string[];
  /** Adds nothing: decides about each image, by what the registry has. */
  readonly dryRun: boolean;
  /** Hears of each image as soon as it is decided about, or added. */
  readonly onImage: (image: BackfillImage) => void;
  readonly signal: AbortSignal;
}

/** An image that a rule covers. */
export interface BackfillImage {
  /** `host[:port]/repository:tag`. */
  readonly image: string;
  /** Number of the rule that covers it. */
  readonly rule?: number;
  /** `added`; in a dry run the code of the decision, `convert` for what would be converted, or `failed` where none could be made. */
  readonly outcome: string;
  /** For people. */
  readonly reason?: string;
}

/** The outcome of a backfill. */
export interface BackfillReport {
  readonly repositories: number;
  readonly images: number;
  /** Images that were added, or would be converted. */
  readonly due: number;
  /** Repositories that could not be read, one line each. */
  readonly problems: readonly string[];
}

/** Runs a backfill. Throws `usage` for a pattern or configuration that cannot be used, `io-error` where the queue cannot be had. */
export async function backfill(config: Config, request: BackfillRequest): Promise<BackfillReport> {
  const { patterns, dryRun, onImage, signal } = request;
  const settings = { rules: await loadRules(config), registries: config.registries };
  const events: PushEvent[] = [];
  const { repositories, problems } = await scanTags({
    kind: 'api',
    patterns: patterns.map((text) => {
      const pattern = canonicalPattern(text);
      patternHost(pattern);
      return compilePattern(pattern);
    }),
    settings,
    // The lists of tags are all that is asked for here.
    pace: async () => signal.throwIfAborted(),
    sink: { accept: async (found) => ({ accepted: events.push(...found), dropped: 0 }) },
    signal,
  });
  let due = 0;
  const ruleOf = (event: PushEvent): number | undefined =>
    settings.rules.match({ repository: repositoryOf(event), tag: event.tag! }).rule?.number;
  if (dryRun) {
    const pace = createPace(config.service.reconcile.rate, signal);
    for (const event of events) {
      await pace();
      const decision = await decide(event, settings, signal);
      if (decision.outcome === 'convert') due += 1;
      onImage({ image: `${repositoryOf(event)}:${event.tag}`, ...withRule(ruleOf(event)), ...decision });
    }
  } else if (events.length > 0) {
    const access = await openAccess(config, signal);
    const rules = new Map(events.map((event) => [`${repositoryOf(event)}:${event.tag}`, ruleOf(event)]));
    try {
      await access.add(events, (image) => {
        due += 1;
        onImage({ image, ...withRule(rules.get(image)), outcome: 'added' });
      });
    } finally {
      await access.close();
    }
  }
  return { repositories, images: events.length, due, problems };
}

function withRule(rule: number | undefined): { readonly rule?: number } {
  return rule === undefined ? {} : { rule };
}

async function decide(
  event: PushEvent,
  settings: Pick<Parameters<typeof decidePush>[1], 'rules' | 'registries'>,
  signal: AbortSignal,
): Promise<Pick<BackfillImage, 'outcome' | 'reason'>> {
  try {
    const { code, reason } = await decidePush(event, { ...settings, signal });
    return { outcome: code, reason };
  } catch (error) {
    signal.throwIfAborted();
    return { outcome: 'failed', reason: failureText(asAccelError(error)) };
  }
}
