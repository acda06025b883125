/** Examines the present content of an output tag: up to date, in conflict, or to be replaced. */
import { advise, option } from '../../base/advice.ts';
import { AccelError, asAccelError } from '../../base/error.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { findDocument, loadManifest, type NamedDocument } from '../../oci/document.ts';
import type { ImageDocument, ImageManifest } from '../../oci/manifest.ts';
import { groupLayers } from '../layer/layer-groups.ts';
import type { ManifestResult, OutputTag, TagResult } from '../options.ts';
import { sourceOf } from '../publish/output-manifest.ts';
import {
  type ConversionRecord,
  decodeRecord,
  LAYER_ANNOTATION,
  makeRecord,
  prefetchOption,
  RECORD_ANNOTATION,
  withPrefetchOption,
} from '../publish/record-annotations.ts';
import type { PlanSession } from '../session.ts';
import { distinct } from './select-manifests.ts';
import type { SourceImage } from './source-image.ts';
import { isTrusted } from './trust.ts';

/**
 * Returns the output's result if its tag is up to date: made from this source with these options and this version. Throws
 * `tag-conflict` if the tag's content must not be overwritten without `force`.
 */
export async function findExistingOutput(
  session: PlanSession,
  output: OutputTag,
  source: Descriptor,
  images: readonly SourceImage[],
): Promise<TagResult | undefined> {
  const { request } = session;
  if (session.source === session.target && output.tag === request.source.tag && !request.force) {
    throw conflict(session, output, {
      message: 'the output tag is the source tag',
      expected: 'another tag than the source',
      found: output.tag,
    });
  }
  if (request.force) {
    // It is replaced in any case; its prefetch list may be kept.
    const replaced = await findDocument(session.target, output.tag, { signal: session.signal }).catch(() => undefined);
    session.signal.throwIfAborted();
    if (replaced !== undefined) session.kept.note(output, replaced);
    return undefined;
  }
  const existing = await findDocument(session.target, output.tag, { signal: session.signal }).catch(
    (error: unknown) => {
      throw unreadable(error, output);
    },
  );
  if (existing === undefined) return undefined;
  session.kept.note(output, existing);
  const record = decodeRecord(annotationsOf(existing.document));
  if (record === undefined) return undefined;
  if (!isAllowed(record, output)) {
    throw conflict(session, output, {
      message: 'the tag has an accelerated image of another mode',
      expected: output.kind,
      found: record.mode,
    });
  }
  if (!isCurrent(session, record, source.digest)) return undefined;
  const result = await describe(session, output, existing, images);
  // An index with more images present than before is converted again.
  const isWhole = images.every((image) => result.manifests.some((one) => one.sourceDigest === image.descriptor.digest));
  return isWhole && (await isTrusted(session, { output, source, existing, images })) ? result : undefined;
}

/** Whether a result was made from this source with the options of the session and by this version. */
export function isCurrent(session: PlanSession, record: ConversionRecord, sourceDigest: string): boolean {
  const { request } = session;
  const isKept = request.prefetch === undefined && request.noPrefetch !== true;
  const options = isKept ? withPrefetchOption(session.options, prefetchOption(record.options)) : session.options;
  const wanted = makeRecord(sourceDigest, record.mode, options);
  return (
    wanted.sourceDigest === record.sourceDigest &&
    wanted.options === record.options &&
    wanted.version === record.version
  );
}

/** A containerd tag may name a full image: an image whose bottom layer cannot be indexed gets that. */
export function isAllowed(record: ConversionRecord, output: OutputTag): boolean {
  return record.mode === output.kind || (output.kind === 'containerd' && record.mode === 'full');
}

/** Why a tag cannot be overwritten. */
interface Conflict {
  readonly message: string;
  readonly expected: string;
  readonly found: string;
}

function conflict(session: PlanSession, output: OutputTag, { message, expected, found }: Conflict): AccelError {
  return new AccelError('tag-conflict', message, {
    where: { image: `${session.target.name}:${output.tag}` },
    expected,
    found,
    hint: advise`Choose another tag with ${option('outputTag', 'TAG')}, or overwrite this one with ${option('force')}.`,
  });
}

/** A registry that was killed while it wrote a tag may answer 500 for it forever; a temporary failure must not lose it. */
function unreadable(error: unknown, output: OutputTag): AccelError {
  const known = asAccelError(error);
  if (known.code !== 'registry-error' || known.hint !== undefined) return known;
  return new AccelError('registry-error', known.message, {
    ...known.details,
    hint: advise`If ${output.tag} stays unreadable, overwrite it with ${option('force')}.`,
  });
}

/** The annotations of a manifest or an index. */
export function annotationsOf(document: ImageDocument): Readonly<Record<string, string>> | undefined {
  return document.kind === 'index' ? document.index.annotations : document.manifest.annotations;
}

async function describe(
  session: PlanSession,
  output: OutputTag,
  { descriptor, document }: NamedDocument,
  sources: readonly SourceImage[],
): Promise<TagResult> {
  const manifests: ManifestResult[] = [];
  if (document.kind === 'manifest') manifests.push(describeManifest(descriptor, document.manifest, sources));
  for (const child of document.kind === 'index' ? distinct(document.index.manifests) : []) {
    const manifest = await loadManifest(session.target, child, { signal: session.signal });
    manifests.push(describeManifest(child, manifest, sources));
  }
  return {
    tag: output.tag,
    kind: output.kind,
    digest: descriptor.digest,
    mediaType: descriptor.mediaType,
    ...totals(manifests),
    manifests,
    upToDate: true,
  };
}

function describeManifest(
  descriptor: Descriptor,
  manifest: ImageManifest,
  sources: readonly SourceImage[],
): ManifestResult {
  const sourceDigest = decodeRecord(manifest.annotations)?.sourceDigest ?? '';
  const source = sources.find((image) => image.descriptor.digest === sourceDigest);
  const stacked = manifest.layers.filter(isStacked);
  const above = manifest.annotations?.[RECORD_ANNOTATION.flattenedAbove];
  const groups = groupLayers(source?.manifest.layers.length ?? 0, above === undefined ? undefined : Number(above));
  return {
    platform: source?.platform ?? 'unknown',
    sourceDigest,
    digest: descriptor.digest,
    size: manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size),
    sourceSize: source?.size ?? 0,
    virtualSize: undefined,
    layers: stacked.map((layer, index) => ({
      kind: layer.annotations?.[LAYER_ANNOTATION.targetDigest] === undefined ? 'full' : 'index-only',
      ...(source === undefined || groups[index] === undefined
        ? { sourceDigest: '', sourceSize: 0 }
        : sourceOf(source, groups[index])),
      digest: layer.digest,
      size: layer.size,
    })),
    manifest,
  };
}

function isStacked({ annotations }: Descriptor): boolean {
  return annotations?.[LAYER_ANNOTATION.accelerationLayer] === undefined;
}

/** Size and ratio over all platforms of a tag. */
export function totals(manifests: readonly ManifestResult[]): { readonly size: number; readonly ratio: number } {
  const size = manifests.reduce((sum, manifest) => sum + manifest.size, 0);
  const sourceSize = manifests.reduce((sum, manifest) => sum + manifest.sourceSize, 0);
  return { size, ratio: sourceSize === 0 ? 0 : size / sourceSize };
}
