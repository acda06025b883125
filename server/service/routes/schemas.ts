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

/** Query of a list of conversions. */
export const CONVERSION_QUERY = z.strictObject({
  state: STATE.optional(),
  repository: z.string().max(1024).optional().describe('HOST/REPOSITORY'),
  after: z.string().max(128).optional().describe('Id of the last conversion of the page before'),
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(50),
});

/** A request for a conversion. */
export const CONVERSION_REQUEST = z.strictObject({
  image: z.string().min(1).max(2048).describe('HOST/REPOSITORY:TAG; a rule has to cover it'),
  force: z.boolean().default(false).describe('Converts even what is up to date'),
});

/** The answer to it. */
export const CONVERSION_ANSWER = z.object({
  decision: z
    .string()
    .describe('convert, up-to-date, already-accelerated, …; accepted where the registry does not answer now'),
  reason: z.string(),
  id: z.string().optional().describe('The conversion, where there is one'),
});

/** Path of one conversion. */
export const CONVERSION_PATH = z.object({ id: z.string().min(1).max(128) });

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
  })
  .meta({ id: 'Error' });
