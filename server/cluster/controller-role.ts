/** The role `controller`: copies of pull secrets, the secret of lazily loaded devices, and labels of nodes. */
import type { RoleContext } from '../role.ts';
import { startController } from './controller/start-controller.ts';

/** Starts the role; resolves when it takes part in the election. */
export async function startControllerRole(context: RoleContext): Promise<void> {
  await startController(context);
}
