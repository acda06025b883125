/**
 * Looks for images that nobody reported: lists the tags that rules cover and adds an event for each whose digest is not the one that was
 * looked at last. The events are decided like all others.
 */

import { asAccelError } from '../../../base/error.ts';
import { openTarget } from '../../../oci/open.ts';
import { parseRepository } from '../../../oci/reference.ts';
import type { Target } from '../../../oci/storage.ts';
import { coveredTags, isOwnName } from '../../../triggers/rules/covered-tags.ts';
import type { ScanPattern } from '../../../triggers/rules/find-repositories.ts';
import { registryOptions } from '../../config/registry-access.ts';
import { failureText } from '../failure-text.ts';
import type { EventSink } from '../intake.ts';
import type { EventKind } from '../push-event.ts';
import { QueueError } from '../queue.ts';
import type { ServiceSettings } from '../service-settings.ts';
import { isRegistryFailure, repositoriesToScan } from './repositories-to-scan.ts';
import type { SeenDigests } from './seen-digests.ts';

/** Result of a scan. */
export interface ScanReport {
  readonly repositories: number;
  /** Tags that a rule covers. */
  readonly tags: number;
  /** Events that were added. */
  readonly events: number;
  /** Failures of reading, one line each; at most {@link MAX_PROBLEMS}. */
  readonly problems: readonly string[];
}

/** A scan. */
export interface ScanOptions {
  readonly kind: Extract<EventKind, 'reconcile' | 'watch' | 'api'>;
  readonly patterns: readonly ScanPattern[];
  readonly settings: Pick<ServiceSettings, 'rules' | 'registries'>;
  /** Waits before each tag, so that the registry stays usable. */
  readonly pace: () => Promise<void>;
  readonly sink: EventSink;
  /** Digests that were looked at, by image; shared by the scans of a process. */
  readonly seen?: SeenDigests;
  readonly signal: AbortSignal;
}

/** Lines about what could not be read. */
const MAX_PROBLEMS = 100;

/** Runs a scan. Failures of one repository are reported, and the others are scanned all the same. Throws what the store throws. */
export async function scanTags(options: ScanOptions): Promise<ScanReport> {
  const { patterns, settings, signal } = options;
  const { repositories, problems } = await repositoriesToScan(patterns, settings, signal);
  const report = { repositories: repositories.length, tags: 0, events: 0, problems: [...problems] };
  for (const repository of repositories) {
    const outcome = await scanRepository(repository, options);
    report.tags += outcome.tags;
    report.events += outcome.events;
    if (outcome.problem !== undefined && report.problems.length < MAX_PROBLEMS) report.problems.push(outcome.problem);
  }
  return report;
}

interface RepositoryOutcome {
  tags: number;
  events: number;
  problem?: string;
}

async function scanRepository(name: string, options: ScanOptions): Promise<RepositoryOutcome> {
  const { settings, signal, pace } = options;
  const outcome: RepositoryOutcome = { tags: 0, events: 0 };
  const target = await openTarget(parseRepository(name), await registryOptions(settings.registries, name));
  try {
    for (const { tag } of await coveredTags(target, { repository: name, rules: settings.rules }, signal)) {
      // Its content decides in the end, but a name that conversions make is not worth a request.
      if (isOwnName(tag)) continue;
      outcome.tags += 1;
      await pace();
      const news = await newsOf(target, `${name}:${tag}`, tag, options);
      if (news !== undefined) {
        await add(name, tag, options);
        // Only now: an event that the store refused is found again.
        if (news !== '') options.seen?.set(`${name}:${tag}`, news);
        outcome.events += 1;
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    const known = asAccelError(error);
    if (error instanceof QueueError || !isRegistryFailure(known.code)) throw error;
    outcome.problem = `${name}: ${failureText(known)}`;
  } finally {
    await target.close?.();
  }
  return outcome;
}

/**
 * The digest of a tag that has changed since it was seen; undefined for one that has not, or is gone meanwhile. Without a memory every
 * tag is news, and the registry is not asked: `''`.
 */
async function newsOf(
  target: Target,
  image: string,
  tag: string,
  { seen, signal }: ScanOptions,
): Promise<string | undefined> {
  if (seen === undefined) return '';
  try {
    const { digest } = await target.resolve(tag, { signal });
    return seen.get(image) === digest ? undefined : digest;
  } catch (error) {
    if (asAccelError(error).code === 'not-found') return undefined;
    throw error;
  }
}

async function add(name: string, tag: string, { kind, sink }: ScanOptions): Promise<void> {
  const slash = name.indexOf('/');
  await sink.accept([{ kind, registry: name.slice(0, slash), repository: name.slice(slash + 1), tag }]);
}
