/** `/healthz`, `/readyz` and `/metrics` on the address of the service; the port of telemetry has them too. */
import type { FastifyPluginAsync } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type AppContext, callerOf } from '../app-context.ts';
import { QueueError } from '../queue.ts';
import { errors } from './schemas.ts';

const tags = ['health'];
const produces = ['text/plain'];

/** Health is open to everyone, metrics need the scope `read`: they name repositories. */
export const healthRoutes: FastifyPluginAsync<AppContext> = async (plugin, context) => {
  const app = plugin.withTypeProvider<ZodTypeProvider>();
  app.get(
    '/healthz',
    { schema: { summary: 'The process lives', tags, produces, response: { 200: z.string() } } },
    async (_, reply) => reply.type('text/plain').send('ok\n'),
  );
  app.get(
    '/readyz',
    {
      schema: {
        summary: 'The service accepts events and converts',
        description: 'Where it does not, the answer says why, one reason a line.',
        ...{ tags, produces },
        response: { 200: z.string(), 503: z.string() },
      },
    },
    async (_, reply) => {
      const reasons = context.unready();
      reply.type('text/plain').status(reasons.length === 0 ? 200 : 503);
      return reasons.length === 0 ? 'ok\n' : `${reasons.join('\n')}\n`;
    },
  );
  app.get(
    '/api/v1/health',
    {
      schema: {
        summary: 'The same as goharbor/acceleration-service answers it',
        ...{ tags, produces },
        response: { 200: z.string(), ...errors(503) },
      },
    },
    async (_, reply) => {
      const [reason] = context.unready();
      if (reason !== undefined) throw new QueueError('unavailable', reason);
      return reply.type('text/plain').send('Ok');
    },
  );
  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Metrics for Prometheus',
        ...{ tags, produces },
        security: [{ token: [] }],
        response: { 200: z.string(), ...errors(401, 403) },
      },
    },
    async (request, reply) => {
      callerOf(context, 'read', request, reply);
      const { registry } = context.metrics;
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  );
};
