/**
 * The HTTP server of the service: hooks, API and console on one address. Its limits: a body has at most {@link MAX_BODY} bytes, a
 * request arrives within {@link REQUEST_TIMEOUT}, {@link MAX_CONNECTIONS} connections are open at a time. Every error is one document,
 * `{error: {code, message, …}}`.
 */
import swagger from '@fastify/swagger';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import {
  jsonSchemaTransform,
  jsonSchemaTransformObject,
  serializerCompiler,
  validatorCompiler,
} from 'fastify-type-provider-zod';
import { AccelError, type AccelErrorCode } from '../../base/error.ts';
import { redact } from '../../base/secrets.ts';
import { VERSION } from '../../base/version.ts';
import type { AppContext } from './app-context.ts';
import { QueueError, type QueueRefusal } from './queue.ts';
import { conversionRoutes } from './routes/conversion-routes.ts';
import { healthRoutes } from './routes/health-routes.ts';
import { hookRoutes } from './routes/hook-routes.ts';
import { repositoryRoutes } from './routes/repository-routes.ts';

/** Most bytes of a body; the largest notification that a registry documents has some kilobytes. */
const MAX_BODY = 1024 * 1024;
/** Milliseconds in which a request has to arrive. */
const REQUEST_TIMEOUT = 10_000;
/** Milliseconds between two looks at connections that take too long. */
const CHECKING_INTERVAL = 2000;
/** Connections at a time; more are refused at once. */
const MAX_CONNECTIONS = 4096;
const KEEP_ALIVE = 60_000;

/** Builds the server, which does not listen yet. */
export async function createApp(context: AppContext): Promise<FastifyInstance> {
  const app = fastify({
    bodyLimit: MAX_BODY,
    requestTimeout: REQUEST_TIMEOUT,
    keepAliveTimeout: KEEP_ALIVE,
    forceCloseConnections: true,
    http: { headersTimeout: REQUEST_TIMEOUT, connectionsCheckingInterval: CHECKING_INTERVAL, maxHeaderSize: 16 * 1024 },
    // Notifications and documents are plain JSON: no prototype may come in with one.
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    routerOptions: { maxParamLength: 256 },
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(sendError);
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0];
    return sendError(
      new AccelError('not-found', 'there is nothing at this address', { found: `${request.method} ${path}` }),
      request,
      reply,
    );
  });
  app.addHook('onSend', async (_, reply) => {
    reply.header('X-Content-Type-Options', 'nosniff').header('Referrer-Policy', 'no-referrer');
    if (!reply.hasHeader('Cache-Control')) reply.header('Cache-Control', 'no-store');
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'accel conversion service',
        version: VERSION,
        description: 'Converts the images that are pushed.',
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
  await app.register(healthRoutes, context);
  await app.register(hookRoutes, context);
  await app.register(conversionRoutes, context);
  await app.register(repositoryRoutes, context);
  for (const routes of context.more ?? []) await app.register(routes, context);
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  await app.ready();
  return app;
}

const STATUS: Readonly<Partial<Record<AccelErrorCode, number>>> = {
  usage: 400,
  'reference-invalid': 400,
  'not-found': 404,
  unauthorized: 401,
  aborted: 503,
  'timed-out': 504,
  'registry-unreachable': 502,
  'registry-error': 502,
};

const REFUSAL_STATUS: Readonly<Record<QueueRefusal, number>> = { full: 507, busy: 503, unavailable: 503, invalid: 400 };

function sendError(error: unknown, _: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof QueueError) {
    const status = REFUSAL_STATUS[error.refusal];
    if (status !== 400) reply.header('Retry-After', '10');
    return reply.status(status).send(documentOf(error, `queue-${error.refusal}`));
  }
  if (error instanceof AccelError) return reply.status(STATUS[error.code] ?? 500).send(documentOf(error));
  // Fastify's own: a body that is too long, not JSON or not of the schema.
  const { statusCode = 500, message } = error as FastifyError;
  const body =
    statusCode < 500 ? { code: 'usage', message: redact(message) } : { code: 'internal', message: 'internal error' };
  return reply.status(statusCode).send({ error: body });
}

function documentOf(error: AccelError, code: string = error.code): object {
  const { message, where, expected, found, hint } = error;
  return {
    error: {
      code,
      message,
      ...(Object.keys(where).length === 0 ? {} : { where }),
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
      ...(hint === undefined ? {} : { hint }),
    },
  };
}
