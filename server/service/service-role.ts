/** The roles of the conversion service: `service` is both, `api` and `worker` a part of it. */
import type { RoleContext } from '../role.ts';
import { warningsOf } from './check-service.ts';
import { checkAddress, serveApi } from './serve-api.ts';
import { type ServiceRole, startService } from './service.ts';

/** Starts a role of the service; resolves when it runs. */
export async function startServiceRole(role: ServiceRole, context: RoleContext): Promise<void> {
  if (role !== 'worker') await checkAddress(context.config.service.listen);
  const parts = await startService(role, context);
  const { config } = parts.settings();
  for (const warning of warningsOf(config)) context.log(`warning: ${warning}`);
  if (role !== 'worker') await serveApi(parts, context);
}
