/** The image that an accelerated one was made from: its documents, and the tree that its layers say. */
import { getHeapStatistics } from 'node:v8';
import { AccelError, withPlace } from '../../base/error.ts';
import type { RuleReport } from '../../formats/layer/tree.ts';
import type { ImageConfig } from '../../oci/config.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type DigestAlgorithm, Digester, splitDigest } from '../../oci/digest.ts';
import { loadConfig, loadManifest } from '../../oci/document.ts';
import type { ImageManifest } from '../../oci/manifest.ts';
import type { Fetcher, ReadOptions } from '../../oci/storage.ts';
import { type ApplyLayerOptions, applyLayer } from './apply-layer.ts';
import { tarOf } from './decompress.ts';
import { SourceTreeBuilder } from './flatten.ts';
import type { SourceNode } from './node.ts';

/** One platform's source image. */
export interface SourceImage {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}

/** Facts about a layer that are known after reading it. */
export interface SourceLayerFacts {
  readonly descriptor: Descriptor;
  /** Digest of the uncompressed tar; undefined when content was skipped. */
  readonly diffId: string | undefined;
  readonly entries: number;
}

/** The tree with what was learnt on the way. */
export interface SourceTree {
  readonly root: SourceNode;
  readonly layers: readonly SourceLayerFacts[];
  /** Attributes that are not compared as the layers have them, and why. */
  readonly warnings: readonly string[];
}

/** Options for reading the layers. */
export interface SourceTreeOptions extends ReadOptions {
  /** The diff_ids that the config states: each tar is hashed by the algorithm of its own; sha256 without one. */
  readonly diffIds?: readonly string[];
  /** Hash content and tars; without it the metadata alone is gathered. */
  readonly hashContent?: boolean;
  /** Entries that one layer may have; 4,000,000 by default. */
  readonly maxEntries?: number;
  /** Bytes that one layer may have, uncompressed; the tar parser's bound by default. */
  readonly maxLayerSize?: number;
  /** Sees the tar of layer `index` (0 = lowest) as it passes; the chunks are valid during the call only. */
  readonly observe?: (index: number) => ((chunk: Uint8Array) => void) | undefined;
  /** Called with the number of bytes of each piece of a blob. */
  readonly onRead?: (bytes: number) => void;
}

const MAX_ENTRIES = 4_000_000;
/** Bytes of V8's heap that an entry takes at the most, in a directory of its own with a name of 255 bytes. */
const BYTES_PER_ENTRY = 800;
const MIB = 2 ** 20;
/** Warnings that are kept word by word; an image may have one for each of its files. */
const MAX_WARNINGS = 100;

/** Fetches manifest and config. Throws `manifest-invalid`, `not-found` and what the fetcher throws. */
export async function loadSourceImage(
  fetcher: Fetcher,
  descriptor: Descriptor,
  options: ReadOptions = {},
): Promise<SourceImage> {
  const manifest = await loadManifest(fetcher, descriptor, options);
  return { descriptor, manifest, config: await loadConfig(fetcher, manifest.config, options) };
}

/**
 * Reads every layer to its end, verified against its digest, and flattens them. Memory goes with the number of files,
 * not with their size. Throws what is wrong with a layer, with its number and digest.
 */
export async function readSourceTree(
  fetcher: Fetcher,
  manifest: ImageManifest,
  options: SourceTreeOptions = {},
): Promise<SourceTree> {
  const builder = new SourceTreeBuilder();
  const facts: SourceLayerFacts[] = [];
  const warnings = new Warnings();
  for (const [index, descriptor] of manifest.layers.entries()) {
    try {
      const blob = counted(await fetcher.fetch(descriptor, options), options);
      const tar = hashed(
        observed(tarOf(blob), options.observe?.(index)),
        (options.hashContent ?? true) ? new Digester(algorithmOf(options.diffIds?.[index])) : undefined,
      );
      const report: RuleReport = {
        changed: (message, path) => warnings.add(`layer ${index + 1}: ${path}: ${message}`),
        // About the plain image, and reported when it is converted: the accelerated one is as the layers say.
        differs: () => undefined,
      };
      const entries = await applyLayer(tar.bytes, builder.nextLayer(report), {
        hashContent: options.hashContent ?? true,
        signal: options.signal,
        ...entryBound(options.maxEntries ?? MAX_ENTRIES, facts),
        limits: options.maxLayerSize === undefined ? {} : { archiveBytes: options.maxLayerSize },
      });
      facts.push({ descriptor, diffId: tar.digest(), entries });
    } catch (error) {
      throw withPlace(error, {
        'source layer': `${index + 1} of ${manifest.layers.length}`,
        digest: descriptor.digest,
      });
    }
  }
  return { root: builder.finish(), layers: facts, warnings: warnings.list() };
}

/** Bounds the entries of the next layer: by a fixed number, and by what V8 holds in its heap beside those of the layers below. */
function entryBound(
  most: number,
  layers: readonly SourceLayerFacts[],
): Pick<ApplyLayerOptions, 'maxEntries' | 'tooMany'> {
  const heap = getHeapStatistics().heap_size_limit;
  const whole = Math.floor(heap / BYTES_PER_ENTRY);
  const before = layers.reduce((sum, { entries }) => sum + entries, 0);
  const room = Math.max(0, whole - before);
  if (most <= room) {
    return {
      maxEntries: most,
      tooMany: () =>
        new AccelError('limit-exceeded', 'a layer holds too many entries', {
          expected: `at most ${most} entries`,
          found: `more than ${most}`,
          hint: 'Split the layer: no image that nodes use has so many files in one.',
        }),
    };
  }
  return {
    maxEntries: room,
    tooMany: () =>
      new AccelError('limit-exceeded', 'the entries of the layers need more memory than Node may use', {
        expected: `at most ${whole} entries, for a heap of ${Math.floor(heap / MIB)} MiB`,
        found: `more than ${whole}`,
        hint: 'Let Node use more: NODE_OPTIONS=--max-old-space-size=8192, in MiB.',
      }),
  };
}

async function* counted(
  blob: AsyncIterable<Uint8Array>,
  { onRead, signal }: SourceTreeOptions,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of blob) {
    if (signal?.aborted === true) throw new AccelError('aborted', 'interrupted', { cause: signal.reason });
    yield chunk;
    onRead?.(chunk.length);
  }
}

async function* observed(
  bytes: AsyncIterable<Uint8Array>,
  observe: ((chunk: Uint8Array) => void) | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    observe?.(chunk);
    yield chunk;
  }
}

interface HashedStream {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** The digest of what passed; undefined when it was not asked for. */
  digest(): string | undefined;
}

function algorithmOf(diffId: string | undefined): DigestAlgorithm {
  return diffId === undefined ? 'sha256' : splitDigest(diffId).algorithm;
}

function hashed(bytes: AsyncIterable<Uint8Array>, digester: Digester | undefined): HashedStream {
  if (digester === undefined) return { bytes, digest: () => undefined };
  async function* pass(): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      digester?.update(chunk);
      yield chunk;
    }
  }
  return { bytes: pass(), digest: () => digester.digest() };
}

class Warnings {
  readonly #texts: string[] = [];
  #more = 0;

  add(text: string): void {
    if (this.#texts.length < MAX_WARNINGS) this.#texts.push(text);
    else this.#more++;
  }

  list(): string[] {
    return this.#more === 0 ? this.#texts : [...this.#texts, `and ${this.#more} more of the kind`];
  }
}
