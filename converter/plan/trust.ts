/**
 * Decides whether to trust an output that claims to be up to date. Everyone who may push to the repository can write such a
 * claim: the record key, or a comparison with the source, detects a forgery.
 */
import { AccelError } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { ImageDocument } from '../../oci/manifest.ts';
import { verifyReference } from '../../verify/verify-reference.ts';
import type { OutputTag } from '../options.ts';
import type { PlanSession } from '../session.ts';
import type { SourceImage } from './source-image.ts';

/** An output whose annotations say that it is up to date. */
export interface Claim {
  readonly output: OutputTag;
  readonly source: Descriptor;
  readonly existing: { readonly descriptor: Descriptor; readonly document: ImageDocument };
  readonly images: readonly SourceImage[];
}

/** Returns false, after a warning, for an output that must be made again. */
export async function isTrusted(session: PlanSession, claim: Claim): Promise<boolean> {
  const problem = codeProblem(session, claim) ?? (await contentProblem(session, claim));
  if (problem === undefined) return true;
  const message = `${claim.output.tag} says that it is up to date, but ${problem}: it is made again`;
  session.emit({ type: 'warning', message });
  return false;
}

function codeProblem({ recordKey }: PlanSession, { existing: { document } }: Claim): string | undefined {
  if (recordKey === undefined || recordKey.proves(document.kind === 'index' ? document.index : document.manifest)) {
    return undefined;
  }
  return 'it carries no valid code of the record key';
}

async function contentProblem(session: PlanSession, { source, existing, images }: Claim): Promise<string | undefined> {
  const { request, signal } = session;
  if (request.verifyReused !== true) return undefined;
  try {
    const { differenceCount, images: verified } = await verifyReference({
      accelerated: { target: session.target, tagOrDigest: existing.descriptor.digest },
      source: { target: session.source, tagOrDigest: source.digest },
      platforms: [],
      quick: false,
      maxLayerSize: request.artifact.maxLayerSize,
      signal,
    });
    if (differenceCount > 0) return `its content differs from the source (${differenceCount} differences)`;
    const missing = images.filter(({ descriptor }) => !verified.some((one) => one.sourceDigest === descriptor.digest));
    return missing.length === 0 ? undefined : `it lacks ${missing.map(({ platform }) => platform).join(', ')}`;
  } catch (error) {
    if (signal.aborted || !(error instanceof AccelError) || !IS_ABOUT_IMAGE.test(error.code)) throw error;
    return `it cannot be read as an accelerated image (${error.message})`;
  }
}

/** Codes of faults of the image, unlike those of the network or the registry. */
const IS_ABOUT_IMAGE = /-(?:invalid|mismatch|unsupported|exceeded|found|failed)$/;
