/** The roles of the conversion service: `service` is both, `api` and `worker` a part of it. */
import type { RoleContext } from '../role.ts';
import { serveApi } from './serve-api.ts';
import { type ServiceRole, startService } from './service.ts';

/** Starts a role of the service; resolves when it runs. */
export async function startServiceRole(role: ServiceRole, context: RoleContext): Promise<void> {
  const parts = await startService(role, context);
  const { config } = parts.settings();
  if (config.rules.length === 0) context.log('no rules are configured: nothing is converted');
  if (role !== 'worker') await serveApi(parts, context);
}
