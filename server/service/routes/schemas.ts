/** The documents of the API as schemas: they validate requests and answers, and the OpenAPI document shows them. */
import { z } from 'zod';
import { MAX_PAGE } from '../queue.ts';

const time = z.string().describe('ISO 8601');

const failure = z
  .looseObject({
    code: z.string(),
    message: z.string(),
    temporary: z.boolean().describe('Whether another attempt may succeed without a change by people'),
  })
  .describe('Why the last attempt failed');

const layer = z.object({
  platform: z.string(),
  index: z.int().describe('0 = lowest'),
  count: z.int(),
  digest: z.string(),
  size: z.int().describe('Bytes of the source blob'),
  read: z.int(),
  state: z.enum(['waiting', 'reading', 'pushing', 'reused', 'done']),
});

const progress = z.object({
  stage: z.enum(['starting', 'converting', 'tagging', 'verifying']),
  digest: z.string().optional(),
  bytes: z.int().describe('Bytes of all source layers'),
  read: z.int(),
  layers: z.array(layer),
});

const result = z.looseObject({
  target: z.string().describe('Repository of the tags'),
  source: z.object({ digest: z.string(), mediaType: z.string(), size: z.int() }),
  tags: z.array(
    z.object({
      tag: z.string(),
      kind: z.enum(['full', 'containerd', 'index-only']),
      digest: z.string(),
      mediaType: z.string(),
      size: z.int().describe('Bytes over all platforms'),
      ratio: z.number().describe('Size by that of the source'),
      upToDate: z.boolean(),
    }),
  ),
  platforms: z.array(z.string()),
  warnings: z.array(z.string()),
  verified: z.enum(['off', 'quick', 'full']),
});

/** States of a conversion. */
const STATE = z.enum(['waiting', 'running', 'done', 'failed', 'cancelled', 'superseded']);

/** A conversion. */
export const CONVERSION = z
  .object({
    id: z.string(),
    repository: z.string(),
    tag: z.string(),
    digest: z.string().optional(),
    rule: z.int().describe('Number of the rule in the configuration, from 1'),
    options: z.looseObject({}),
    from: z.string().describe('The kind of event that asked for it'),
    state: STATE,
    attempts: z.int(),
    created: time,
    started: time.optional(),
    finished: time.optional(),
    due: time.optional(),
    reason: failure.optional(),
    progress: progress.optional(),
    result: result.optional(),
  })
  .meta({ id: 'Conversion' });

/** A page of conversions. */
export const CONVERSION_PAGE = z.object({
  conversions: z.array(CONVERSION).describe('Newest first'),
  next: z.string().optional().describe('Value of `after` for the next page'),
});

/** Ids of conversions. */
const ID = z.string().regex(/^[A-Za-z0-9-]{1,64}$/);

/** Query of a list of conversions. */
export const CONVERSION_QUERY = z.strictObject({
  state: STATE.optional(),
  repository: z
    .string()
    .regex(/^[\x21-\x7e]{1,1024}$/)
    .optional()
    .describe('HOST/REPOSITORY'),
  after: ID.optional().describe('Id of the last conversion of the page before'),
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(50),
});

/** A request for a conversion. */
export const CONVERSION_REQUEST = z.strictObject({
  image: z.string().min(1).max(2048).describe('HOST/REPOSITORY:TAG; a rule has to cover it'),
  force: z.boolean().default(false).describe('Converts even what is up to date'),
});

/** A webhook of Harbor in one of its two forms; its receiver reads it. */
export const HARBOR_WEBHOOK = z.union([
  z.looseObject({ type: z.string(), event_data: z.looseObject({}) }),
  z.looseObject({ specversion: z.string(), type: z.string(), data: z.looseObject({}) }),
]);

/** Query of a request for a conversion. */
export const CONVERSION_WAIT = z.object({
  sync: z
    .enum(['true', 'false', '1', '0'])
    .optional()
    .describe('Answers when the conversion has ended, or after ten minutes'),
});

/** The answer to a webhook. */
export const RECEIPT = z
  .object({
    accepted: z.int().describe('Pushes that are on disk'),
    dropped: z.int().describe('Pushes that no rule covers'),
    ignored: z.int().describe('Events that are no push of a tag'),
  })
  .meta({ id: 'Receipt' });

/** The answer to it. */
export const CONVERSION_ANSWER = z.object({
  decision: z
    .string()
    .describe('convert, up-to-date, already-accelerated, …; accepted where the registry does not answer now'),
  reason: z.string(),
  id: z.string().optional().describe('The conversion, where there is one'),
});

/** Path of one conversion. */
export const CONVERSION_PATH = z.object({ id: ID });

/** Totals of the conversions of each repository. */
export const REPOSITORIES = z.object({
  repositories: z.array(
    z
      .object({
        repository: z.string(),
        images: z.int().describe('Tags with at least one conversion'),
        converted: z.int().describe('Tags whose last conversion succeeded'),
        failed: z.int().describe('Tags whose last conversion failed for good'),
        pending: z.int().describe('Tags whose last conversion waits or runs'),
        sourceBytes: z.int().describe('Bytes of the converted images'),
        acceleratedBytes: z.int().describe('Bytes of the first accelerated tag of each'),
        lastFinished: time.optional(),
      })
      .meta({ id: 'Repository' }),
  ),
  complete: z.boolean().describe('False where there are more conversions than were looked at'),
});

const count = z.int();

/** The agents of the cluster. */
export const AGENTS = z.object({
  agents: z.array(
    z
      .object({
        node: z.string().describe('Identity of the agent, or the address that was asked'),
        reachable: z.boolean(),
        problem: z.string().optional().describe('Why there is no answer, or why it cannot serve well now'),
        zone: z.string().optional(),
        version: z.string().optional(),
        started: time.optional(),
        degraded: z.array(z.string()).optional().describe('Lists what does not work though it serves; at most 20'),
        members: count.optional().describe('Agents that it knows'),
        peers: z
          .array(z.object({ node: z.string(), lastError: z.string(), at: time }))
          .optional()
          .describe('Agents that it could not reach when it last asked them; at most 20'),
        bytes: z
          .object({ toClients: count, toPeers: count, fromPeers: count, fromOrigin: count })
          .optional()
          .describe('Since it started'),
        cache: z.object({ allocated: count, used: count, memory: count, pieces: count }).optional(),
      })
      .meta({ id: 'Agent' }),
  ),
  images: z
    .array(z.object({ image: z.string(), nodes: count, fromPeers: count, fromOrigin: count, toClients: count }))
    .describe('Bytes of all agents together, by repository; at most 500'),
  problem: z.string().optional().describe('Why the agents are not known'),
});

/** Any error. */
export const ERROR = z
  .object({
    error: z.looseObject({
      code: z.string(),
      message: z.string(),
      expected: z.union([z.string(), z.number()]).optional(),
      found: z.union([z.string(), z.number()]).optional(),
      hint: z.string().optional(),
    }),
    code: z.string().optional().describe('For accelctl alone, as is message'),
    message: z.string().optional(),
  })
  .meta({ id: 'Error' });

/** The documents of the statuses that a route may answer with beside success. */
export function errors<const Status extends number>(...statuses: readonly Status[]): Record<Status, typeof ERROR> {
  return Object.fromEntries(statuses.map((status) => [status, ERROR])) as Record<Status, typeof ERROR>;
}
