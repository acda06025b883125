/** `GET /api/v1/repositories`: totals of the conversions of each repository. */
import type { FastifyPluginAsync } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { type AppContext, callerOf } from '../app-context.ts';
import { summarizeRepositories } from '../repositories.ts';
import { errors, REPOSITORIES } from './schemas.ts';

/** Registers the route. */
export const repositoryRoutes: FastifyPluginAsync<AppContext> = async (plugin, context) => {
  const app = plugin.withTypeProvider<ZodTypeProvider>();
  const summarize = summarizeRepositories(context.queue);
  app.get(
    '/api/v1/repositories',
    {
      schema: {
        summary: 'List repositories',
        tags: ['repositories'],
        security: [{ token: [] }],
        response: { 200: REPOSITORIES, ...errors(401, 403, 503) },
      },
    },
    async (request, reply) => {
      callerOf(context, 'read', request, reply);
      const { repositories, complete } = await summarize();
      return { repositories: [...repositories], complete };
    },
  );
};
