/**
 * The HTTP server of the service: hooks, API and console on one address. Its limits: a body has at most {@link MAX_BODY} bytes, a
 * request arrives within {@link REQUEST_TIMEOUT}, {@link MAX_CONNECTIONS} connections are open at a time. Every error is one document,
 * `{error: {code, message, …}}`.
 */
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { AppContext } from './app-context.ts';
import { answerBrokenRequest, answerConnect, pathOf, sendError, sendMissing } from './error-answers.ts';
import { collectMethods } from './routes/allowed-methods.ts';
import { registerApi } from './routes/api-routes.ts';

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
  const { requestTimeout = REQUEST_TIMEOUT } = context;
  let methodsOf: ReturnType<typeof collectMethods> = () => [];
  const app = fastify({
    bodyLimit: MAX_BODY,
    requestTimeout,
    keepAliveTimeout: KEEP_ALIVE,
    forceCloseConnections: true,
    http: { headersTimeout: requestTimeout, connectionsCheckingInterval: CHECKING_INTERVAL, maxHeaderSize: 16 * 1024 },
    // Notifications and documents are plain JSON: no prototype may come in with one.
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    routerOptions: { maxParamLength: 256 },
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply),
    clientErrorHandler: (error, socket) => answerBrokenRequest(error, socket, methodsOf),
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  app.server.on('connect', (_, socket) => answerConnect(socket));
  methodsOf = collectMethods(app);
  app.setErrorHandler(sendError);
  const answerMissing = (request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    sendMissing(request, reply, methodsOf(pathOf(request.url)));
  app.setNotFoundHandler(answerMissing);
  // Before anything of the body is looked at: QUERY needs a content type, whatever the address.
  app.addHook('onRequest', async (request, reply) => (request.is404 ? answerMissing(request, reply) : undefined));
  app.addHook('onSend', async (_, reply) => {
    reply.header('X-Content-Type-Options', 'nosniff').header('Referrer-Policy', 'no-referrer');
    if (!reply.hasHeader('Cache-Control')) reply.header('Cache-Control', 'no-store');
  });
  await registerApi(app, context);
  for (const routes of context.more ?? []) await app.register(routes, context);
  let document: Promise<object> | undefined;
  app.get('/openapi.json', async () => {
    document ??= import('./openapi.ts').then(({ describeApi }) => describeApi());
    return document;
  });
  await app.ready();
  return app;
}
