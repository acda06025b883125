/** Brings source layers into another repository, where index-only images need them. */
import type { Descriptor } from '../../oci/descriptor.ts';
import { canMount } from '../../oci/powers.ts';
import type { Session } from '../session.ts';

/**
 * Ensures that the target has a source layer: nothing to do within one repository; otherwise the layer is mounted if the
 * registry can do that, or copied and verified.
 */
export async function bringSourceBlob(
  { source, target, mountFrom, signal }: Session,
  descriptor: Descriptor,
): Promise<void> {
  if (source === target) return;
  if (mountFrom !== undefined && canMount(target) && (await target.mount(descriptor, mountFrom, { signal }))) return;
  await target.push(descriptor, { open: () => fetched(source, descriptor, signal) }, { signal });
}

async function* fetched(
  source: Session['source'],
  descriptor: Descriptor,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  yield* await source.fetch(descriptor, { signal });
}
