/** One platform's image: its layers one after another, then the configs and manifests of what was asked for. */
import { randomInt } from 'node:crypto';
import { AccelError, asAccelError, withPlace } from '../base/error.ts';
import { awaitAll, Limiter } from '../base/limiter.ts';
import { Ext4Image } from '../formats/ext4/ext4-image.ts';
import { DEFAULT_VIRTUAL_SIZE, MAX_VIRTUAL_SIZE } from '../formats/ext4/geometry.ts';
import { loadImage } from '../formats/ext4/load-image.ts';
import type { HashKey } from '../formats/ext4/state/keyed-hash.ts';
import type { MemoryBudget } from '../formats/ext4/state/memory-budget.ts';
import { layerMediaType } from '../oci/media-types.ts';
import { openStack } from '../reader/stack.ts';
import type { LayerId, LayerKind } from './events.ts';
import { chainIds, chainUuid } from './layer/chain.ts';
import type { LayerBlob } from './layer/engines/engine.ts';
import { FullEngine } from './layer/engines/full.ts';
import { IndexOnlyEngine, METADATA_BLOCK_SIZE } from './layer/engines/index-only.ts';
import { wantsPieceLists, withPieceList } from './layer/piece-lists.ts';
import { type AppliedLayer, OpenLayer } from './layer/read-layer.ts';
import type { SourceSummary } from './layer/sniff.ts';
import { bringSourceBlob } from './layer/source-blob.ts';
import { problemOfReused } from './layer/verify-reused.ts';
import type { SourceImage } from './plan/source-image.ts';
import { openAcceleration } from './prefetch/image-acceleration.ts';
import type { CachedBlob, CacheEntry, LayerKey } from './publish/layer-record.ts';
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

/** Bytes that a byte of compressed layer is assumed to become at most when the virtual size is chosen. */
const EXPANSION = 3;

/** Layers that are looked for at a time. */
const LOOKUPS_AT_ONCE = 8;

/** What is known of a layer from earlier conversions. */
interface KnownLayer {
  readonly full: CacheEntry | undefined;
  readonly index: CacheEntry | undefined;
}

/** An image whose layers are converted, and pushed unless they had to be held back. */
export interface ReadyImage {
  /** Pushes what was held back. Then the session's cache knows all layers. */
  settle(): Promise<void>;
  /** After that: pushes configs and manifests. */
  compose(): Promise<ConvertedImage>;
}

/**
 * Converts the layers of one image. The virtual size doubles, and the image starts over, when its content turns out not
 * to fit and the caller did not set it.
 */
export async function convertImage(
  session: Session,
  source: SourceImage,
  kinds: ReadonlySet<ImageKind>,
): Promise<ReadyImage> {
  const fixed = session.request.artifact.virtualSize;
  for (let virtualSize = fixed ?? initialVirtualSize(source); ; virtualSize *= 2) {
    try {
      const conversion = new ImageConversion(session, source, kinds, virtualSize);
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

/** A key for the table of names, so that nobody can prepare names that meet in it. No bytes depend on it. */
function randomKey(): HashKey {
  return [randomInt(2 ** 32), randomInt(2 ** 32)];
}

/** 64 GiB, or the next power of two that likely holds the content. */
function initialVirtualSize(source: SourceImage): number {
  let size = DEFAULT_VIRTUAL_SIZE;
  while (size < source.size * EXPANSION && size * 2 <= MAX_VIRTUAL_SIZE) size *= 2;
  return size;
}

/** One try with one virtual size. */
class ImageConversion implements ReadyImage {
  readonly #session: Session;
  readonly #source: SourceImage;
  readonly #kinds: ReadonlySet<ImageKind>;
  readonly #virtualSize: number;
  /** The file system after the layers done so far; undefined while these were taken over from an earlier conversion. */
  #state: Ext4Image | undefined;
  readonly #memory: MemoryBudget;
  readonly #done: CachedLayer[] = [];
  readonly #chain: readonly string[];
  readonly #pushes: Pushes;
  #made: readonly LayerBlobs[] = [];
  /** Why layers have no index-only blob, by their position. */
  readonly #notIndexable = new Map<number, string>();
  /** The layer that is to be applied next, on its way already. */
  #next: { readonly opened: Promise<OpenLayer>; readonly started: number } | undefined;
  /** False once it is clear that no index-only layer can be used. */
  #wantsIndex: boolean;

  constructor(session: Session, source: SourceImage, kinds: ReadonlySet<ImageKind>, virtualSize: number) {
    this.#session = session;
    this.#source = source;
    this.#kinds = kinds;
    this.#virtualSize = virtualSize;
    this.#memory = session.metadataMemory.part();
    this.#chain = chainIds(source.config.rootfs.diff_ids);
    // An index-only image with a layer that cannot be indexed must leave nothing behind: its blobs wait for the last
    // layer of the last platform.
    this.#pushes = new Pushes(session, { hold: kinds.has('index-only') });
    this.#wantsIndex = kinds.has('index-only') || kinds.has('containerd');
  }

  async convert(): Promise<void> {
    try {
      const { layers } = this.#source.manifest;
      const known = await this.#lookUp();
      while (this.#done.length < layers.length && (await this.#takeOver(this.#done.length, known)));
      await this.#proveTaken();
      if (this.#done.length < layers.length) await this.#convertFrom(this.#done.length);
      const made = await this.#pushes.settle();
      if (!this.#pushes.hold) this.#remember(made);
    } catch (error) {
      await this.#pushes.abandon();
      throw error;
    }
  }

  /** Where the caller asks for it: compares what was taken over with the source, and drops all of it if it differs. */
  async #proveTaken(): Promise<void> {
    const { request, cache, emit } = this.#session;
    if (request.verifyReused !== true || this.#done.length === 0) return;
    const stacks = [...this.#kinds].map((kind) => chooseBlobs(kind, this.#done));
    const different = new Map(stacks.map((stack) => [stack.map(({ digest }) => digest).join(), stack]));
    for (const stack of different.values()) {
      const problem = await problemOfReused(this.#session, this.#source, stack);
      if (problem === undefined) continue;
      const layers = this.#done.splice(0);
      layers.forEach((_, index) => {
        for (const kind of ['full', 'index-only'] as const) cache.forget(kind, this.#key(index));
      });
      this.#wantsIndex = this.#kinds.has('index-only') || this.#kinds.has('containerd');
      const platform = this.#source.platform;
      const message = `${platform}: layers of the record are not those of the source and are converted again: ${problem}`;
      emit({ type: 'warning', message });
      return;
    }
  }

  async settle(): Promise<void> {
    this.#made = await this.#pushes.finish();
    this.#remember(this.#made);
  }

  async compose(): Promise<ConvertedImage> {
    const layers = [...this.#done, ...this.#made];
    const acceleration = await openAcceleration(this.#session, this.#source, layers, this.#made);
    const composing: Promise<[ImageKind, ComposedManifest]>[] = [];
    for (const kind of this.#kinds) {
      const chosen = chooseBlobs(kind, layers);
      const top = await acceleration?.layerFor(kind, chosen);
      const image = composeImage(this.#session, this.#source, kind, chosen, this.#virtualSize, top);
      composing.push(image.then((composed) => [kind, composed]));
    }
    return new Map(await awaitAll(composing));
  }

  async #convertFrom(first: number): Promise<void> {
    this.#openNext(first);
    try {
      this.#state = await this.#stateAfter(this.#done);
      for (let index = first; index < this.#source.manifest.layers.length; index++) await this.#layer(index);
    } finally {
      // Later images of the run take their share of the memory when this one has its layers.
      this.#state = undefined;
      this.#memory.close();
      await this.#closeNext();
    }
  }

  /** What earlier conversions left of each layer that stands in the target, of what is wanted of it. */
  async #lookUp(): Promise<KnownLayer[]> {
    const { cache } = this.#session;
    const limiter = new Limiter(LOOKUPS_AT_ONCE);
    const find = async (kind: LayerKind, index: number) => limiter.run(() => cache.find(kind, this.#key(index)));
    const looking = this.#source.manifest.layers.map(async (_, index) => {
      const [full, indexOnly] = await awaitAll([
        this.#wantsFull ? find('full', index) : undefined,
        this.#wantsIndex ? find('index-only', index) : undefined,
      ]);
      return { full, index: indexOnly };
    });
    return awaitAll(looking);
  }

  /** Takes a layer over from an earlier conversion, if all that is wanted of it stands in the target. */
  async #takeOver(index: number, known: readonly KnownLayer[]): Promise<boolean> {
    const { emit } = this.#session;
    const { full, index: entry } = known[index]!;
    if (this.#wantsFull && (full === undefined || 'notIndexable' in full)) return false;
    if (this.#wantsIndex && entry === undefined) return false;
    if (entry !== undefined && 'notIndexable' in entry) {
      if (this.#kinds.has('index-only')) return false;
      if (index === 0) this.#wantsIndex = false;
    }
    const taken: CachedLayer = {
      full: await this.#withPieceList(index, full as CachedBlob | undefined),
      index:
        !this.#wantsIndex || entry === undefined || 'notIndexable' in entry
          ? undefined
          : await this.#withPieceList(index, entry),
    };
    if (taken.index !== undefined) await bringSourceBlob(this.#session, this.#source.manifest.layers[index]!);
    this.#done.push(taken);
    const outputs = [taken.full, taken.index]
      .filter((blob) => blob !== undefined)
      .map(({ kind, digest, size }) => ({ kind, digest, size }));
    emit({ type: 'layer-reused', layer: this.#layerId(index), outputs });
    return true;
  }

  /** A blob that is taken over, with the list of piece hashes that the request wants; the record learns of a new list. */
  async #withPieceList(index: number, blob: CachedBlob | undefined): Promise<CachedBlob | undefined> {
    if (blob === undefined) return undefined;
    const listed = await withPieceList(this.#session, blob);
    if (listed !== blob && wantsPieceLists(this.#session.request)) {
      this.#session.cache.add(blob.kind, this.#key(index), listed);
    }
    return listed;
  }

  /** The state from which the next layer goes on: empty, or read back from the metadata of the layers so far. */
  async #stateAfter(layers: readonly CachedLayer[]): Promise<Ext4Image> {
    const { request } = this.#session;
    const bounds = { maxFiles: request.artifact.maxFiles, memory: this.#memory, hashKey: randomKey() };
    if (layers.length === 0) return new Ext4Image({ virtualSize: this.#virtualSize, ...bounds });
    // Index-only blobs hold metadata and nothing else: they are read whole, and small. One full layer among them will do.
    const bottomIsIndexed = layers[0]?.index !== undefined;
    const stack = layers.map(({ full, index }) => (bottomIsIndexed ? (index ?? full) : full)!);
    const device = await openStack(
      this.#session.target,
      stack.map((blob) => ({ mediaType: layerMediaType('oci', blob.compression), ...blob })),
      { signal: this.#session.signal },
    );
    return loadImage(device, bounds);
  }

  /** Notes for later conversions what this one made, on top of what it took over. */
  #remember(made: readonly CachedLayer[]): void {
    const { cache } = this.#session;
    made.forEach(({ full, index }, at) => {
      const position = this.#done.length + at;
      const key = this.#key(position);
      if (full !== undefined) cache.add('full', key, full);
      if (index !== undefined) cache.add('index-only', key, index);
      const reason = this.#notIndexable.get(position);
      if (reason !== undefined) cache.add('index-only', key, { notIndexable: reason });
    });
  }

  #key(index: number): LayerKey {
    const { artifact } = this.#session.request;
    const sourceDigest = this.#source.manifest.layers[index]!.digest;
    return { chainId: this.#chain[index]!, virtualSize: this.#virtualSize, artifact, sourceDigest };
  }

  get #wantsFull(): boolean {
    return this.#kinds.has('full') || this.#kinds.has('containerd');
  }

  #layerId(index: number): LayerId {
    const { layers } = this.#source.manifest;
    const { digest, size } = layers[index]!;
    return { platform: this.#source.platform, index, count: layers.length, digest, size };
  }

  /** Begins to fetch and decompress a layer, if there is one of this number, while the one before it is completed. */
  #openNext(index: number): void {
    const { layers } = this.#source.manifest;
    if (index >= layers.length) return;
    const { source, threads, signal, request, emit } = this.#session;
    const layer = this.#layerId(index);
    emit({ type: 'layer-start', layer });
    let bytesRead = 0;
    const opened = OpenLayer.open({
      source,
      descriptor: layers[index]!,
      span: this.#wantsIndex ? request.artifact.span : undefined,
      mustIndex: this.#kinds.has('index-only'),
      threads,
      signal,
      onRead(bytes) {
        bytesRead += bytes;
        emit({ type: 'layer-progress', layer, bytesRead });
      },
      onWarning: (message, path) => emit({ type: 'warning', message, layer, ...(path === undefined ? {} : { path }) }),
    });
    // Its failure is told when its turn comes; if a layer below fails first, that counts.
    opened.catch(() => undefined);
    this.#next = { opened, started: performance.now() };
  }

  async #closeNext(): Promise<void> {
    const next = this.#next;
    this.#next = undefined;
    await next?.opened.then(
      (layer) => layer.close(),
      () => undefined,
    );
  }

  /** Applies a layer. The index-only blob is complete then; the full one is finished while the next layer is read. */
  async #layer(index: number): Promise<void> {
    const layer = this.#layerId(index);
    const { opened, started } = this.#next!;
    const full = await this.#fullEngine(index);
    const indexOnly = this.#indexEngine();
    try {
      const { source, entries } = await this.#apply(index, await opened, [full, indexOnly]);
      const indexBlob = await this.#finishIndex(layer, indexOnly, source);
      // Index-only layers cannot stand on a full bottom layer (docs/formats.md §5): then there is nothing to index.
      if (index === 0 && indexBlob === undefined) this.#wantsIndex = false;
      const finishing = full?.finish().finally(() => full.close());
      this.#pushes.start({ layer, source: source.descriptor, entries, started, index: indexBlob, full: finishing });
    } catch (error) {
      await full?.close();
      throw withPlace(error, { layer: `${index + 1} of ${layer.count}`, digest: layer.digest });
    }
  }

  #apply(
    index: number,
    opened: OpenLayer,
    engines: readonly (FullEngine | IndexOnlyEngine | undefined)[],
  ): Promise<AppliedLayer> {
    this.#next = undefined;
    return opened.apply({
      maxSize: this.#session.request.artifact.maxLayerSize,
      diffId: this.#source.config.rootfs.diff_ids[index]!,
      image: this.#state!,
      engines: engines.filter((engine) => engine !== undefined),
      onDecompressed: () => this.#openNext(index + 1),
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
      // Several members, too many segments: where a full blob comes out of the same pass, it serves instead.
      const isExcused =
        error instanceof AccelError && (error.code === 'layer-unsupported' || error.code === 'limit-exceeded');
      if (!isExcused || this.#kinds.has('index-only')) throw error;
      const reason = error.found === undefined ? error.message : `${error.message}: ${error.found}`;
      this.#notIndexable.set(layer.index, reason);
      this.#session.emit({
        type: 'warning',
        message: `the layer stays full in the containerd image: ${reason}`,
        layer,
      });
      return undefined;
    }
  }

  async #fullEngine(index: number): Promise<FullEngine | undefined> {
    if (!this.#wantsFull) return undefined;
    const { request, threads, spool } = this.#session;
    const { artifact } = request;
    const { algorithm, blockSize, level } = artifact;
    const parent = this.#chain[index - 1];
    return new FullEngine({
      artifact,
      virtualSize: this.#virtualSize,
      uuid: chainUuid(this.#chain[index]!),
      parentUuid: parent === undefined ? undefined : chainUuid(parent),
      compressor: threads.compressor({ algorithm, blockSize, level }),
      file: await spool.file(),
      digestFile: (path, size) => threads.digestFile(path, { size, pieces: wantsPieceLists(request) }),
    });
  }

  #indexEngine(): IndexOnlyEngine | undefined {
    if (!this.#wantsIndex) return undefined;
    const compressor = this.#session.threads.compressor({ algorithm: 'lz4', blockSize: METADATA_BLOCK_SIZE });
    const pieceList = wantsPieceLists(this.#session.request);
    return new IndexOnlyEngine({ virtualSize: this.#virtualSize, compressor, pieceList });
  }
}
