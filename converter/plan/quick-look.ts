/**
 * A look at what a conversion has to do that costs one request for each output: enough to see that nothing is to be done,
 * which is what most images of a large list need. Where it is in doubt, `prepare` decides.
 */
import { awaitAll } from '../../base/limiter.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { findDocument, type NamedDocument } from '../../oci/document.ts';
import type { ImageDocument, ImageIndex } from '../../oci/manifest.ts';
import { isManifest } from '../../oci/media-types.ts';
import { choosePlatforms, normalizePlatform, parsePlatform } from '../../oci/platform.ts';
import type { OutputTag } from '../options.ts';
import { decodeRecord } from '../publish/record-annotations.ts';
import type { PlanSession } from '../session.ts';
import { annotationsOf, isAllowed, isCurrent } from './existing-output.ts';

/** An output tag that is up to date. */
export interface CurrentTag extends OutputTag {
  readonly digest: string;
}

/** The outputs if all are up to date; undefined where one is not, or where more has to be read to know. */
export async function findCurrent(
  session: PlanSession,
  source: NamedDocument,
): Promise<readonly CurrentTag[] | undefined> {
  const { request } = session;
  // To compare content, or the referrers of both images, is more than a look.
  if (request.force || request.verifyReused === true || request.copyReferrers === true) return undefined;
  const found = await awaitAll(request.outputs.map((output) => currentTag(session, output, source)));
  return found.every((one) => one !== undefined) ? found : undefined;
}

async function currentTag(
  session: PlanSession,
  output: OutputTag,
  source: NamedDocument,
): Promise<CurrentTag | undefined> {
  const existing = await findDocument(session.target, output.tag, { signal: session.signal }).catch(() => undefined);
  session.signal.throwIfAborted();
  if (existing === undefined) return undefined;
  const { descriptor, document } = existing;
  const record = decodeRecord(annotationsOf(document));
  if (record === undefined || !isAllowed(record, output)) return undefined;
  if (!isCurrent(session, record, source.descriptor.digest)) return undefined;
  if (!isWhole(source.document, document, session.request.platforms)) return undefined;
  const { recordKey } = session;
  const top = document.kind === 'index' ? document.index : document.manifest;
  if (recordKey !== undefined && !recordKey.proves(top)) return undefined;
  return { ...output, digest: descriptor.digest };
}

/** Whether the result has an image for every image of the source that is wanted, by the entries of both indexes. */
function isWhole(source: ImageDocument, made: ImageDocument, platforms: readonly string[]): boolean {
  if (source.kind === 'manifest') return made.kind === 'manifest' && platforms.length === 0;
  const images = imagesOf(source.index);
  if (images === undefined || made.kind !== 'index') return false;
  const wanted = choosePlatforms(platforms.map(parsePlatform), images, ({ platform }) => platform ?? {});
  return wanted.length === made.index.manifests.length;
}

/** The images for Linux of an index; undefined where an entry must be read to know. */
function imagesOf({ manifests }: ImageIndex): readonly Descriptor[] | undefined {
  const images: Descriptor[] = [];
  for (const entry of manifests) {
    const { platform, mediaType, artifactType, annotations } = entry;
    if (annotations?.['vnd.docker.reference.type'] !== undefined || artifactType !== undefined) continue;
    if (!isManifest(mediaType) || !platform?.os || !platform.architecture) return undefined;
    if (normalizePlatform(platform).os === 'linux') images.push(entry);
  }
  return images;
}
