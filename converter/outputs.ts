/** From converted images to tags. */
import { AccelError } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { ImageIndex } from '../oci/manifest.ts';
import { toFamily } from '../oci/media-types.ts';
import { encodeRecord, makeRecord } from './annotations.ts';
import { artifactTypeOf, type ComposedManifest, familyOf, putManifest, subjectField } from './compose.ts';
import { type ConvertedImage, convertImage } from './image.ts';
import type { OutputTag, TagResult } from './options.ts';
import type { Session } from './session.ts';
import type { SourceImage } from './source-image.ts';
import { type NamedDocument, totals } from './standing.ts';

/** Converts the images and tags the outputs: the tags last, when everything that they refer to stands in the target. */
export async function makeOutputs(
  session: Session,
  source: NamedDocument,
  images: readonly SourceImage[],
  outputs: readonly OutputTag[],
): Promise<TagResult[]> {
  const kinds = new Set(outputs.map((output) => output.kind));
  const limiter = new Limiter(session.request.concurrency);
  const converted = await Promise.all(images.map((image) => limiter.run(() => convertImage(session, image, kinds))));
  const results: { readonly result: TagResult; readonly descriptor: Descriptor }[] = [];
  for (const output of outputs) results.push(await makeOutput(session, source, converted, output));
  // Before the tags: a run that ends between the two must leave the record behind for the next image.
  if (!session.request.noUpload) await remember(session);
  // Everything stands: now the names, and nothing else can fail between them but the naming itself.
  for (const { result, descriptor } of results) {
    if (session.request.noUpload) continue;
    await session.target.tag(descriptor, result.tag, { signal: session.signal });
    session.emit({ type: 'tagged', tag: result.tag, digest: result.digest });
  }
  return results.map(({ result }) => result);
}

/** Keeps the record of converted layers. It only saves time: where a registry does not take it, that is worth a line. */
async function remember({ cache, emit, signal }: Session): Promise<void> {
  try {
    await cache?.save();
  } catch (error) {
    if (signal.aborted || !(error instanceof AccelError)) throw error;
    const message = `the record of converted layers was not kept; the next run converts them again: ${error.message}`;
    emit({ type: 'warning', message });
  }
}

async function makeOutput(
  session: Session,
  source: NamedDocument,
  converted: readonly ConvertedImage[],
  output: OutputTag,
): Promise<{ readonly result: TagResult; readonly descriptor: Descriptor }> {
  const manifests = converted.map((image) => image.get(output.kind)!);
  const descriptor = await nameable(session, source, manifests, output);
  return {
    descriptor,
    result: {
      tag: output.tag,
      kind: output.kind,
      digest: descriptor.digest,
      mediaType: descriptor.mediaType,
      ...totals(manifests),
      manifests: manifests.map(({ mediaType: _, manifestSize: __, ...manifest }) => manifest),
      upToDate: false,
    },
  };
}

/** What the tag is to name: the one manifest, or an index over all of them when the source was one. */
async function nameable(
  session: Session,
  { descriptor: source, document }: NamedDocument,
  manifests: readonly ComposedManifest[],
  output: OutputTag,
): Promise<Descriptor> {
  const [only] = manifests;
  if (document.kind === 'manifest')
    return { mediaType: only!.mediaType, digest: only!.digest, size: only!.manifestSize };
  const family = familyOf(session, document.index.mediaType);
  const index: ImageIndex = {
    schemaVersion: 2,
    mediaType: toFamily(document.index.mediaType, family),
    ...artifactTypeOf(session, output.kind),
    manifests: manifests.map((manifest) => {
      const platform = document.index.manifests.find((child) => child.digest === manifest.sourceDigest)?.platform;
      const { mediaType, digest, manifestSize: size } = manifest;
      return { mediaType, digest, size, ...(platform === undefined ? {} : { platform }) };
    }),
    ...subjectField(session, source),
    annotations: {
      ...document.index.annotations,
      ...encodeRecord(makeRecord(source.digest, output.kind, session.options)),
    },
  };
  return putManifest(session, index);
}
