/** Prepares a conversion: finds and checks the source, and separates outputs that exist from those to make. */
import { awaitAll, Limiter } from '../../base/limiter.ts';
import { type NamedDocument, resolveDocument } from '../../oci/document.ts';
import type { OutputTag, TagResult } from '../options.ts';
import type { PlanSession } from '../session.ts';
import { findExistingOutput } from './existing-output.ts';
import { loadImages } from './load-images.ts';
import type { Selection } from './select-manifests.ts';
import type { SourceImage } from './source-image.ts';

/** A conversion that could start. */
export interface Preparation {
  readonly source: NamedDocument;
  readonly selection: Selection;
  /** The images to convert, in the order of the index, each once however often it is listed. */
  readonly images: readonly SourceImage[];
  /** Outputs that were made before from the same source with the same options. */
  readonly existing: readonly TagResult[];
  readonly due: readonly OutputTag[];
}

/** Reads only manifests and configs. Throws if the image cannot be converted. */
export async function prepare(session: PlanSession): Promise<Preparation> {
  const { request, signal } = session;
  const { tag, digest } = request.source;
  const source = session.known ?? (await resolveDocument(session.source, digest ?? tag!, { signal }));
  const { selection, images } = await loadImages(session, source);
  const limiter = new Limiter(request.concurrency);
  announce(session, source, selection, images);
  const existing: TagResult[] = [];
  const due: OutputTag[] = [];
  const found = await awaitAll(
    request.outputs.map((output) => limiter.run(() => findExistingOutput(session, output, source.descriptor, images))),
  );
  for (const [index, output] of request.outputs.entries()) {
    const result = found[index];
    if (result === undefined) due.push(output);
    else existing.push(result);
  }
  if (session.prefetch === undefined) await session.kept.load(session, due);
  return { source, selection, images, existing, due };
}

function announce(
  session: PlanSession,
  source: NamedDocument,
  selection: Selection,
  images: readonly SourceImage[],
): void {
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
  for (const skipped of selection.skipped) emit({ type: 'manifest-skipped', ...skipped });
  for (const { descriptor, config, platform } of images) {
    if (config.os || descriptor.platform?.os) continue;
    const message = `${platform}: the config names no operating system; the image is taken for one of Linux`;
    emit({ type: 'warning', message });
  }
}
