/** Limits of what goes into a queue, the same for each store. */
import { type JobFilter, MAX_DATA, MAX_DELAY, MAX_PAGE, type NewJob, QueueError } from './queue.ts';

const MAX_NAME = 1024;
/** Jobs of one call. */
const MAX_JOBS = 10_000;

/** Throws `invalid` where a job exceeds what queue.ts allows. */
export function checkJobs(jobs: readonly NewJob[]): void {
  if (jobs.length > MAX_JOBS) throw new QueueError('invalid', `more than ${MAX_JOBS} jobs at once`);
  for (const { key, lane = key, repository, data, delay = 0 } of jobs) {
    if ([key, lane, repository].some((name) => name.length > MAX_NAME || name.includes('\0'))) {
      throw new QueueError('invalid', `a key, lane or repository has more than ${MAX_NAME} characters, or a NUL`);
    }
    if (!(delay >= 0 && delay <= MAX_DELAY)) throw new QueueError('invalid', `a delay is not 0 to ${MAX_DELAY} ms`);
    if (Buffer.byteLength(JSON.stringify(data)) > MAX_DATA) {
      throw new QueueError('invalid', `the data of a job has more than ${MAX_DATA} bytes`);
    }
  }
}

/** Throws `invalid` for a page that is too long. */
export function checkFilter({ limit }: JobFilter): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE) {
    throw new QueueError('invalid', `the limit of a page is not 1 to ${MAX_PAGE}`);
  }
}
