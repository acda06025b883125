/** Annotations of accelerated images, and accel's own that record how an image was made. */
import { AccelError } from '../../base/error.ts';
import { VERSION } from '../../base/version.ts';
import { LAYER_ANNOTATION, LAYER_VERSION, RECORD_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import { DEFAULT_ZSTD_LEVEL } from '../../formats/zstd/block.ts';
import type { ImageManifest } from '../../oci/manifest.ts';
import type { ArtifactOptions, OutputTag } from '../options.ts';

export { LAYER_ANNOTATION, LAYER_VERSION, RECORD_ANNOTATION };

const PREFETCH_OPTION = 'prefetch=';

/** Content of the record annotations. */
export interface ConversionRecord {
  readonly sourceDigest: string;
  readonly mode: OutputTag['kind'];
  readonly options: string;
  readonly version: string;
}

/** Canonical text of the options that determine the bytes; `prefetch` names the prefetch list. */
export function optionsText(artifact: ArtifactOptions, platforms: readonly string[], prefetch?: string): string {
  const level = levelOf(artifact);
  const parts = [
    `vsize=${artifact.virtualSize ?? 'auto'}`,
    `algorithm=${artifact.algorithm}`,
    `bs=${artifact.blockSize}`,
    ...(level === undefined ? [] : [`level=${level}`]),
    `span=${artifact.span}`,
    `oci=${artifact.oci || artifact.referrer}`,
    `referrer=${artifact.referrer}`,
    ...(artifact.flattenAbove === undefined ? [] : [`flatten-above=${artifact.flattenAbove}`]),
    ...(artifact.layout === undefined ? [] : [`layout=${artifact.layout}`]),
    `platforms=${[...platforms].sort().join('+') || 'all'}`,
  ];
  return withPrefetchOption(parts.join(','), prefetch);
}

/** The level that blocks are compressed with, named also where zstd's is not given; undefined for LZ4's fast compression. */
export function levelOf({ algorithm, level }: ArtifactOptions): number | undefined {
  return level ?? (algorithm === 'zstd' ? DEFAULT_ZSTD_LEVEL : undefined);
}

/** An options text of images whose layers have no piece lists. */
export function withoutPieceListOption(options: string): string {
  return withPrefetchOption(`${options},pieces=no`, prefetchOption(options));
}

/** An options text with another prefetch list, or without one. */
export function withPrefetchOption(options: string, prefetch: string | undefined): string {
  const others = options.split(',').filter((part) => !part.startsWith(PREFETCH_OPTION));
  return [...others, ...(prefetch === undefined ? [] : [`${PREFETCH_OPTION}${prefetch}`])].join(',');
}

/** The name of the prefetch list in an options text. */
export function prefetchOption(options: string): string | undefined {
  return options
    .split(',')
    .find((part) => part.startsWith(PREFETCH_OPTION))
    ?.slice(PREFETCH_OPTION.length);
}

/** The record for a source converted in a mode. */
export function makeRecord(sourceDigest: string, mode: OutputTag['kind'], options: string): ConversionRecord {
  return { sourceDigest, mode, options, version: VERSION };
}

/** A record as annotations. */
export function encodeRecord(record: ConversionRecord): Record<string, string> {
  return {
    [RECORD_ANNOTATION.sourceDigest]: record.sourceDigest,
    [RECORD_ANNOTATION.mode]: record.mode,
    [RECORD_ANNOTATION.options]: record.options,
    [RECORD_ANNOTATION.version]: record.version,
  };
}

/** The annotation of a manifest whose layers are laid out; none for the order of the source. */
export function layoutAnnotation(layout: ArtifactOptions['layout']): Record<string, string> {
  return layout === undefined ? {} : { [RECORD_ANNOTATION.layout]: layout };
}

/** The annotation of a manifest with a flattened layer above so many layers; none where nothing is flattened. */
export function flattenedAnnotation(above: number | undefined): Record<string, string> {
  return above === undefined ? {} : { [RECORD_ANNOTATION.flattenedAbove]: String(above) };
}

/** Decodes the record in annotations; undefined if they are not accel's. */
export function decodeRecord(annotations: Readonly<Record<string, string>> | undefined): ConversionRecord | undefined {
  const sourceDigest = annotations?.[RECORD_ANNOTATION.sourceDigest];
  const mode = annotations?.[RECORD_ANNOTATION.mode];
  if (sourceDigest === undefined || (mode !== 'full' && mode !== 'containerd' && mode !== 'index-only'))
    return undefined;
  return {
    sourceDigest,
    mode,
    options: annotations?.[RECORD_ANNOTATION.options] ?? '',
    version: annotations?.[RECORD_ANNOTATION.version] ?? '',
  };
}

/** Whether a layer of the manifest is an overlaybd layer, whichever tool converted it. */
export function isAccelerated(manifest: ImageManifest): boolean {
  return manifest.layers.some((layer) => layer.annotations?.[LAYER_ANNOTATION.blobDigest] !== undefined);
}

/** Throws `already-accelerated` if the manifest is the result of a conversion. */
export function refuseAccelerated(manifest: ImageManifest, digest: string): void {
  if (decodeRecord(manifest.annotations) === undefined && !isAccelerated(manifest)) return;
  throw new AccelError('already-accelerated', 'the source is already an accelerated image', {
    where: { digest },
    expected: 'an ordinary image',
    found: `layers with ${LAYER_ANNOTATION.blobDigest}`,
    hint: 'Convert the image that it was made from; accel inspect shows its digest.',
  });
}
