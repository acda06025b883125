/** Plans a conversion by reading manifests and the first bytes of layers. */

import type { NamedDocument } from '../../oci/document.ts';
import type { LayerKind } from '../events.ts';
import { flattenedAbove, groupLayers } from '../layer/layer-groups.ts';
import { type Compression, compressionOf, SNIFF_SIZE } from '../layer/sniff.ts';
import type { OutputTag, ReferrerResult } from '../options.ts';
import { planReferrers } from '../referrers/carry-referrers.ts';
import type { PlanSession } from '../session.ts';
import { prepare } from './preparation.ts';
import type { Skipped } from './select-manifests.ts';
import type { SourceImage } from './source-image.ts';

/** The plan for a layer. */
export interface LayerPlan {
  readonly digest: string;
  /** Bytes of the source blob. */
  readonly size: number;
  /** Detected by the first bytes of the content. */
  readonly compression: Compression;
  /** The blobs that would be made of it. */
  readonly makes: readonly LayerKind[];
  /** Reasons why blobs are not made. */
  readonly notes: readonly string[];
}

/** The plan of a conversion. */
export interface ConvertPlan {
  readonly repository: string;
  readonly source: { readonly digest: string; readonly mediaType: string; readonly size: number };
  /** The tags to make; those that are up to date have their digest in the last field. */
  readonly tags: readonly {
    readonly tag: string;
    readonly kind: OutputTag['kind'];
    readonly standing: string | undefined;
  }[];
  readonly images: readonly {
    readonly platform: string;
    readonly digest: string;
    readonly size: number;
    readonly layers: readonly LayerPlan[];
  }[];
  /** The prefetch list; its paths are looked up when the layers are converted. */
  readonly prefetch?: { readonly lines: number; readonly format: 'list' | 'trace' | undefined };
  /** The referrers of the source, and what would become of them; absent unless the request copies referrers. */
  readonly referrers?: readonly Omit<ReferrerResult, 'made'>[];
  readonly skipped: readonly Skipped[];
}

/** Makes the plan. Throws what `prepare` throws, and `layer-unsupported` for an unknown compression. */
export async function makePlan(session: PlanSession): Promise<ConvertPlan> {
  const { request, prefetch } = session;
  const { source, selection, images, existing, due } = await prepare(session);
  const planned: ConvertPlan['images'][number][] = [];
  for (const image of due.length > 0 ? images : []) planned.push(await planImage(session, image, due));
  return {
    repository: request.targetRepository ?? request.repository,
    source: {
      digest: source.descriptor.digest,
      mediaType: source.descriptor.mediaType,
      size: images.reduce((sum, image) => sum + image.size, 0),
    },
    tags: request.outputs.map(({ tag, kind }) => ({
      tag,
      kind,
      standing: existing.find((found) => found.tag === tag)?.digest,
    })),
    images: planned,
    ...(request.copyReferrers === true ? { referrers: await plannedReferrers(session, source, images) } : {}),
    ...(prefetch === undefined ? {} : { prefetch: { lines: prefetch.lines.length, format: prefetch.format } }),
    skipped: selection.skipped,
  };
}

async function plannedReferrers(
  session: PlanSession,
  source: NamedDocument,
  images: readonly SourceImage[],
): Promise<Omit<ReferrerResult, 'made'>[]> {
  const { planned } = await planReferrers(session, source, images);
  return planned.map(({ subject, referrer: { manifest: _, problem: __, ...facts }, decision }) => {
    return { subject, ...facts, ...decision };
  });
}

async function planImage(
  session: PlanSession,
  image: SourceImage,
  due: readonly OutputTag[],
): Promise<ConvertPlan['images'][number]> {
  const kinds = new Set(due.map((output) => output.kind));
  const layers: LayerPlan[] = [];
  const groups = groupLayers(image.manifest.layers.length, session.request.artifact.flattenAbove);
  const above = flattenedAbove(groups);
  for (const [at, descriptor] of image.manifest.layers.entries()) {
    const { digest, size } = descriptor;
    const head = await session.source.fetchRange(descriptor, 0, Math.min(size, SNIFF_SIZE), { signal: session.signal });
    const compression = compressionOf(head);
    const bottom = layers[0]?.compression ?? compression;
    const isFlat = above !== undefined && at >= above;
    const what = isFlat ? flattenedPlan(above, image.manifest.layers.length) : whatOf(kinds, compression, bottom);
    layers.push({ digest, size, compression, ...what });
  }
  return { platform: image.platform, digest: image.descriptor.digest, size: image.size, layers };
}

/** All layers that are flattened together make one. */
function flattenedPlan(above: number, count: number): Pick<LayerPlan, 'makes' | 'notes'> {
  return { makes: ['full'], notes: [`layers ${above + 1} to ${count} are flattened into one`] };
}

/** The blobs that a layer of this compression gets. */
function whatOf(
  kinds: ReadonlySet<OutputTag['kind']>,
  compression: Compression,
  bottom: Compression,
): Pick<LayerPlan, 'makes' | 'notes'> {
  const makes: LayerKind[] = kinds.has('full') || kinds.has('containerd') ? ['full'] : [];
  if (!kinds.has('containerd') && !kinds.has('index-only')) return { makes, notes: [] };
  if (compression === 'zstd') return { makes, notes: ['zstd cannot be indexed'] };
  if (bottom === 'zstd')
    return { makes, notes: ['the bottom layer cannot be indexed, so no layer above it may be index-only'] };
  return { makes: [...makes, 'index-only'], notes: [] };
}
