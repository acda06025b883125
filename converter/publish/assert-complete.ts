/**
 * Checks before tagging that the target has everything that the tag refers to, with its digest and size. An acknowledged
 * upload, a mount, or a blob that "already exists" is only a promise.
 */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import { awaitAll, Limiter } from '../../base/limiter.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { canConfirm, inRegistry } from '../../oci/powers.ts';
import type { Target } from '../../oci/storage.ts';
import { pieceListOf } from '../../reader/layer-piece-list.ts';

/** Requests at a time: they are small, and there is one per layer. */
const AT_ONCE = 16;

/** Content that a tag refers to, with its name in messages. */
export interface Referred {
  readonly descriptor: Descriptor;
  /** Such as `layer 3 of 7`. */
  readonly role: string;
  readonly platform?: string;
}

/** Options of {@link assertComplete}. */
export interface CompleteOptions {
  readonly signal: AbortSignal | undefined;
  /** Digests that this run read back after it stored them: they are not checked again. */
  readonly confirmed?: ReadonlySet<string>;
}

/** Throws `registry-error`, or `layout-invalid` on disk, for the first content that is missing or has another size. */
export async function assertComplete(
  target: Target,
  referred: readonly Referred[],
  { signal, confirmed }: CompleteOptions,
): Promise<void> {
  const distinct = new Map(referred.map((one) => [one.descriptor.digest, one]));
  const limiter = new Limiter(AT_ONCE);
  const looking = [...distinct.values()]
    .filter(({ descriptor }) => confirmed?.has(descriptor.digest) !== true)
    .map((one) =>
      limiter.run(async () => {
        const { descriptor } = one;
        const exists = canConfirm(target)
          ? await target.confirm(descriptor, { signal })
          : await target.exists(descriptor, { signal });
        if (!exists) throw missing(target, one);
      }),
    );
  await awaitAll(looking);
}

/** Config and layers of a manifest. */
export function contentOf(
  manifest: { readonly config: Descriptor; readonly layers: readonly Descriptor[] },
  platform?: string,
): Referred[] {
  const { config, layers } = manifest;
  const place = platform === undefined ? {} : { platform };
  return [
    { descriptor: config, role: 'config', ...place },
    ...layers.map((descriptor, index) => ({ descriptor, role: `layer ${index + 1} of ${layers.length}`, ...place })),
  ];
}

/** The piece lists of a manifest's layers. */
export function pieceListsOf({ layers }: { readonly layers: readonly Descriptor[] }, platform?: string): Referred[] {
  return layers.flatMap((layer, index) => {
    const descriptor = pieceListOf(layer);
    if (descriptor === undefined) return [];
    const role = `piece list of layer ${index + 1} of ${layers.length}`;
    return [{ descriptor, role, ...(platform === undefined ? {} : { platform }) }];
  });
}

function missing(target: Target, { descriptor, role, platform }: Referred): AccelError {
  const isRemote = inRegistry(target) !== undefined;
  const place = isRemote ? 'the registry' : 'the layout';
  return new AccelError(
    isRemote ? 'registry-error' : 'layout-invalid',
    `${place} does not hold what the image refers to; nothing was tagged`,
    {
      where: {
        target: target.name,
        ...(platform === undefined ? {} : { platform }),
        content: role,
        digest: descriptor.digest,
      },
      expected: `${descriptor.size} bytes under this digest`,
      found: 'nothing, or another size',
      hint: advise`Run it again, with ${option('force')} if that does not help. If it happens again, ${place} acknowledges content and does not keep it, or something deletes it.`,
    },
  );
}
