/**
 * Decides what becomes of the referrers of a source on its accelerated image: pure. A bill of materials describes the files, which are the
 * same, and is copied. A signature or a statement names the digest of the source, of which alone it is true: the accelerated image gets a
 * link to where it is. Nothing is rewritten so that it would say more than its author did.
 */
import type { FoundReferrer } from '../../oci/list-referrers.ts';

/** Bytes of the largest referrer that is copied. */
export const MAX_COPY_SIZE = 256 * 2 ** 20;
/** Bytes of all copies of one conversion. */
export const MAX_COPIES_SIZE = 2 ** 30;
/** Layers of a referrer that is copied. */
const MAX_LAYERS = 64;

/** The fate of a referrer: `left` gets neither copy nor link. */
export interface ReferrerDecision {
  readonly action: 'copied' | 'linked' | 'left';
  /** For people. */
  readonly reason: string;
}

/** Decides for one referrer; `room`: bytes that copies may still have. */
export function decideReferrer({ kind, size, manifest, problem }: FoundReferrer, room: number): ReferrerDecision {
  if (problem !== undefined) return { action: 'left', reason: problem };
  const linked = (reason: string): ReferrerDecision => ({ action: 'linked', reason });
  switch (kind) {
    case 'image':
      return { action: 'left', reason: 'an accelerated image' };
    case 'link':
      return { action: 'left', reason: 'a link that accel made for another image' };
    case 'signature':
      return linked('it signs the digest of the source');
    case 'attestation':
      return linked('its statement names the digest of the source');
    case 'other':
      return linked('accel does not know the type: it may speak of the digest of the source');
    case 'sbom':
  }
  if (manifest === undefined) return linked('it is an index');
  if (manifest.layers.length > MAX_LAYERS) return linked(`it has more than ${MAX_LAYERS} documents`);
  if (size > MAX_COPY_SIZE) return linked(`it is larger than ${MAX_COPY_SIZE / 2 ** 20} MiB`);
  if (size > room) return linked(`all copies together would exceed ${MAX_COPIES_SIZE / 2 ** 30} GiB`);
  return { action: 'copied', reason: 'it describes the content, which is the same' };
}
