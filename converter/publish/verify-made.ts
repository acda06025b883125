/** Verifies results before their tags are set. */
import { AccelError } from '../../base/error.ts';
import { verifyReference } from '../../verify/verify-reference.ts';
import type { Endpoints } from '../endpoints.ts';
import type { TagResult } from '../options.ts';

/** Differences that an error names. */
const MAX_NAMED = 3;

/** A verification. */
export interface VerifyMade {
  readonly endpoints: Pick<Endpoints, 'source' | 'target'>;
  /** Digest of the source. */
  readonly source: string;
  /** `quick`: everything but content. */
  readonly extent: 'quick' | 'full';
  readonly signal: AbortSignal;
}

/** Compares what is about to be tagged with its source. Throws `verification-failed`. */
export async function verifyMade(
  made: readonly TagResult[],
  { endpoints, source, extent, signal }: VerifyMade,
): Promise<void> {
  // Both tags of full mode may name one image.
  for (const digest of new Set(made.map((one) => one.digest))) {
    const found = await verifyReference({
      accelerated: { target: endpoints.target, tagOrDigest: digest },
      source: { target: endpoints.source, tagOrDigest: source },
      platforms: [],
      quick: extent === 'quick',
      signal,
    });
    if (found.identical) continue;
    const differences = [...found.differences, ...found.images.flatMap((image) => image.differences)];
    throw new AccelError('verification-failed', 'the converted image differs from its source; nothing was tagged', {
      where: { digest },
      expected: 'no difference',
      found: `${found.differenceCount}: ${JSON.stringify(differences.slice(0, MAX_NAMED)).slice(0, 2000)}`,
    });
  }
}
