/**
 * The forms of goharbor/acceleration-service (pkg/client, pkg/task, pkg/server/util), for its command line `accelctl`: a list of tasks, and
 * errors whose code and message are at the top. It asks the same paths as everybody else, and is known by its headers.
 */
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { conversionOf } from '../conversion.ts';
import type { Job, JobState } from '../queue.ts';

/** True for a request of accelctl: it names a content type with each request, also without a body, and accepts nothing in particular. */
export function isAccelctl({ headers }: Pick<FastifyRequest, 'headers'>): boolean {
  return headers.accept === undefined && headers['content-type'] === 'application/json';
}

/** A list of conversions as accelctl reads it. */
export const TASKS = z
  .array(
    z.object({
      id: z.string(),
      created: z.string(),
      finished: z.string(),
      source: z.string(),
      source_size: z.int(),
      target_size: z.int(),
      status: z.enum(['PROCESSING', 'COMPLETED', 'FAILED']),
      reason: z.string(),
    }),
  )
  .meta({ id: 'Tasks' })
  .describe('For accelctl of goharbor/acceleration-service, which sends a Content-Type and no Accept');

const STATUS: Readonly<Record<JobState, z.infer<typeof TASKS>[number]['status']>> = {
  waiting: 'PROCESSING',
  running: 'PROCESSING',
  done: 'COMPLETED',
  failed: 'FAILED',
  cancelled: 'FAILED',
  superseded: 'FAILED',
};
/** The zero of Go's time. */
const NEVER = '0001-01-01T00:00:00Z';

/** A conversion as a task. */
export function taskOf(job: Job): z.infer<typeof TASKS>[number] {
  const { id, created, finished = NEVER, repository, tag, state, reason, result } = conversionOf(job);
  const status = STATUS[state];
  return {
    id,
    created,
    finished: status === 'PROCESSING' ? NEVER : finished,
    source: `${repository}:${tag}`,
    source_size: result?.source.size ?? 0,
    target_size: result?.tags[0]?.size ?? 0,
    status,
    reason: status === 'FAILED' ? (reason?.message ?? state) : '',
  };
}
