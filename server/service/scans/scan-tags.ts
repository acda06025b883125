/**
 * Looks for images that nobody reported: lists the tags that rules cover and adds an event for each whose digest is not the one that was
 * looked at last. The events are decided like all others.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { asAccelError } from '../../../base/error.ts';
import { TAG_SUFFIXES } from '../../../formats/overlaybd/tag-suffixes.ts';
import { openTarget } from '../../../oci/open.ts';
import { canListTags } from '../../../oci/powers.ts';
import { parseRepository } from '../../../oci/reference.ts';
import type { Target } from '../../../oci/storage.ts';
import type { EventSink } from '../intake.ts';
import type { EventKind } from '../push-event.ts';
import { QueueError } from '../queue.ts';
import { registryOptions } from '../registries.ts';
import type { ServiceSettings } from '../service-settings.ts';
import { repositoriesToScan, type ScanPattern } from './repositories-to-scan.ts';

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
  readonly kind: Extract<EventKind, 'reconcile' | 'watch'>;
  readonly patterns: readonly ScanPattern[];
  readonly settings: Pick<ServiceSettings, 'rules' | 'registries'>;
  /** Tags that are looked at a second, so that the registry stays usable. */
  readonly rate: number;
  readonly sink: EventSink;
  /** Digests that were looked at, by image; shared by the scans of a process. */
  readonly seen?: SeenDigests;
  /** Reports each image that it would add, and adds none. */
  readonly dryRun?: (image: string) => void;
  readonly signal: AbortSignal;
}

/** The memory of a scan between its runs. */
export interface SeenDigests {
  get(image: string): string | undefined;
  set(image: string, digest: string): unknown;
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
  const { settings, signal, rate } = options;
  const outcome: RepositoryOutcome = { tags: 0, events: 0 };
  const target = await openTarget(parseRepository(name), await registryOptions(settings.registries, name));
  try {
    const tags = canListTags(target) ? await target.tags({ signal }) : [];
    for (const tag of tags) {
      if (isOwnName(tag) || settings.rules.match({ repository: name, tag }).rule === undefined) continue;
      outcome.tags += 1;
      const started = performance.now();
      if (await isNews(target, `${name}:${tag}`, tag, options)) {
        await add(name, tag, options);
        outcome.events += 1;
      }
      await delay(Math.max(0, 1000 / rate - (performance.now() - started)), undefined, { signal });
    }
  } catch (error) {
    signal.throwIfAborted();
    const known = asAccelError(error);
    if (error instanceof QueueError || !isRegistryFailure(known.code)) throw error;
    outcome.problem = `${name}: ${known.message}`;
  } finally {
    await target.close?.();
  }
  return outcome;
}

/** A name that a conversion makes: its content decides in the end, but it is not worth a request. */
function isOwnName(tag: string): boolean {
  return TAG_SUFFIXES.some((suffix) => tag.endsWith(suffix));
}

/** Asks the registry what the tag names; a tag that is gone meanwhile is no news. */
async function isNews(target: Target, image: string, tag: string, { seen, signal }: ScanOptions): Promise<boolean> {
  if (seen === undefined) return true;
  try {
    const { digest } = await target.resolve(tag, { signal });
    if (seen.get(image) === digest) return false;
    seen.set(image, digest);
    return true;
  } catch (error) {
    if (asAccelError(error).code === 'not-found') return false;
    throw error;
  }
}

async function add(name: string, tag: string, { kind, sink, dryRun }: ScanOptions): Promise<void> {
  if (dryRun !== undefined) {
    dryRun(`${name}:${tag}`);
    return;
  }
  const slash = name.indexOf('/');
  await sink.accept([{ kind, registry: name.slice(0, slash), repository: name.slice(slash + 1), tag }]);
}

const REGISTRY_FAILURES: readonly string[] = [
  'not-found',
  'unauthorized',
  'registry-unreachable',
  'registry-error',
  'timed-out',
  'limit-exceeded',
  'manifest-invalid',
  'image-unsupported',
];

function isRegistryFailure(code: string): boolean {
  return REGISTRY_FAILURES.includes(code);
}
