/** The front of a full layer that a start reads, where its descriptor says that there is one (docs/layout.md). */
import { STARTUP_SIZE_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';

/** Bytes of the blob up to the end of what a start reads; 0 where the descriptor says none, or what cannot be. */
export function startupSizeOf({ annotations, size }: Pick<Descriptor, 'annotations' | 'size'>): number {
  const text = annotations?.[STARTUP_SIZE_ANNOTATION] ?? '';
  return /^\d{1,15}$/.test(text) && Number(text) <= size ? Number(text) : 0;
}
