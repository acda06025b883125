/** The role `admission`: the webhook that rewrites the images of pods. */
import type { RoleContext } from '../role.ts';
import { startAdmission } from './admission/start-admission.ts';

/** Starts the role; resolves when the webhook answers. */
export async function startAdmissionRole(context: RoleContext): Promise<void> {
  await startAdmission(context);
}
