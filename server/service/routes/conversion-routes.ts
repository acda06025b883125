/**
 * `/api/v1/conversions`: ask for one, list them, look at one, cancel it, try it again, follow it. `POST` also takes a webhook of Harbor
 * with its `Authorization`, as goharbor/acceleration-service does, so that a user of that changes one URL.
 */
import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { AccelError } from '../../../base/error.ts';
import { type AppContext, callerOf } from '../app-context.ts';
import { conversionOf } from '../conversion.ts';
import { ConversionFailed } from '../error-answers.ts';
import type { EventSink } from '../intake.ts';
import { repositoryOf } from '../push-event.ts';
import type { Job } from '../queue.ts';
import { isAccelctl, TASKS, taskOf } from './accelctl.ts';
import { followConversion, hasEnded } from './event-stream.ts';
import { hookRequestOf, receive } from './hook-routes.ts';
import {
  CONVERSION,
  CONVERSION_ANSWER,
  CONVERSION_PAGE,
  CONVERSION_PATH,
  CONVERSION_QUERY,
  CONVERSION_REQUEST,
  CONVERSION_WAIT,
  type ERROR,
  errors,
  HARBOR_WEBHOOK,
  RECEIPT,
} from './schemas.ts';
import { waitForEnd } from './wait-for-end.ts';

const ROOT = '/api/v1/conversions';
const security = [{ token: [] }];
const tags = ['conversions'];
/** Milliseconds in which an image is looked at while the caller waits. */
const LOOK_TIMEOUT = 20_000;

/** Registers the routes of conversions. */
export const conversionRoutes: FastifyPluginAsync<AppContext> = async (plugin, context) => {
  const app = plugin.withTypeProvider<ZodTypeProvider>();
  const { queue } = context;

  // The bytes as they came, beside what they say: a webhook's signature is over them.
  const bodies = new WeakMap<FastifyRequest, Buffer>();
  const parseJson = plugin.getDefaultJsonParser('error', 'error');
  plugin.removeAllContentTypeParsers();
  plugin.addContentTypeParser<Buffer>(
    ['application/json', 'application/cloudevents+json'],
    { parseAs: 'buffer' },
    (request, body, done) => {
      bodies.set(request, body);
      if (body.length === 0) done(null, undefined);
      else parseJson(request, body.toString('utf8'), done);
    },
  );

  app.post(
    ROOT,
    {
      schema: {
        summary: 'Convert an image now',
        description:
          'Also takes a webhook of Harbor, with the Authorization of service.hooks.harbor, as goharbor/acceleration-service does.',
        tags,
        security,
        querystring: CONVERSION_WAIT,
        body: z.union([CONVERSION_REQUEST, HARBOR_WEBHOOK]),
        response: {
          200: z.union([CONVERSION_ANSWER, RECEIPT]),
          202: z.union([CONVERSION_ANSWER, RECEIPT]),
          ...errors(400, 401, 403, 413, 415, 500, 502, 503, 504, 507),
        },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const hook = 'image' in body ? undefined : context.hooks().get('harbor');
      const sync = request.query.sync === 'true' || request.query.sync === '1';
      if (hook !== undefined) {
        const sent = hookRequestOf(request, bodies.get(request) ?? Buffer.alloc(0));
        const accept = sync ? convertAndWait(context, request) : undefined;
        return receive({ kind: 'harbor', hook, request, reply }, sent, context, accept) as never;
      }
      const caller = callerOf(context, 'write', request, reply);
      const wanted = CONVERSION_REQUEST.safeParse(body);
      if (!wanted.success) {
        throw new AccelError(
          'usage',
          'this is the form of a webhook of Harbor, and service.hooks.harbor is not configured',
          {
            expected: 'service.hooks.harbor in the configuration, or {"image": "HOST/REPOSITORY:TAG"}',
          },
        );
      }
      const { image } = wanted.data;
      const answer = await context.convert(wanted.data, lookSignal(context));
      context.audit({
        caller: caller.name,
        from: request.ip,
        action: 'convert',
        subject: image,
        outcome: answer.decision,
      });
      if (sync && answer.id !== undefined && (await ended(context, [answer.id], request))) {
        return reply.status(200).send(answer);
      }
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
        response: { 200: z.union([CONVERSION_PAGE, TASKS]), ...errors(400, 401, 403, 503) },
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
      if (isAccelctl(request)) return jobs.map(taskOf);
      const last = jobs.length === limit ? jobs.at(-1) : undefined;
      return { conversions: jobs.map(shown), ...(last === undefined ? {} : { next: last.id }) };
    },
  );

  const one = { params: CONVERSION_PATH, tags, security };

  app.get(
    `${ROOT}/:id`,
    {
      schema: {
        ...one,
        summary: 'Look at a conversion',
        response: { 200: CONVERSION, ...errors(400, 401, 403, 404, 503) },
      },
    },
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
        response: { 202: CONVERSION, ...errors(400, 401, 403, 404, 409, 413, 415, 503, 507) },
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
        response: { 202: CONVERSION, ...errors(400, 401, 403, 404, 409, 413, 415, 503, 507) },
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
      // A HEAD would wait for the end of a body that never comes.
      exposeHeadRoute: false,
      schema: {
        ...one,
        summary: 'Follow a conversion',
        description:
          'Server-sent events: `conversion` with the whole document whenever it changes, until it has ended.',
        produces: ['text/event-stream'],
        response: { 200: z.string(), ...errors(400, 401, 403, 404, 503) },
      },
    },
    async (request, reply) => {
      callerOf(context, 'read', request, reply);
      const job = await find(context, request.params.id);
      return followConversion(job, context, request, reply);
    },
  );
};

function lookSignal({ draining }: AppContext): AbortSignal {
  return AbortSignal.any([draining, AbortSignal.timeout(LOOK_TIMEOUT)]);
}

/** Accepts pushes as the sink does, looks at each at once, and resolves when what they call for has ended. */
function convertAndWait(context: AppContext, request: FastifyRequest): EventSink['accept'] {
  return async (pushes) => {
    const counts = await context.sink.accept(pushes);
    const ids: string[] = [];
    for (const push of counts.accepted === 0 ? [] : pushes) {
      const image = `${repositoryOf(push)}:${push.tag}`;
      const { id } = await context.convert({ image, force: false }, lookSignal(context)).catch((error: unknown) => {
        // Of several pushes one may have no rule.
        if (error instanceof AccelError && error.code === 'usage') return { id: undefined };
        throw error;
      });
      if (id !== undefined) ids.push(id);
    }
    await ended(context, ids, request);
    return counts;
  };
}

/** Waits for conversions: true when all are done, false when they go on without the caller. Throws ConversionFailed. */
async function ended(context: AppContext, ids: readonly string[], request: FastifyRequest): Promise<boolean> {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  request.raw.socket.once('close', leave);
  try {
    const jobs = await waitForEnd(context.queue, ids, AbortSignal.any([context.draining, gone.signal]));
    const failed = jobs.find(({ state }) => state === 'failed');
    if (failed !== undefined) {
      const { code = 'internal', message = 'the conversion failed' } = failed.failure ?? {};
      throw new ConversionFailed(`${message} (${code}); ${ROOT}/${failed.id} has the details`);
    }
    return jobs.every(({ state }) => hasEnded(state));
  } finally {
    request.raw.socket.off('close', leave);
  }
}

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
