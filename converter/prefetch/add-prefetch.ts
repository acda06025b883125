/**
 * Adds a prefetch list to an accelerated image, or replaces its list: a new layer, config and manifest, without a conversion.
 * The tag is moved last.
 */
import { advise, option } from '../../base/advice.ts';
import { AccelError, withPlace } from '../../base/error.ts';
import type { ImageConfig } from '../../oci/config.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { isDigestLike } from '../../oci/digest.ts';
import { resolveDocument } from '../../oci/document.ts';
import { assertImageName } from '../../oci/image-names.ts';
import { indexImages, type ListedImage } from '../../oci/index-images.ts';
import { encodeJson, type ImageIndex, type ImageManifest } from '../../oci/manifest.ts';
import { mediaFamily } from '../../oci/media-types.ts';
import type { Target } from '../../oci/storage.ts';
import { type AcceleratedImage, openImage } from '../../reader/accelerated-image.ts';
import type { ConvertContext, PrefetchRequest, PrefetchResult } from '../options.ts';
import { assertComplete, contentOf } from '../publish/assert-complete.ts';
import { type DocumentPlace, inOrder, putBytes, putManifest } from '../publish/push-document.ts';
import { decodeRecord, RECORD_ANNOTATION, withPrefetchOption } from '../publish/record-annotations.ts';
import { RecordKey, withoutCode } from '../publish/record-key.ts';
import {
  type AccelerationLayer,
  accelerationDescriptor,
  makeAccelerationLayer,
  resolveList,
  withAcceleration,
  withoutAcceleration,
} from './acceleration.ts';
import { type PrefetchList, parsePrefetch } from './prefetch-list.ts';

/** The list to add, and the image. */
export interface AddPrefetchRequest {
  readonly target: Target;
  /** The image of one platform, or an index whose images all get the list. */
  readonly tagOrDigest: string;
  readonly prefetch: PrefetchRequest;
  /** The tag of the result; omitted: the one that named the image. */
  readonly outputTag?: string;
  /** Key of the record (see ConvertRequest): the result carries a code of it where the image did. */
  readonly recordKey?: Uint8Array;
}

/** Result of {@link addPrefetch}. */
export interface AddPrefetchResult {
  readonly tag: string;
  /** Digest of the manifest or index that the tag names now. */
  readonly digest: string;
  /** True if the image already had this list. */
  readonly upToDate: boolean;
  readonly images: readonly {
    readonly platform: string;
    readonly digest: string;
    /** Absent when nothing of the list can be prefetched. */
    readonly prefetch?: PrefetchResult;
  }[];
  readonly warnings: readonly string[];
}

/** See the module's comment. Throws `usage` without a tag for the result, and what `openImage` and the list throw. */
export async function addPrefetch(
  request: AddPrefetchRequest,
  context: ConvertContext = {},
): Promise<AddPrefetchResult> {
  const tag = outputTagOf(request);
  const list = parsePrefetch(request.prefetch);
  const warnings: string[] = [];
  const emit: DocumentPlace['emit'] = (event) => {
    if (event.type === 'warning') warnings.push(event.message);
    context.onEvent?.(event);
  };
  const key = request.recordKey === undefined ? undefined : new RecordKey(request.recordKey);
  const place: AddPlace = {
    target: request.target,
    signal: context.signal,
    confirmed: new Set(),
    emit,
    key,
  };
  const { signal } = context;
  const { descriptor: named, document } = await resolveDocument(place.target, request.tagOrDigest, { signal });
  const images: AddedImage[] = [];
  let result: Descriptor;
  if (document.kind === 'manifest') {
    const added = await addToImage(place, named, list);
    images.push(added);
    result = added.descriptor;
  } else {
    const { index } = document;
    const manifests: Descriptor[] = [];
    const listed = await indexImages(place.target, index, { signal });
    for (const child of index.manifests) {
      const image = listed.images.find((one) => one.digest === child.digest);
      if (image === undefined) {
        manifests.push(child);
        continue;
      }
      const added = await addToImage(place, image, list);
      images.push(added);
      manifests.push({ ...child, ...added.descriptor });
    }
    const changed: ImageIndex = { ...index, manifests, ...recorded(index, list) };
    result = await putManifest(place, sealed(place, index, inOrder(changed)));
  }
  const upToDate = result.digest === named.digest && request.tagOrDigest === tag;
  if (!upToDate) {
    const referred = images.flatMap(({ platform, descriptor, manifest }) => [
      { descriptor, role: 'manifest', platform },
      ...contentOf(manifest, platform),
    ]);
    await assertComplete(place.target, referred, { signal, confirmed: place.confirmed });
    await place.target.tag(result, tag, { signal });
    await place.target.commit?.({ signal });
    emit({ type: 'tagged', tag, digest: result.digest });
  }
  const described = images.map(({ platform, descriptor, prefetch }) => ({
    platform,
    digest: descriptor.digest,
    ...(prefetch === undefined ? {} : { prefetch }),
  }));
  return { tag, digest: result.digest, upToDate, images: described, warnings };
}

interface AddedImage {
  readonly platform: string;
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly prefetch: PrefetchResult | undefined;
}

async function addToImage(
  place: AddPlace,
  { digest, platform: listedAs }: Descriptor | ListedImage,
  list: PrefetchList,
): Promise<AddedImage> {
  const { target, signal, emit } = place;
  const image = await openImage(target, digest, { signal, listedAs });
  const { platform } = image;
  const warn = (message: string): void => emit({ type: 'warning', message: `${platform}: ${message}` });
  let layer: AccelerationLayer | undefined;
  try {
    const source = await resolveList(list, image.device, warn, signal);
    const kinds = image.layers.map(({ kind }) => kind).filter((kind) => kind !== 'acceleration');
    layer = await makeAccelerationLayer(source, kinds, warn);
    if (layer !== undefined) {
      const { form, files, bytes, entries } = layer.result;
      const kind = kinds.includes('index-only') ? 'containerd' : 'full';
      emit({ type: 'prefetch', platform, kind, form, files, bytes, entries });
    }
  } catch (error) {
    throw withPlace(error, { platform });
  }
  return { platform, ...(await putImage(place, image, layer, list)), prefetch: layer?.result };
}

/** Pushes layer, config and manifest, in this order. */
async function putImage(
  place: AddPlace,
  { manifest, config }: AcceleratedImage,
  layer: AccelerationLayer | undefined,
  list: PrefetchList,
): Promise<Pick<AddedImage, 'descriptor' | 'manifest'>> {
  const bare = withoutAcceleration(manifest, config);
  const layers = [...bare.layers];
  let newConfig: ImageConfig = bare.config;
  if (layer !== undefined) {
    const top = accelerationDescriptor(layer, mediaFamily(manifest.mediaType));
    await putBytes(place, layer.blob, top.mediaType);
    layers.push(top);
    newConfig = withAcceleration(bare.config, layer);
  }
  const configDescriptor = await putBytes(place, encodeJson(newConfig), manifest.config.mediaType);
  const changed: ImageManifest = {
    ...manifest,
    config: { ...manifest.config, ...configDescriptor },
    layers,
    ...recorded(manifest, list),
  };
  const put = sealed(place, manifest, inOrder(changed));
  return { descriptor: await putManifest(place, put), manifest: put };
}

/** Where documents go, and the key of the record. */
interface AddPlace extends DocumentPlace {
  readonly key: RecordKey | undefined;
}

/** A changed document with a code of its own: if there is a key, and the one before was made with it. */
function sealed<T extends ImageManifest | ImageIndex>({ key }: AddPlace, before: T, changed: T): T {
  return key?.proves(before) === true ? inOrder(key.sign(changed)) : withoutCode(changed);
}

/** The annotations of accel's own images record the list as one of their options; others get none. */
function recorded(
  { annotations }: ImageManifest | ImageIndex,
  list: PrefetchList,
): { readonly annotations?: Readonly<Record<string, string>> } {
  const record = decodeRecord(annotations);
  if (record === undefined) return {};
  const options = withPrefetchOption(record.options, list.name);
  return { annotations: { ...annotations, [RECORD_ANNOTATION.options]: options } };
}

function outputTagOf({ tagOrDigest, outputTag }: AddPrefetchRequest): string {
  const tag = outputTag ?? (isDigestLike(tagOrDigest) ? undefined : tagOrDigest);
  if (tag === undefined)
    throw new AccelError('usage', 'the image is named by its digest alone', {
      found: tagOrDigest,
      expected: 'a tag for the result',
      hint: advise`Name it with ${option('outputTag', 'TAG')}.`,
    });
  assertImageName(tag);
  return tag;
}
