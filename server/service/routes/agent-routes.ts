/** `GET /api/v1/agents`: what the agents of the cluster served and pulled, for the console's page. */
import type { FastifyPluginAsync } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { type AppContext, callerOf } from '../app-context.ts';
import { AGENTS, errors } from './schemas.ts';

/** Registers the route. */
export const agentRoutes: FastifyPluginAsync<AppContext> = async (plugin, context) => {
  const app = plugin.withTypeProvider<ZodTypeProvider>();
  app.get(
    '/api/v1/agents',
    {
      schema: {
        summary: 'List the agents of the cluster',
        description: 'Those that service.agents names are asked; an answer is kept for 5 seconds.',
        tags: ['agents'],
        security: [{ token: [] }],
        response: { 200: AGENTS, ...errors(401, 403) },
      },
    },
    async (request, reply) => {
      callerOf(context, 'read', request, reply);
      return (await context.agents()) as never;
    },
  );
};
