/** `/healthz`, `/readyz` and `/metrics` on the address of the service; the port of telemetry has them too. */
import type { FastifyPluginAsync } from 'fastify';
import { type AppContext, callerOf } from '../app-context.ts';

/** Health is open to everyone, metrics need the scope `read`: they name repositories. */
export const healthRoutes: FastifyPluginAsync<AppContext> = async (app, context) => {
  const schema = { hide: true };
  app.get('/healthz', { schema }, async (_, reply) => reply.type('text/plain').send('ok\n'));
  app.get('/readyz', { schema }, async (_, reply) => {
    const reasons = context.unready();
    reply.type('text/plain').status(reasons.length === 0 ? 200 : 503);
    return reasons.length === 0 ? 'ok\n' : `${reasons.join('\n')}\n`;
  });
  app.get('/metrics', { schema }, async (request, reply) => {
    callerOf(context, 'read', request, reply);
    const { registry } = context.metrics;
    return reply.type(registry.contentType).send(await registry.metrics());
  });
};
