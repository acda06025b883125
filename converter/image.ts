/** One platform's image: its layers one after another, then the configs and manifests of what was asked for. */
import { AccelError, asAccelError, withPlace } from '../base/error.ts';
import { DEFAULT_VIRTUAL_SIZE, MAX_VIRTUAL_SIZE } from '../formats/ext4/geometry.ts';
import { Ext4Image } from '../formats/ext4/image.ts';
import { chainIds, chainUuid } from './chain.ts';
import { type ComposedManifest, composeImage, type ImageKind } from './compose.ts';
import type { LayerBlob, LayerEngine } from './engines/engine.ts';
import { FullEngine } from './engines/full.ts';
import { IndexOnlyEngine, METADATA_BLOCK_SIZE } from './engines/index-only.ts';
import type { LayerId } from './events.ts';
import { convertLayer } from './layer.ts';
import { Pushes } from './pushes.ts';
import type { Session } from './session.ts';
import type { SourceImage } from './source-image.ts';
import type { SpoolFile } from './spool.ts';

/** The blobs of one layer, by the engine that made them. */
export interface LayerBlobs {
  readonly full: LayerBlob | undefined;
  readonly index: LayerBlob | undefined;
}

/** A converted platform: one manifest for each kind that was asked for. */
export type ConvertedImage = ReadonlyMap<ImageKind, ComposedManifest>;

/** Bytes that a byte of compressed layer is assumed to become at most when the virtual size is chosen. */
const EXPANSION = 3;

/**
 * Converts one image and pushes everything but tags. The virtual size doubles, and the image starts over, when its
 * content turns out not to fit and the caller did not set it.
 */
export async function convertImage(
  session: Session,
  source: SourceImage,
  kinds: ReadonlySet<ImageKind>,
): Promise<ConvertedImage> {
  const fixed = session.request.artifact.virtualSize;
  for (let virtualSize = fixed ?? initialVirtualSize(source); ; virtualSize *= 2) {
    try {
      return await attempt(session, source, kinds, virtualSize);
    } catch (error) {
      if (asAccelError(error).code !== 'filesystem-full' || fixed !== undefined || virtualSize * 2 > MAX_VIRTUAL_SIZE) {
        throw withPlace(error, { image: session.target.name, platform: source.platform });
      }
      session.emit({
        type: 'restart',
        platform: source.platform,
        virtualSize: virtualSize * 2,
        reason: 'the content does not fit',
      });
    }
  }
}

/** 64 GiB, or the next power of two that likely holds the content. */
function initialVirtualSize(source: SourceImage): number {
  let size = DEFAULT_VIRTUAL_SIZE;
  while (size < source.size * EXPANSION && size * 2 <= MAX_VIRTUAL_SIZE) size *= 2;
  return size;
}

async function attempt(
  session: Session,
  source: SourceImage,
  kinds: ReadonlySet<ImageKind>,
  virtualSize: number,
): Promise<ConvertedImage> {
  const { artifact } = session.request;
  const { layers } = source.manifest;
  const image = new Ext4Image({ virtualSize, maxFiles: artifact.maxFiles });
  const chain = chainIds(source.config.rootfs.diff_ids);
  // An index-only image with a layer that cannot be indexed must not leave anything behind: its blobs wait for the last.
  const mustIndex = kinds.has('index-only');
  const pushes = new Pushes(session, { hold: mustIndex });
  const converted: LayerBlobs[] = [];
  let wantsIndex = mustIndex || kinds.has('containerd');
  try {
    for (const [index, descriptor] of layers.entries()) {
      const layer: LayerId = {
        platform: source.platform,
        index,
        count: layers.length,
        digest: descriptor.digest,
        size: descriptor.size,
      };
      session.emit({ type: 'layer-start', layer });
      const file = kinds.has('full') || kinds.has('containerd') ? await session.spool.file() : undefined;
      const engines = await makeEngines(session, { file, wantsIndex, virtualSize, chain, index });
      const started = performance.now();
      let bytesRead = 0;
      const result = await convertLayer({
        source: session.target,
        descriptor,
        diffId: source.config.rootfs.diff_ids[index]!,
        image,
        engines,
        span: wantsIndex ? artifact.span : undefined,
        mustIndex,
        threads: session.threads,
        signal: session.signal,
        onRead(bytes) {
          bytesRead += bytes;
          session.emit({ type: 'layer-progress', layer, bytesRead });
        },
        onWarning: (message, path) =>
          session.emit({ type: 'warning', message, layer, ...(path === undefined ? {} : { path }) }),
      })
        .catch((error: unknown) => {
          throw withPlace(error, { layer: `${index + 1} of ${layers.length}`, digest: descriptor.digest });
        })
        .finally(() => Promise.all(engines.map((engine) => engine.close())));
      const { blobs } = result;
      if (result.notIndexable !== undefined) {
        session.emit({
          type: 'warning',
          message: `the layer stays full in the containerd image: ${result.notIndexable}`,
          layer,
        });
      }
      const outputs = blobs.map(({ kind, digest, size }) => ({ kind, digest, size }));
      session.emit({ type: 'layer-converted', layer, outputs, entries: result.entries });
      pushes.start({ layer, blobs, file, seconds: (performance.now() - started) / 1000 });
      const at = { full: blobs.find((b) => b.kind === 'full'), index: blobs.find((b) => b.kind === 'index-only') };
      converted.push(at);
      // Index-only layers cannot stand on a full bottom layer (docs/formats.md §5): then there is nothing to index.
      if (index === 0 && at.index === undefined) wantsIndex = false;
    }
    await pushes.finish();
  } catch (error) {
    await pushes.abandon();
    throw error;
  }
  const results: [ImageKind, ComposedManifest][] = [];
  for (const kind of kinds) results.push([kind, await composeImage(session, source, kind, converted, virtualSize)]);
  return new Map(results);
}

interface EnginePlan {
  readonly file: SpoolFile | undefined;
  readonly wantsIndex: boolean;
  readonly virtualSize: number;
  readonly chain: readonly string[];
  readonly index: number;
}

async function makeEngines(
  session: Session,
  { file, wantsIndex, virtualSize, chain, index }: EnginePlan,
): Promise<LayerEngine[]> {
  const { artifact } = session.request;
  const engines: LayerEngine[] = [];
  if (file !== undefined) {
    const parent = chain[index - 1];
    engines.push(
      new FullEngine({
        artifact,
        virtualSize,
        uuid: chainUuid(chain[index]!),
        parentUuid: parent === undefined ? undefined : chainUuid(parent),
        compressor: await session.threads.compressor(artifact.algorithm, artifact.blockSize),
        file,
      }),
    );
  }
  if (wantsIndex) {
    engines.push(
      new IndexOnlyEngine({ virtualSize, compressor: await session.threads.compressor('lz4', METADATA_BLOCK_SIZE) }),
    );
  }
  if (engines.length === 0) throw new AccelError('internal', 'nothing is to be made of a layer');
  return engines;
}
