/** Inspects an image by its name, as a user types it. */
import type { Named, NameOptions } from '../reader/open-by-name.ts';
import { openReference } from '../reader/open-reference.ts';
import { type InspectOptions, type InspectReport, inspectReference } from './inspect-reference.ts';

/** Options to look for more beside the image itself: missing content, referrers. */
type Extras = Pick<InspectOptions, 'check' | 'referrers'>;

/**
 * Describes an image, accelerated or not, without reading it: mode, layers, sizes and base; for an ordinary image the
 * modes of conversion. `reference` is `host[:port]/repo[:tag][@digest]`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or
 * `docker-archive:FILE[:TAG]`. Throws `reference-invalid`, `not-found`, and what the registry answers.
 */
export async function inspect(reference: string, options: NameOptions & Extras = {}): Promise<Named<InspectReport>> {
  const opened = await openReference(reference, options.registry);
  try {
    return {
      reference: opened.name,
      ...(await inspectReference(opened.target, opened.tagOrDigest, readOptions(options))),
    };
  } finally {
    await opened.close();
  }
}

function readOptions({ signal, check, referrers }: NameOptions & Extras): InspectOptions {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(check === undefined ? {} : { check }),
    ...(referrers === undefined ? {} : { referrers }),
  };
}
