/** Adds up the conversions by repository. */
import { type ConversionRecord, conversionOf } from './conversion.ts';
import { MAX_PAGE, type Queue } from './queue.ts';

/** Pages of conversions that one summary looks at. */
const MAX_PAGES = 40;
/** Milliseconds for which a summary is kept. */
const KEPT = 5000;

/** Totals of the conversions of a repository. Sizes in bytes. */
export interface RepositorySummary {
  readonly repository: string;
  /** Tags with at least one conversion. */
  images: number;
  /** Tags whose last conversion succeeded, failed for good, or has not ended. */
  converted: number;
  failed: number;
  pending: number;
  sourceBytes: number;
  /** Of the first accelerated tag of each image. */
  acceleratedBytes: number;
  /** ISO 8601. */
  lastFinished?: string;
}

/** All repositories, by name; not complete where there are more conversions than were looked at. */
export interface RepositoryList {
  readonly repositories: readonly RepositorySummary[];
  readonly complete: boolean;
}

/** Returns a function that adds up, at most once every five seconds. */
export function summarizeRepositories(queue: Queue): () => Promise<RepositoryList> {
  let kept: { readonly list: Promise<RepositoryList>; readonly at: number } | undefined;
  return () => {
    const now = performance.now();
    if (kept === undefined || now - kept.at > KEPT) {
      const list = addUp(queue);
      kept = { list, at: now };
      // A failure is reported to those who wait for it, and not kept.
      list.catch(() => (kept = undefined));
    }
    return kept.list;
  };
}

async function addUp(queue: Queue): Promise<RepositoryList> {
  const summaries = new Map<string, RepositorySummary>();
  const seen = new Set<string>();
  let after: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const jobs = await queue.list({ topic: 'convert', limit: MAX_PAGE, ...(after === undefined ? {} : { after }) });
    for (const job of jobs) add(conversionOf(job), summaries, seen);
    after = jobs.at(-1)?.id;
    if (jobs.length < MAX_PAGE) return sorted(summaries, true);
  }
  return sorted(summaries, false);
}

/** Conversions come newest first: the first one of a tag that was not given up for another decides. */
function add(conversion: ConversionRecord, summaries: Map<string, RepositorySummary>, seen: Set<string>): void {
  const { repository, tag, state, result, finished } = conversion;
  const name = `${repository}:${tag}`;
  if (seen.has(name) || state === 'superseded' || state === 'cancelled') return;
  seen.add(name);
  const summary = summaries.get(repository) ?? {
    repository,
    images: 0,
    converted: 0,
    failed: 0,
    pending: 0,
    sourceBytes: 0,
    acceleratedBytes: 0,
  };
  summaries.set(repository, summary);
  summary.images += 1;
  if (state === 'done') {
    summary.converted += 1;
    summary.sourceBytes += result?.source.size ?? 0;
    summary.acceleratedBytes += result?.tags[0]?.size ?? 0;
    if (finished !== undefined && finished > (summary.lastFinished ?? '')) summary.lastFinished = finished;
  } else if (state === 'failed') summary.failed += 1;
  else summary.pending += 1;
}

function sorted(summaries: ReadonlyMap<string, RepositorySummary>, complete: boolean): RepositoryList {
  return { repositories: [...summaries.values()].sort((a, b) => (a.repository < b.repository ? -1 : 1)), complete };
}
