/** Converts the images of a request and tags the results. */
import { setMaxListeners } from 'node:events';
import { AccelError } from '../../base/error.ts';
import { awaitAll, Limiter } from '../../base/limiter.ts';
import { DESCRIPTOR_FIELDS, type Descriptor } from '../../oci/descriptor.ts';
import { DOCUMENT_FIELDS, type ImageIndex, type ImageManifest, unknownFields } from '../../oci/manifest.ts';
import { OCI, toFamily } from '../../oci/media-types.ts';
import { type ConvertedImage, convertImage, type ReadyImage } from '../convert-image.ts';
import type { OutputTag, TagResult } from '../options.ts';
import { totals } from '../plan/existing-output.ts';
import type { Preparation } from '../plan/preparation.ts';
import type { SourceImage } from '../plan/source-image.ts';
import type { Session } from '../session.ts';
import { assertComplete, contentOf, pieceListsOf, type Referred } from './assert-complete.ts';
import {
  artifactTypeOf,
  type ComposedManifest,
  familyOf,
  type ImageKind,
  optionsOf,
  subjectField,
} from './output-manifest.ts';
import { putManifest } from './push-document.ts';
import { encodeRecord, makeRecord } from './record-annotations.ts';

/** Images by the digest of their source: with converted layers, and with pushed manifests. */
type Ready = ReadonlyMap<string, ReadyImage>;
type Converted = ReadonlyMap<string, ConvertedImage>;

/**
 * Converts the images and tags the outputs: the tags last, when the target has everything that they refer to. `carry` attaches the
 * referrers of the source to the results, before the tags.
 */
export async function makeOutputs(
  session: Session,
  preparation: Preparation,
  carry: (made: readonly TagResult[]) => Promise<void>,
): Promise<TagResult[]> {
  const { images, due } = preparation;
  const ready = await convertImages(session, images, new Set(due.map((output) => output.kind)));
  // The record comes before the tags: a run that ends between the two has recorded its layers.
  const [converted] = await awaitAll([composeImages(session, ready), remember(session)]);
  const results: MadeOutput[] = [];
  for (const output of due) results.push(await makeOutput(session, preparation, converted, output));
  await assertComplete(session.target, results.flatMap(referredBy), session);
  await carry(results.map(({ result }) => result));
  await session.beforeTags?.(results.map(({ result }) => result));
  // The content is complete: now the tags, and nothing but the tagging itself can fail between them.
  await tagOutputs(session, results);
  return results.map(({ result }) => result);
}

/** A result, and the document that its tag will name. */
interface MadeOutput {
  readonly result: TagResult;
  readonly descriptor: Descriptor;
  readonly manifests: readonly ComposedManifest[];
}

/** Lists the content of a tag: its manifests, their configs and layers, and the source layers of index-only ones. */
function referredBy({ descriptor, manifests }: MadeOutput): Referred[] {
  return manifests.flatMap((one) => {
    const { platform, mediaType, digest, manifestSize: size, layers } = one;
    const sources = layers.filter(({ kind }) => kind === 'index-only');
    return [
      // The tag's own document is read back when it is tagged.
      ...(digest === descriptor.digest
        ? []
        : [{ descriptor: { mediaType, digest, size }, role: 'manifest', platform }]),
      ...contentOf(one.manifest as ImageManifest, platform),
      ...pieceListsOf(one.manifest as ImageManifest, platform),
      ...sources.map(({ sourceDigest, sourceSize }) => ({
        descriptor: { mediaType: OCI.layer, digest: sourceDigest, size: sourceSize },
        role: 'source layer',
        platform,
      })),
    ];
  });
}

async function tagOutputs({ target, signal, emit }: Session, outputs: readonly MadeOutput[]): Promise<void> {
  const report = ({ result: { tag, digest } }: MadeOutput): void => emit({ type: 'tagged', tag, digest });
  const naming = outputs.map(async (output) => {
    await target.tag(output.descriptor, output.result.tag, { signal });
    if (target.commit === undefined) report(output);
  });
  await awaitAll(naming);
  if (target.commit === undefined) return;
  await target.commit({ signal });
  for (const output of outputs) report(output);
}

/**
 * Converts images concurrently, but those that share a base one after another, so that its layers are converted once. Pushes
 * no manifests yet. After a failure the others are stopped and awaited.
 */
async function convertImages(
  session: Session,
  images: readonly SourceImage[],
  kinds: ReadonlySet<ImageKind>,
): Promise<Ready> {
  const limiter = session.resources.images;
  const stop = new AbortController();
  const signal = AbortSignal.any([session.signal, stop.signal]);
  setMaxListeners(0, signal);
  const stoppable: Session = { ...session, signal };
  const byBase = new Map<string, SourceImage[]>();
  for (const image of images) {
    const base = image.config.rootfs.diff_ids[0]!;
    byBase.set(base, [...(byBase.get(base) ?? []), image]);
  }
  const ready = new Map<string, ReadyImage>();
  const convertGroup = async (group: readonly SourceImage[]): Promise<void> => {
    for (const image of group) {
      stoppable.signal.throwIfAborted();
      ready.set(image.descriptor.digest, await convertImage(stoppable, image, kinds));
    }
  };
  let failure: { readonly error: unknown } | undefined;
  const running = [...byBase.values()].map((group) =>
    limiter
      .run(() => convertGroup(group))
      .catch((error: unknown) => {
        failure ??= { error };
        stop.abort(error);
      }),
  );
  await Promise.all(running);
  if (failure !== undefined) throw failure.error;
  for (const image of ready.values()) await image.settle();
  return ready;
}

async function composeImages({ request }: Session, ready: Ready): Promise<Converted> {
  const limiter = new Limiter(request.concurrency);
  const composing = [...ready].map(async ([digest, image]) => {
    return [digest, await limiter.run(() => image.compose())] as const;
  });
  return new Map(await awaitAll(composing));
}

/** Saves the record of converted layers. It only saves time: if a registry refuses it, a warning is logged. */
async function remember({ request, cache, emit, signal, shared }: Session): Promise<void> {
  if (!request.cache) return;
  if (shared?.owns(cache) === true) return shared.saveSoon(cache);
  try {
    await cache.save();
  } catch (error) {
    if (signal.aborted || !(error instanceof AccelError)) throw error;
    const message = `the record of converted layers was not saved; the next run converts them again: ${error.message}`;
    emit({ type: 'warning', message });
  }
}

async function makeOutput(
  session: Session,
  preparation: Preparation,
  converted: Converted,
  output: OutputTag,
): Promise<MadeOutput> {
  const manifests = preparation.images.map((image) => converted.get(image.descriptor.digest)!.get(output.kind)!);
  const descriptor = await documentOf(session, preparation, manifests, output);
  return {
    descriptor,
    manifests,
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

/** The document that the tag will name: the one manifest, or an index over all of them if the source is an index. */
async function documentOf(
  session: Session,
  { source: { descriptor: source, document }, selection }: Preparation,
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
    manifests: selection.manifests.map((entry) => {
      const { digest: sourceDigest, platform } = entry;
      const manifest = manifests.find((one) => one.sourceDigest === sourceDigest)!;
      const { mediaType, digest, manifestSize: size } = manifest;
      const others = unknownFields(entry, DESCRIPTOR_FIELDS);
      return { mediaType, digest, size, ...(platform === undefined ? {} : { platform }), ...others };
    }),
    ...subjectField(session, source),
    annotations: {
      ...document.index.annotations,
      ...encodeRecord(makeRecord(source.digest, output.kind, optionsOf(session, output.kind))),
    },
    ...unknownFields(document.index, DOCUMENT_FIELDS),
  };
  return putManifest(session, session.recordKey?.sign(index) ?? index);
}
