/**
 * Lists the pieces of an image's blobs that a node needs: those of its prefetch list or trace, with the metadata that leads to
 * them, or all. For `accel prefetch warm`; data of the image is not read.
 */
import { AccelError } from '../base/error.ts';
import { TAG_LOCAL } from '../formats/lsmt/layout.ts';
import { PIECE_BYTES, pieceCount } from '../formats/piece-list/piece-list.ts';
import type { PrefetchContent } from '../formats/prefetch/reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { loadConfig, loadManifest, resolveDocument } from '../oci/document.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { formatPlatform, imagePlatform } from '../oci/platform.ts';
import type { Target } from '../oci/storage.ts';
import { type AcceleratedImage, openImage } from '../reader/accelerated-image.ts';
import type { LayerPlace } from '../reader/block-device.ts';
import { selectImage } from '../reader/select-image.ts';
import { layerKindOf } from '../reader/stack.ts';
import { readCarriedPrefetch } from './carried.ts';
import { parsePrefetchLines } from './lines.ts';
import { resolvePrefetch } from './resolve-list.ts';

/** Pieces of one blob. */
export interface WarmBlob {
  readonly digest: string;
  readonly size: number;
  /** Half-open ranges of pieces, ascending. */
  readonly pieces: readonly (readonly [number, number])[];
}

/** The pieces to bring to a node. */
export interface WarmPlan {
  readonly platform: string;
  /** The choice: by the list or trace that the image carries, or everything. */
  readonly form: 'list' | 'trace' | 'all';
  readonly blobs: readonly WarmBlob[];
}

/** Options of {@link planWarm}. */
export interface WarmOptions {
  readonly platform?: string | undefined;
  /** All of the image, also where it carries a list. */
  readonly all?: boolean;
  readonly signal?: AbortSignal;
}

/** Plans the warm-up of an image, accelerated or not. Throws `not-found`, and the errors of the formats. */
export async function planWarm(target: Target, tagOrDigest: string, options: WarmOptions = {}): Promise<WarmPlan> {
  const { platform, all = false, signal } = options;
  const { descriptor, manifest } = await findManifest(target, tagOrDigest, options);
  if (layerKindOf(manifest.layers[0] ?? manifest.config) === undefined) {
    const config = await loadConfig(target, manifest.config, { signal });
    const name = formatPlatform(imagePlatform(descriptor.platform, config));
    return { platform: name, form: 'all', blobs: [manifest.config, ...manifest.layers].map(whole) };
  }
  const recorder = new Recorder(target);
  const image = await openImage(recorder.target, tagOrDigest, { platform, signal });
  const carried = all ? undefined : await readCarriedPrefetch(recorder.target, manifest.layers, { signal });
  const sources = image.layers.flatMap(({ source }) => (source === undefined ? [] : [source]));
  const blobs = [manifest.config, ...manifest.layers, ...sources];
  if (carried === undefined) return { platform: image.platform, form: 'all', blobs: distinct(blobs).map(whole) };
  for (const place of await placesOf(image, carried.content, signal)) {
    if (image.device.holds(place)) await recorder.note(image, place);
    signal?.throwIfAborted();
  }
  // A node reads the config and the list itself in full.
  const inFull = [manifest.config, carried.descriptor].map(whole);
  const parts = distinct(blobs)
    .filter(({ digest }) => !inFull.some((blob) => blob.digest === digest))
    .map(({ digest, size }) => ({ digest, size, pieces: recorder.pieces(digest) }))
    .filter(({ pieces }) => pieces.length > 0);
  return { platform: image.platform, form: carried.content.form, blobs: [...inFull, ...parts] };
}

async function findManifest(
  target: Target,
  tagOrDigest: string,
  { platform, signal }: WarmOptions,
): Promise<{ readonly descriptor: Descriptor; readonly manifest: ImageManifest }> {
  const { descriptor, document } = await resolveDocument(target, tagOrDigest, { signal });
  if (document.kind === 'manifest') return { descriptor, manifest: document.manifest };
  const chosen = await selectImage(target, document.index, platform, { where: { digest: descriptor.digest }, signal });
  return { descriptor: chosen, manifest: await loadManifest(target, chosen, { signal }) };
}

/** The parts of the layers' files that a list or trace leads to. */
async function placesOf(
  { device }: AcceleratedImage,
  content: PrefetchContent,
  signal: AbortSignal | undefined,
): Promise<readonly LayerPlace[]> {
  if (content.form === 'trace') return content.reads.map((read) => ({ ...read, tag: TAG_LOCAL }));
  const lines = content.list.kept.map((line) => (line.startsWith('/') ? line : `/${line}`));
  const { items } = await resolvePrefetch(device, parsePrefetchLines(lines), signal);
  return items
    .flatMap(({ files }) => files.flatMap(({ ranges }) => ranges))
    .flatMap(({ offset, length }) => [...device.segments(offset, length)])
    .filter(({ zeroed }) => !zeroed)
    .map(({ layer, tag, moffset, length }) => ({ layer, tag, offset: moffset, length }));
}

/** Notes the parts of blobs that are read, and those that would be. */
class Recorder {
  /** Reads for real, except within {@link note}. */
  readonly target: Target;
  readonly #parts = new Map<string, Set<number>>();
  #planning = false;

  constructor(target: Target) {
    const fetchRange: Target['fetchRange'] = async (descriptor, offset, length, options) => {
      this.#add(descriptor.digest, offset, length);
      if (this.#planning) throw new AccelError('aborted', 'data is not read for a plan');
      return target.fetchRange(descriptor, offset, length, options);
    };
    this.target = new Proxy(target, {
      get: (of, name) => {
        if (name === 'fetchRange') return fetchRange;
        const value: unknown = Reflect.get(of, name, of);
        return typeof value === 'function' ? value.bind(of) : value;
      },
    });
  }

  /** Notes the parts of blobs that hold a place, and reads at most the tables that say where they are. */
  async note({ device }: AcceleratedImage, place: LayerPlace): Promise<void> {
    await device.storedSize(place);
    this.#planning = true;
    try {
      await device.readLayer(place);
    } catch {
      // The read ends where it asks for data: by then its part is noted.
    } finally {
      this.#planning = false;
    }
  }

  /** The pieces of a blob that hold the parts, as ascending ranges. */
  pieces(digest: string): [number, number][] {
    const ranges: [number, number][] = [];
    for (const index of [...(this.#parts.get(digest) ?? [])].sort((a, b) => a - b)) {
      const last = ranges.at(-1);
      if (last?.[1] === index) last[1] = index + 1;
      else ranges.push([index, index + 1]);
    }
    return ranges;
  }

  #add(digest: string, offset: number, length: number): void {
    const known = this.#parts.get(digest) ?? new Set<number>();
    this.#parts.set(digest, known);
    const last = Math.floor((offset + Math.max(1, length) - 1) / PIECE_BYTES);
    for (let index = Math.floor(offset / PIECE_BYTES); index <= last; index++) known.add(index);
  }
}

function whole({ digest, size }: { readonly digest: string; readonly size: number }): WarmBlob {
  return { digest, size, pieces: size === 0 ? [] : [[0, pieceCount(size)]] };
}

function distinct<T extends { readonly digest: string }>(blobs: readonly T[]): T[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}
