/** Source layers in another repository: an index-only image is useless without them. */
import type { Descriptor } from '../../oci/descriptor.ts';
import { canMount } from '../../oci/powers.ts';
import type { Session } from '../session.ts';

/**
 * Makes sure that a source layer stands in the target: nothing to do within one repository; mounted where the registry
 * does that; else copied, verified on the way.
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
