/** Verifies an image by its name, as a user types it. */
import type { Named, NameOptions } from '../reader/open-by-name.ts';
import { openReference } from '../reader/open-reference.ts';
import { type VerifyResult, verifyReference } from './verify-reference.ts';
import type { VerifyProgress } from './verify-report.ts';

/** Options of a verification. */
export interface VerifyOptions extends NameOptions {
  /** Reference of the source image; omitted: what the accelerated image records, in its own repository. */
  readonly source?: string | undefined;
  /** Platforms of an index as `os/arch[/variant]`; omitted or empty: all. */
  readonly platforms?: readonly string[];
  /** Bytes that a source layer may have, as a blob and uncompressed; omitted: 256 GiB. */
  readonly maxLayerSize?: number;
  /** Leave content alone. */
  readonly quick?: boolean;
  readonly onProgress?: (platform: string, progress: VerifyProgress) => void;
}

/**
 * Reads an accelerated image back as a node does and compares every path, byte and attribute with what its source's
 * layers say. Differences are returned and not thrown. Throws `not-found` when the source is gone, `usage` when it
 * cannot be known, and what the formats throw of an image that cannot be read at all.
 */
export async function verify(reference: string, options: VerifyOptions = {}): Promise<Named<VerifyResult>> {
  const { registry, platforms = [], quick = false, maxLayerSize, onProgress, signal } = options;
  const accelerated = await openReference(reference, registry);
  try {
    const source = options.source === undefined ? undefined : await openReference(options.source, registry);
    try {
      const progress = {
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(maxLayerSize === undefined ? {} : { maxLayerSize }),
      };
      const result = await verifyReference({ accelerated, source, platforms, quick, signal, ...progress });
      return { reference: accelerated.name, ...result };
    } finally {
      await source?.close();
    }
  } finally {
    await accelerated.close();
  }
}
