/**
 * `/api/v1/conversions`: ask for one, list them, look at one, cancel it, try it again, follow it. `POST` also takes a webhook of Harbor
 * with its `Authorization`, as goharbor/acceleration-service does, so that a user of that changes one URL.
 */
import type { FastifyPluginAsync } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { AccelError } from '../../../base/error.ts';
import { type AppContext, callerOf } from '../app-context.ts';
import { conversionOf } from '../conversion.ts';
import type { Job } from '../queue.ts';
import { followConversion } from './event-stream.ts';
import { receive } from './hook-routes.ts';
import {
  CONVERSION,
  CONVERSION_ANSWER,
  CONVERSION_PAGE,
  CONVERSION_PATH,
  CONVERSION_QUERY,
  CONVERSION_REQUEST,
  ERROR,
} from './schemas.ts';

const ROOT = '/api/v1/conversions';
const security = [{ token: [] }];
const tags = ['conversions'];
/** Milliseconds in which an image is looked at while the caller waits. */
const LOOK_TIMEOUT = 20_000;

/** Registers the routes of conversions. */
export const conversionRoutes: FastifyPluginAsync<AppContext> = async (plugin, context) => {
  const app = plugin.withTypeProvider<ZodTypeProvider>();
  const { queue } = context;

  app.post(
    ROOT,
    {
      schema: {
        summary: 'Convert an image now',
        description: 'Also takes a webhook of Harbor, with the Authorization of service.hooks.harbor.',
        tags,
        security,
        body: z.union([CONVERSION_REQUEST, z.looseObject({ type: z.string(), event_data: z.looseObject({}) })]),
        response: {
          200: CONVERSION_ANSWER,
          202: z.union([CONVERSION_ANSWER, z.looseObject({ accepted: z.int() })]),
          '4xx': ERROR,
          '5xx': ERROR,
        },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const harbor = context.hooks().get('harbor');
      if ('event_data' in body && harbor !== undefined) {
        const sent = {
          headers: request.headers,
          query: new URLSearchParams(),
          body: Buffer.from(JSON.stringify(body)),
        };
        return receive({ kind: 'harbor', hook: harbor, request, reply }, sent, context) as never;
      }
      const caller = callerOf(context, 'write', request, reply);
      const wanted = CONVERSION_REQUEST.safeParse(body);
      if (!wanted.success) {
        throw new AccelError('usage', 'a webhook of Harbor, which is not received here', {
          expected: 'service.hooks.harbor in the configuration, or {"image": "HOST/REPOSITORY:TAG"}',
        });
      }
      const answer = await context.convert(
        wanted.data,
        AbortSignal.any([context.draining, AbortSignal.timeout(LOOK_TIMEOUT)]),
      );
      context.audit({
        caller: caller.name,
        from: request.ip,
        action: 'convert',
        subject: wanted.data.image,
        outcome: answer.decision,
      });
      return reply.status(answer.id !== undefined || answer.decision === 'accepted' ? 202 : 200).send(answer);
    },
  );

  app.get(
    ROOT,
    {
      schema: {
        summary: 'List conversions',
        tags,
        security,
        querystring: CONVERSION_QUERY,
        response: { 200: CONVERSION_PAGE, '4xx': ERROR, '5xx': ERROR },
      },
    },
    async (request, reply) => {
      callerOf(context, 'read', request, reply);
      const { limit, after, state, repository } = request.query;
      const jobs = await queue.list({
        topic: 'convert',
        limit,
        ...(after === undefined ? {} : { after }),
        ...(state === undefined ? {} : { state }),
        ...(repository === undefined ? {} : { repository }),
      });
      const last = jobs.length === limit ? jobs.at(-1) : undefined;
      return { conversions: jobs.map(shown), ...(last === undefined ? {} : { next: last.id }) };
    },
  );

  const one = { params: CONVERSION_PATH, tags, security };

  app.get(
    `${ROOT}/:id`,
    { schema: { ...one, summary: 'Look at a conversion', response: { 200: CONVERSION, '4xx': ERROR, '5xx': ERROR } } },
    async (request, reply) => {
      callerOf(context, 'read', request, reply);
      return shown(await find(context, request.params.id));
    },
  );

  app.delete(
    `${ROOT}/:id`,
    {
      schema: {
        ...one,
        summary: 'Cancel a conversion',
        response: { 202: CONVERSION, 409: ERROR, '4xx': ERROR, '5xx': ERROR },
      },
    },
    async (request, reply) => {
      const caller = callerOf(context, 'write', request, reply);
      const { id } = request.params;
      await find(context, id);
      const cancelled = await queue.cancel(id);
      context.audit({
        caller: caller.name,
        from: request.ip,
        action: 'cancel',
        subject: id,
        outcome: cancelled ? 'cancelled' : 'had ended',
      });
      if (!cancelled) return reply.status(409).send(conflict('the conversion has ended'));
      return reply.status(202).send(shown(await find(context, id)));
    },
  );

  app.post(
    `${ROOT}/:id/retry`,
    {
      schema: {
        ...one,
        summary: 'Try a failed conversion again',
        response: { 202: CONVERSION, 409: ERROR, '4xx': ERROR, '5xx': ERROR },
      },
    },
    async (request, reply) => {
      const caller = callerOf(context, 'write', request, reply);
      const { id } = request.params;
      await find(context, id);
      const retried = await queue.retry(id);
      context.audit({
        caller: caller.name,
        from: request.ip,
        action: 'retry',
        subject: id,
        outcome: retried ? 'waiting' : 'had not failed',
      });
      if (!retried) return reply.status(409).send(conflict('only a conversion that has failed can be tried again'));
      return reply.status(202).send(shown(await find(context, id)));
    },
  );

  app.get(
    `${ROOT}/:id/events`,
    {
      schema: {
        ...one,
        summary: 'Follow a conversion',
        description:
          'Server-sent events: `conversion` with the whole document whenever it changes, until it has ended.',
        produces: ['text/event-stream'],
        response: { 200: z.string().describe('text/event-stream'), '4xx': ERROR, '5xx': ERROR },
      },
    },
    async (request, reply) => {
      callerOf(context, 'read', request, reply);
      const job = await find(context, request.params.id);
      return followConversion(job, context, request, reply);
    },
  );
};

async function find({ queue }: AppContext, id: string): Promise<Job> {
  const job = await queue.get(id);
  if (job?.topic === 'convert') return job;
  throw new AccelError('not-found', 'there is no such conversion, or not any more', { found: id });
}

/** The record in the form of the schema. */
function shown(job: Job): z.input<typeof CONVERSION> {
  const record = conversionOf(job);
  return { ...record, options: { ...record.options } } as unknown as z.input<typeof CONVERSION>;
}

function conflict(message: string): z.input<typeof ERROR> {
  return { error: { code: 'conflict', message } };
}
