/** Converts one platform's image: its layers one after another, then configs and manifests of the kinds to make. */
import { AccelError, asAccelError, withPlace } from '../base/error.ts';
import { awaitAll } from '../base/limiter.ts';
import type { Ext4Image } from '../formats/ext4/ext4-image.ts';
import { DEFAULT_VIRTUAL_SIZE, MAX_VIRTUAL_SIZE } from '../formats/ext4/geometry.ts';
import type { MemoryBudget } from '../formats/ext4/state/memory-budget.ts';
import type { LayerId } from './events.ts';
import { chainIds } from './layer/chain.ts';
import type { LayerBlob } from './layer/engines/engine.ts';
import { makeFullEngine, makeIndexEngine } from './layer/engines/engine-factory.ts';
import type { FullEngine } from './layer/engines/full.ts';
import type { IndexOnlyEngine } from './layer/engines/index-only.ts';
import { flattenLayers } from './layer/flatten-layers.ts';
import { type ImageJob, layerIdOf, wantsFull, wantsIndex } from './layer/image-job.ts';
import type { Claim } from './layer/layer-claims.ts';
import { groupChain, groupLayers, isFlattened, sourcesOf } from './layer/layer-groups.ts';
import { claimOf, recordLayers, reuseLayers } from './layer/layer-reuse.ts';
import { NextLayer } from './layer/next-layer.ts';
import type { AppliedLayer, OpenLayer } from './layer/read-layer.ts';
import { restoreState } from './layer/restore-state.ts';
import type { SourceSummary } from './layer/sniff.ts';
import { isLaidOut, layOut } from './layer/startup/startup-layout.ts';
import type { SourceImage } from './plan/source-image.ts';
import { openAcceleration } from './prefetch/image-acceleration.ts';
import {
  type CachedLayer,
  type ComposedManifest,
  chooseBlobs,
  composeImage,
  type ImageKind,
  type LayerBlobs,
} from './publish/output-manifest.ts';
import { Pushes } from './publish/push-queue.ts';
import type { Session } from './session.ts';

/** A converted platform: one manifest for each kind that was asked for. */
export type ConvertedImage = ReadonlyMap<ImageKind, ComposedManifest>;

/** Assumed bound of how many bytes a compressed byte becomes; used to choose the virtual size. */
const EXPANSION = 3;

/** An image whose layers are converted, and pushed unless they had to be held back. */
export interface ReadyImage {
  /** Pushes what was held back. Then the session's cache knows all layers. */
  settle(): Promise<void>;
  /** Pushes configs and manifests; to be called after {@link settle}. */
  compose(): Promise<ConvertedImage>;
}

/**
 * Converts the layers of one image. The virtual size doubles, and the image starts over, when the content does not fit
 * and the caller did not set the size.
 */
export async function convertImage(
  session: Session,
  source: SourceImage,
  kinds: ReadonlySet<ImageKind>,
): Promise<ReadyImage> {
  const fixed = session.request.artifact.virtualSize;
  const groups = groupLayers(source.manifest.layers.length, session.request.artifact.flattenAbove);
  const chain = groupChain(chainIds(source.config.rootfs.diff_ids), groups);
  for (let virtualSize = fixed ?? initialVirtualSize(source); ; virtualSize *= 2) {
    try {
      const conversion = new ImageConversion({ session, source, kinds, virtualSize, groups, chain });
      await conversion.convert();
      return conversion;
    } catch (error) {
      const isFull = asAccelError(error).code === 'filesystem-full';
      if (!isFull || fixed !== undefined || virtualSize * 2 > MAX_VIRTUAL_SIZE) {
        throw withPlace(error, { image: session.source.name, platform: source.platform });
      }
      const reason = 'the content does not fit';
      session.emit({ type: 'restart', platform: source.platform, virtualSize: virtualSize * 2, reason });
    }
  }
}

/** 64 GiB, or the next power of two that likely holds the content. */
function initialVirtualSize(source: SourceImage): number {
  let size = DEFAULT_VIRTUAL_SIZE;
  while (size < source.size * EXPANSION && size * 2 <= MAX_VIRTUAL_SIZE) size *= 2;
  return size;
}

/** One try with one virtual size. */
class ImageConversion implements ReadyImage {
  readonly #job: ImageJob;
  readonly #pushes: Pushes;
  readonly #memory: MemoryBudget;
  readonly #next: NextLayer;
  /** The file system after the layers so far; undefined while no layer is being converted. */
  #state: Ext4Image | undefined;
  /** Layers that were taken over. */
  #reused: readonly CachedLayer[] = [];
  /** Of the layers above them. */
  #claim: Claim | undefined;
  /** Layers above them that this run made. */
  #made: readonly LayerBlobs[] = [];
  /** Why layers have no index-only blob, by position. */
  readonly #notIndexable = new Map<number, string>();
  /** Whether the layers to come get index-only blobs. */
  #isIndexed: boolean;

  constructor(job: ImageJob) {
    this.#job = job;
    this.#memory = job.session.resources.metadataMemory.part();
    this.#next = new NextLayer(job);
    // If a layer cannot be indexed, an index-only image must leave nothing in the target: its blobs wait for the last
    // layer of the last platform.
    this.#pushes = new Pushes(job.session, {
      hold: job.kinds.has('index-only') || isLaidOut(job.session.request.artifact),
      changes: isLaidOut(job.session.request.artifact),
      // At once: other conversions of the run may wait for this layer.
      onPushed: (index, blobs) => this.#record(index, [blobs]),
    });
    this.#isIndexed = wantsIndex(job);
  }

  async convert(): Promise<void> {
    try {
      const { layers, canIndex, claim } = await reuseLayers(this.#job);
      this.#claim = claim;
      this.#reused = layers;
      this.#isIndexed &&= canIndex;
      if (layers.length < this.#job.groups.length) await this.#convertFrom(layers.length);
      await this.#pushes.settle();
      if (isLaidOut(this.#job.session.request.artifact) && layers.length < this.#job.groups.length)
        await this.#pushes.change((made) => layOut(this.#job, layers, made));
    } catch (error) {
      await this.#pushes.abandon();
      throw error;
    } finally {
      // Of layers that failed, and of those that are held back: they are recorded too late to wait for.
      this.#claim?.releaseAll();
    }
  }

  async settle(): Promise<void> {
    this.#made = await this.#pushes.finish();
    if (this.#pushes.hold) this.#record(this.#reused.length, this.#made);
  }

  async compose(): Promise<ConvertedImage> {
    const { session, source, kinds, virtualSize, groups } = this.#job;
    const layers = [...this.#reused, ...this.#made];
    const prefetch = await openAcceleration(session, source, layers);
    const composing: Promise<[ImageKind, ComposedManifest]>[] = [];
    for (const kind of kinds) {
      const blobs = chooseBlobs(kind, layers);
      const acceleration = await prefetch?.layerFor(kind, blobs);
      const image = composeImage(session, { source, groups, kind, blobs, virtualSize, acceleration });
      composing.push(image.then((composed) => [kind, composed]));
    }
    return new Map(await awaitAll(composing));
  }

  async #convertFrom(first: number): Promise<void> {
    this.#next.start(first, this.#isIndexed);
    try {
      this.#state = await restoreState(this.#job, this.#reused, this.#memory);
      for (let index = first; index < this.#job.groups.length; index++) {
        await (isFlattened(this.#job.groups[index]!) ? this.#flattened(index) : this.#layer(index));
      }
    } finally {
      // Later images of the run take their share of the memory when this one has its layers.
      this.#state = undefined;
      this.#memory.close();
      await this.#next.close();
    }
  }

  /** Records what this conversion made for later ones. */
  #record(first: number, blobs: readonly LayerBlobs[]): void {
    recordLayers(this.#job, { first, blobs, notIndexable: this.#notIndexable });
    for (const at of blobs.keys()) this.#claim?.release(claimOf(this.#job, first + at));
  }

  /** Applies a layer. Its blobs are finished while the next layer is read. */
  async #layer(index: number): Promise<void> {
    const layer = layerIdOf(this.#job, index);
    const { opened, started } = this.#next.current;
    const full = wantsFull(this.#job) ? await makeFullEngine(this.#job, index) : undefined;
    const indexOnly = this.#isIndexed ? await makeIndexEngine(this.#job, index) : undefined;
    let finishing: Promise<LayerBlob> | undefined;
    try {
      const { source, entries } = await this.#apply(index, await opened, [full, indexOnly]);
      finishing = full?.finish().finally(() => full.close());
      // Awaited by the pushes, or below if it is not given to them.
      finishing?.catch(() => undefined);
      const indexing = this.#finishIndex(layer, indexOnly, source);
      // Index-only layers need an index-only bottom layer (docs/formats.md §5): without one there is nothing to index.
      if (index === 0 && (await indexing) === undefined) this.#isIndexed = false;
      this.#pushes.start({ layer, source: source.descriptor, entries, started, index: indexing, full: finishing });
    } catch (error) {
      await finishing?.catch(() => undefined);
      await full?.close();
      await indexOnly?.close();
      throw withLayer(error, layer);
    }
  }

  /** Makes one full layer of several. */
  async #flattened(index: number): Promise<void> {
    const { session, source, groups } = this.#job;
    const layer = layerIdOf(this.#job, index);
    const started = performance.now();
    const full = await makeFullEngine(this.#job, index);
    try {
      const group = groups[index]!;
      const entries = await flattenLayers({ job: this.#job, group, layer, image: this.#state!, engine: full });
      if (wantsIndex(this.#job)) {
        const message = 'the flattened layer is full in the containerd image, too: an index refers to one source layer';
        session.emit({ type: 'warning', message, layer });
      }
      const finishing = full.finish().finally(() => full.close());
      const top = sourcesOf(source, group).at(-1)!;
      this.#pushes.start({ layer, source: top, entries, started, index: undefined, full: finishing });
    } catch (error) {
      await full.close();
      throw error;
    }
  }

  #apply(
    index: number,
    opened: OpenLayer,
    engines: readonly (FullEngine | IndexOnlyEngine | undefined)[],
  ): Promise<AppliedLayer> {
    const { session, source } = this.#job;
    this.#next.handOver();
    return opened.apply({
      maxSize: session.request.artifact.maxLayerSize,
      diffId: source.config.rootfs.diff_ids[index]!,
      image: this.#state!,
      engines: engines.filter((engine) => engine !== undefined),
      onFetched: () => this.#next.start(index + 1, this.#isIndexed, opened),
    });
  }

  async #finishIndex(
    layer: LayerId,
    engine: IndexOnlyEngine | undefined,
    source: SourceSummary,
  ): Promise<LayerBlob | undefined> {
    try {
      return await engine?.finish(source);
    } catch (error) {
      // Several gzip members or too many segments: if the same pass makes a full blob, that is used instead.
      const isExcused =
        error instanceof AccelError && (error.code === 'layer-unsupported' || error.code === 'limit-exceeded');
      if (!isExcused || this.#job.kinds.has('index-only')) throw withLayer(error, layer);
      const reason = error.found === undefined ? error.message : `${error.message}: ${error.found}`;
      this.#notIndexable.set(layer.index, reason);
      const message = `the layer stays full in the containerd image: ${reason}`;
      this.#job.session.emit({ type: 'warning', message, layer });
      return undefined;
    } finally {
      await engine?.close();
    }
  }
}

function withLayer(error: unknown, { index, count, digest }: LayerId): AccelError {
  return withPlace(error, { layer: `${index + 1} of ${count}`, digest });
}
