/** What comes before any work: the source found and checked, the outputs told apart into those that stand and those due. */
import { AccelError } from '../../base/error.ts';
import { Limiter, together } from '../../base/limiter.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { NamedDocument } from '../../oci/document.ts';
import { indexEntries } from '../../oci/index-entries.ts';
import type { OutputTag, TagResult } from '../options.ts';
import type { Session } from '../session.ts';
import { resolveDocument, standingOutput } from './existing-output.ts';
import { checkPlatform, distinct, type Selection, selectManifests } from './select-manifests.ts';
import { loadSourceImage, type SourceImage } from './source-image.ts';

/** A conversion that could start. */
export interface Preparation {
  readonly source: NamedDocument;
  readonly selection: Selection;
  /** The images to convert, in the order of the index, each once however often it is listed. */
  readonly images: readonly SourceImage[];
  /** Outputs that were made before from the same source with the same options. */
  readonly standing: readonly TagResult[];
  readonly due: readonly OutputTag[];
}

/** Reads manifests and configs alone; throws everything that speaks against the conversion. */
export async function prepare(session: Session): Promise<Preparation> {
  const { request, signal } = session;
  const source = await resolveSource(session);
  const { document } = source;
  const entries = document.kind === 'index' ? await indexEntries(session.source, document.index, { signal }) : [];
  const selection = selectManifests(source, entries, request.platforms);
  const limiter = new Limiter(request.concurrency);
  const load = (descriptor: Descriptor): Promise<SourceImage> =>
    loadSourceImage(session.source, descriptor, {
      signal,
      maxLayerSize: request.artifact.maxLayerSize,
      manifest: document.kind === 'manifest' ? document.manifest : undefined,
    });
  const images = await together(distinct(selection.manifests).map((one) => limiter.run(() => load(one))));
  if (document.kind === 'manifest') checkPlatform(images[0]!, request.platforms);
  announce(session, source, selection, images);
  const standing: TagResult[] = [];
  const due: OutputTag[] = [];
  const found = await together(
    request.outputs.map((output) => limiter.run(() => standingOutput(session, output, source.descriptor, images))),
  );
  for (const [index, output] of request.outputs.entries()) {
    const result = found[index];
    if (result === undefined) due.push(output);
    else standing.push(result);
  }
  return { source, selection, images, standing, due };
}

async function resolveSource(session: Session): Promise<NamedDocument> {
  const { request, source, signal } = session;
  const { tag, digest } = request.source;
  const found = await resolveDocument(source, digest ?? tag!, signal);
  if (found === undefined) {
    // Asked again for the error itself, which lists what there is.
    await source.resolve(digest ?? tag!, { signal });
    throw new AccelError('not-found', 'the source does not exist', { found: digest ?? tag! });
  }
  return found;
}

function announce(session: Session, source: NamedDocument, selection: Selection, images: readonly SourceImage[]): void {
  const { name } = session.source;
  const { request, emit } = session;
  const { tag, digest } = request.source;
  emit({
    type: 'source',
    reference: digest === undefined ? `${name}:${tag}` : `${name}@${digest}`,
    digest: source.descriptor.digest,
    platforms: images.map((image) => image.platform),
    bytes: images.flatMap(({ manifest }) => manifest.layers).reduce((sum, { size }) => sum + size, 0),
  });
  const reasons = new Set(selection.skipped.map(({ reason }) => reason));
  for (const reason of reasons) {
    const manifests = selection.skipped
      .filter((skipped) => skipped.reason === reason)
      .map(({ digest, platform }) => ({ digest, platform }));
    emit({ type: 'manifests-skipped', reason, manifests });
  }
}
