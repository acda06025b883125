/** Examines a finished tag: its description, the bytes that a node fetches at start, and whether it matches its source. */
import { asAccelError } from '../base/error.ts';
import { type InspectReport, inspectReference } from '../inspect/inspect-reference.ts';
import type { OpenOptions } from '../oci/open.ts';
import { openImage } from '../reader/accelerated-image.ts';
import { openFiles } from '../reader/files.ts';
import { imageSize } from '../reader/footprint.ts';
import { openReference } from '../reader/open-reference.ts';
import { type VerifyResult, verifyReference } from '../verify/verify-reference.ts';
import type { VerifyMode } from './inputs.ts';

/** Access to the registry of a tag. */
export interface Access {
  readonly registry: OpenOptions;
  readonly signal: AbortSignal;
}

/** Bytes and requests that it took to attach the device of an image and to list its root directory. */
export interface StartCost {
  readonly platform: string;
  readonly requests: number;
  readonly bytes: number;
  /** Bytes of the image, and of the source layers that it points into. */
  readonly whole: number;
}

/** The outcome of a verification: its result, or the reason why it was not possible. */
export type Verification = VerifyResult | { readonly impossible: string };

/** Describes what a reference names, from its documents and the ends of its layers. */
export function inspectTag(reference: string, { registry, signal }: Access): Promise<InspectReport> {
  return withReference(reference, registry, ({ target, tagOrDigest }) =>
    inspectReference(target, tagOrDigest, { signal }),
  );
}

/** Attaches the image of one platform as a node does, lists `/`, and says what that cost. */
export function measureStart(reference: string, platform: string, { registry, signal }: Access): Promise<StartCost> {
  return withReference(reference, registry, async ({ target, tagOrDigest }) => {
    const image = await openImage(target, tagOrDigest, { platform, signal });
    await (await openFiles(image)).list('/');
    return { platform: image.platform, ...image.statistics(), whole: imageSize(image) };
  });
}

/**
 * Compares a tag with its source: with `source`, or with what it records, in its own repository. Where nobody said what
 * the source is and it is gone or was never recorded, the outcome says so; every other failure is thrown.
 */
export async function verifyTag(
  reference: string,
  source: { readonly reference: string; readonly access: Access } | undefined,
  mode: Exclude<VerifyMode, 'off'>,
  { registry, signal }: Access,
): Promise<Verification> {
  return withReference(reference, registry, async (accelerated) => {
    const compare = (against?: Awaited<ReturnType<typeof openReference>>): Promise<VerifyResult> =>
      verifyReference({ accelerated, source: against, platforms: [], quick: mode === 'quick', signal });
    if (source !== undefined) return withReference(source.reference, source.access.registry, compare);
    try {
      return await compare();
    } catch (error) {
      const known = asAccelError(error);
      // The base of a full image may be deleted, and other convertors do not say what they converted.
      if (known.code !== 'not-found' && known.code !== 'usage') throw error;
      return { impossible: known.message };
    }
  });
}

async function withReference<T>(
  reference: string,
  registry: Access['registry'],
  body: (opened: Awaited<ReturnType<typeof openReference>>) => Promise<T>,
): Promise<T> {
  const opened = await openReference(reference, registry);
  try {
    return await body(opened);
  } finally {
    await opened.close();
  }
}
