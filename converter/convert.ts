/**
 * The main job: source -> manifests -> layers -> tags. Nothing is tagged until everything that a tag refers to stands in
 * the target; an interrupted run leaves no tag and no temporary file.
 */
import { AccelError, asAccelError, withPlace } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson, type ImageIndex } from '../oci/manifest.ts';
import { mediaFamily, toFamily } from '../oci/media-types.ts';
import { type OpenOptions, openTarget } from '../oci/open.ts';
import { assertTag, parseRepository } from '../oci/reference.ts';
import { canTakeFiles, type Target } from '../oci/storage.ts';
import { encodeRecord, makeRecord, optionsText } from './annotations.ts';
import { put } from './compose.ts';
import type { ConvertEvent } from './events.ts';
import { type ConvertedImage, convertImage } from './image.ts';
import { LayerCache } from './layer-cache.ts';
import type { ConvertContext, ConvertRequest, ConvertResult, OutputTag, TagResult } from './options.ts';
import { checkPlatform, type Selection, selectManifests } from './select.ts';
import type { Session } from './session.ts';
import { loadSourceImage, type SourceImage } from './source-image.ts';
import { Spool } from './spool.ts';
import { type NamedDocument, resolveDocument, standingOutput, totals } from './standing.ts';
import { Threads } from './workers/threads.ts';

/** Surroundings of {@link convert}: events, a signal to stop, and how to reach registries. */
export interface ConvertSurroundings extends ConvertContext {
  readonly registry?: OpenOptions;
}

/**
 * Converts one image as the request says and tags the results. Every failure is an AccelError; its `where` tells image,
 * platform, layer and place.
 */
export async function convert(request: ConvertRequest, context: ConvertSurroundings = {}): Promise<ConvertResult> {
  checkRequest(request);
  const target = await openTarget(parseRepository(request.repository), context.registry);
  try {
    return await convertWithin(target, request, context);
  } catch (error) {
    throw withPlace(context.signal?.aborted === true ? aborted(error) : error, { image: target.name });
  } finally {
    await target.close?.();
  }
}

/** {@link convert} within a target that is open already; stays open. */
export async function convertWithin(
  target: Target,
  request: ConvertRequest,
  context: ConvertContext = {},
): Promise<ConvertResult> {
  const stop = new AbortController();
  const signal = context.signal === undefined ? stop.signal : AbortSignal.any([context.signal, stop.signal]);
  const spool = await Spool.create(request.workDirectory ?? (canTakeFiles(target) ? target.scratch : undefined));
  const threads = new Threads(request.workers);
  const totalsOf = new Totals();
  const session: Session = {
    request,
    target,
    spool,
    threads,
    signal,
    uploads: new Limiter(request.concurrency),
    cache: await openCache(target, request, signal),
    options: optionsText(request.artifact, request.platforms),
    emit(event) {
      totalsOf.add(event);
      context.onEvent?.(event);
    },
  };
  try {
    return await run(session, totalsOf);
  } catch (error) {
    // The first failure counts; what the others fail with afterwards is its echo.
    stop.abort(error);
    throw error;
  } finally {
    await threads.close();
    await spool.remove();
  }
}

async function openCache(
  target: Target,
  { cache, force }: ConvertRequest,
  signal: AbortSignal,
): Promise<LayerCache | undefined> {
  if (!cache) return undefined;
  return force ? LayerCache.forgetful(target, signal) : LayerCache.open(target, signal);
}

function checkRequest({ outputs, source }: ConvertRequest): void {
  if (outputs.length === 0) throw new AccelError('usage', 'no output tag was given', { hint: 'name one with -o' });
  if (source.tag === undefined && source.digest === undefined) {
    throw new AccelError('usage', 'no source was given', { expected: 'a tag (-i) or a digest (-g)' });
  }
  const seen = new Set<string>();
  for (const { tag } of outputs) {
    assertTag(tag);
    if (seen.has(tag)) throw new AccelError('usage', 'one tag was given for two outputs', { found: tag });
    seen.add(tag);
  }
}

async function run(session: Session, counted: Totals): Promise<ConvertResult> {
  const { request, target, signal } = session;
  const started = performance.now();
  const source = await resolveSource(session);
  const selection = selectManifests(source, request.platforms);
  const images: SourceImage[] = [];
  for (const manifest of selection.manifests) images.push(await loadSourceImage(target, manifest, { signal }));
  if (source.document.kind === 'manifest') checkPlatform(images[0]!, request.platforms);
  announce(session, source, selection, images);

  const tags: TagResult[] = [];
  const due: OutputTag[] = [];
  for (const output of request.outputs) {
    const standing = await standingOutput(session, output, source.descriptor, images);
    if (standing === undefined) due.push(output);
    else {
      session.emit({ type: 'up-to-date', tag: output.tag, digest: standing.digest });
      tags.push(standing);
    }
  }
  if (due.length > 0) tags.push(...(await makeOutputs(session, source, images, due)));
  return {
    repository: request.repository,
    source: {
      digest: source.descriptor.digest,
      mediaType: source.descriptor.mediaType,
      size: images.reduce((sum, image) => sum + image.size, 0),
    },
    tags: request.outputs.map((output) => tags.find((tag) => tag.tag === output.tag)!),
    skipped: selection.skipped,
    warnings: counted.warnings,
    seconds: { total: (performance.now() - started) / 1000, convert: counted.convert, push: counted.push },
  };
}

async function resolveSource(session: Session): Promise<NamedDocument> {
  const { request, target } = session;
  const { tag, digest } = request.source;
  const found = await resolveDocument(session, digest ?? tag!);
  if (found === undefined) {
    // Asked again for the error itself, which lists what there is.
    await target.resolve(digest ?? tag!, { signal: session.signal });
    throw new AccelError('not-found', 'the source does not exist', { found: digest ?? tag! });
  }
  return found;
}

function announce(session: Session, source: NamedDocument, selection: Selection, images: readonly SourceImage[]): void {
  const { target, request, emit } = session;
  const { tag, digest } = request.source;
  emit({
    type: 'source',
    reference: digest === undefined ? `${target.name}:${tag}` : `${target.name}@${digest}`,
    digest: source.descriptor.digest,
    platforms: images.map((image) => image.platform),
  });
  for (const skipped of selection.skipped) emit({ type: 'manifest-skipped', ...skipped });
}

async function makeOutputs(
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
  // Everything stands: now the names, and nothing else can fail between them but the naming itself.
  for (const { result, descriptor } of results) {
    if (session.request.noUpload) continue;
    await session.target.tag(descriptor, result.tag, { signal: session.signal });
    session.emit({ type: 'tagged', tag: result.tag, digest: result.digest });
  }
  if (!session.request.noUpload) await session.cache?.save();
  return results.map(({ result }) => result);
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
  manifests: readonly {
    readonly digest: string;
    readonly mediaType: string;
    readonly manifestSize: number;
    readonly sourceDigest: string;
  }[],
  output: OutputTag,
): Promise<Descriptor> {
  const [only] = manifests;
  if (document.kind === 'manifest')
    return { mediaType: only!.mediaType, digest: only!.digest, size: only!.manifestSize };
  const family = session.request.artifact.oci ? 'oci' : mediaFamily(document.index.mediaType);
  const index: ImageIndex = {
    schemaVersion: 2,
    mediaType: toFamily(document.index.mediaType, family),
    manifests: manifests.map((manifest) => {
      const platform = document.index.manifests.find((child) => child.digest === manifest.sourceDigest)?.platform;
      const { mediaType, digest, manifestSize: size } = manifest;
      return { mediaType, digest, size, ...(platform === undefined ? {} : { platform }) };
    }),
    annotations: {
      ...document.index.annotations,
      ...encodeRecord(makeRecord(source.digest, output.kind, session.options)),
    },
  };
  return put(session, encodeJson(index), index.mediaType);
}

/** Sums over the events of a run. */
class Totals {
  convert = 0;
  push = 0;
  readonly warnings: string[] = [];

  add(event: ConvertEvent): void {
    if (event.type === 'layer-done') {
      this.convert += event.times.convert;
      this.push += event.times.push;
    } else if (event.type === 'warning') {
      const layer = event.layer === undefined ? '' : `layer ${event.layer.index + 1} of ${event.layer.count}: `;
      this.warnings.push(`${layer}${event.path === undefined ? '' : `${event.path}: `}${event.message}`);
    }
  }
}

/** After the caller's abort every failure is one: the caller's reason counts, not what broke first. */
function aborted(error: unknown): AccelError {
  const known = asAccelError(error);
  return known.code === 'aborted' ? known : new AccelError('aborted', 'interrupted', { cause: known });
}
