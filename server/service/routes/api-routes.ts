/** All routes of the API, as the server and the OpenAPI document (openapi.ts) have them. */
import type { FastifyInstance } from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import type { AppContext } from '../app-context.ts';
import { agentRoutes } from './agent-routes.ts';
import { conversionRoutes } from './conversion-routes.ts';
import { healthRoutes } from './health-routes.ts';
import { hookRoutes } from './hook-routes.ts';
import { repositoryRoutes } from './repository-routes.ts';

/** Registers them. */
export async function registerApi(app: FastifyInstance, context: AppContext): Promise<void> {
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  for (const routes of [healthRoutes, hookRoutes, conversionRoutes, repositoryRoutes, agentRoutes])
    await app.register(routes, context);
}
