/** Outcome of a run of the Action, in the one form that outputs, summary, web hook and log are made from. */
import type { ConvertResult, TagResult } from '../converter/options.ts';
import type { AcceleratedFacts, InspectReport } from '../inspect/inspect-reference.ts';
import type { EventDecision, FinishedTag } from '../triggers/decide.ts';
import type { StartCost, Verification } from './finished.ts';

/** A tag that was made or found finished. */
export interface ReportedTag {
  readonly tag: string;
  /** Of the manifest or index. */
  readonly digest: string;
  readonly kind: TagResult['kind'] | AcceleratedFacts['mode'];
  /** Bytes of config and layers of all platforms. */
  readonly size: number;
  /** `size` over that of the base; undefined while that is not known. */
  readonly ratio?: number;
  /** True when it was already up to date. */
  readonly upToDate?: boolean;
  readonly start?: StartCost;
  readonly verification?: Verification;
}

/** The layers of one platform, lowest first: what they were, and what became of each in every tag. */
export interface LayerTable {
  readonly platform: string;
  /** Kinds of the tags. */
  readonly heads: readonly string[];
  readonly rows: readonly {
    readonly source: { readonly digest: string; readonly size?: number };
    readonly cells: readonly { readonly kind: string; readonly size: number }[];
  }[];
}

/** The outcome of a run. */
export interface Outcome {
  readonly decision: EventDecision;
  /** `host/repo` of the tags. */
  readonly repository: string | undefined;
  readonly tags: readonly ReportedTag[];
  readonly layers: readonly LayerTable[];
  /** Result of the converter, where it ran. */
  readonly result?: ConvertResult;
}

/** The tags of a conversion. */
export function convertedTags(result: ConvertResult): ReportedTag[] {
  return result.tags.map(({ tag, digest, kind, size, ratio, upToDate }) => ({
    tag,
    digest,
    kind,
    size,
    ratio,
    upToDate,
  }));
}

/** Reports a finished tag from the images under it. */
export function finishedTag({ tag, digest, mode }: FinishedTag, { images }: InspectReport): ReportedTag {
  const facts = images.filter((image) => image.accelerated);
  const size = facts.reduce((sum, image) => sum + image.size, 0);
  const baseSizes = facts.map((image) => image.base?.size);
  const isKnown = baseSizes.length > 0 && baseSizes.every((one) => one !== undefined && one > 0);
  const baseSize = baseSizes.reduce<number>((sum, one) => sum + (one ?? 0), 0);
  return { tag, digest, kind: mode ?? facts[0]?.mode ?? 'full', size, ...(isKnown ? { ratio: size / baseSize } : {}) };
}

/** The layer tables of a conversion: one a source image, a column for each different result of it. */
export function convertedLayers({ tags }: ConvertResult): LayerTable[] {
  const tables: LayerTable[] = [];
  const sources = new Set(tags.flatMap((tag) => tag.manifests.map((manifest) => manifest.sourceDigest)));
  for (const sourceDigest of sources) {
    const columns = tags.flatMap(({ kind, manifests }) =>
      manifests.filter((manifest) => manifest.sourceDigest === sourceDigest).map((manifest) => ({ kind, manifest })),
    );
    const first = columns[0]!.manifest;
    tables.push({
      platform: first.platform,
      heads: columns.map(({ kind }) => kind),
      rows: first.layers.map((layer, index) => ({
        source: { digest: layer.sourceDigest, size: layer.sourceSize },
        cells: columns.map(({ manifest }) => manifest.layers[index]!),
      })),
    });
  }
  return tables;
}

/** The layer tables of finished tags: one an image, since the layers under each tag may differ. */
export function finishedLayers(reports: readonly InspectReport[]): LayerTable[] {
  return reports.flatMap(({ images }) =>
    images.flatMap((image) => {
      if (!image.accelerated) return [];
      const rows = image.layers.map(({ digest, kind, size, source }) => ({
        source: { digest: source?.digest ?? digest },
        cells: [{ kind, size }],
      }));
      return [{ platform: image.platform, heads: [image.mode], rows }];
    }),
  );
}
