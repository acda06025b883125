/**
 * Measures time and memory against the size of a layer too large for the disk: a generator produces the tar each time
 * that it is read, and pushed bytes are hashed, counted and discarded.
 *
 *   node dist/bench/scale.js files 1000000         a tree of so many small files, a thousand to a directory
 *   node dist/bench/scale.js bytes 20000000000     files of 64 MiB, so many bytes together
 *   node dist/bench/scale.js size 9000000000       one file, and its size in the tar by base-256
 *   node dist/bench/scale.js layers 70             so many layers, each with a file of its own
 *
 * Converts in both modes from one pass and prints one JSON document. Full layers are spooled before they are pushed, so
 * the content is such that it compresses: the temporary directory takes about a fortieth of it.
 */

import type { BlobSource } from '../base/byte-source.ts';
import { convertBetween } from '../converter/convert.ts';
import { DEFAULT_ARTIFACT } from '../converter/options.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { Digester, verified } from '../oci/digest.ts';
import { encodeJson } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import type { ReadOptions } from '../oci/storage.ts';
import { bytesLayer, filesLayer, type GeneratedLayer, smallLayer } from './generated-layer.ts';

/** Blobs up to this size are kept: manifests and configs are read again. */
const KEPT = 4 << 20;

/** Generates its source layers, keeps documents, and lets go of every blob that is pushed after its digest was checked. */
class ScaleTarget extends MemoryTarget {
  readonly #layers = new Map<string, GeneratedLayer>();
  readonly #swallowed = new Set<string>();
  pushedBytes = 0;

  /** Reads a layer once for its digest. */
  async addLayer(layer: GeneratedLayer): Promise<Descriptor> {
    const digester = new Digester();
    for (const chunk of layer()) digester.update(chunk);
    const descriptor = { mediaType: OCI.layer, digest: digester.digest(), size: digester.size };
    this.#layers.set(descriptor.digest, layer);
    return descriptor;
  }

  override async exists(descriptor: Descriptor, options?: ReadOptions): Promise<boolean> {
    const { digest } = descriptor;
    return this.#layers.has(digest) || this.#swallowed.has(digest) || (await super.exists(descriptor, options));
  }

  override async fetch(descriptor: Descriptor, options?: ReadOptions): Promise<AsyncIterable<Uint8Array>> {
    const layer = this.#layers.get(descriptor.digest);
    if (layer === undefined) return super.fetch(descriptor, options);
    return verified(inTurn(layer()), descriptor, { target: this.name });
  }

  override async push(
    descriptor: Descriptor,
    content: BlobSource,
    options?: ReadOptions,
  ): Promise<'pushed' | 'existed'> {
    if (descriptor.size <= KEPT) return super.push(descriptor, content, options);
    for await (const chunk of verified(content.open(), descriptor, { target: this.name }))
      this.pushedBytes += chunk.length;
    this.#swallowed.add(descriptor.digest);
    return 'pushed';
  }
}

async function* inTurn(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) {
    yield chunk;
    // Lets timers and the threads' messages in between: a network would.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Measurements of one run of the script. */
export interface ScaleResult {
  readonly what: string;
  readonly count: number;
  /** Bytes of the source layers. */
  readonly source: number;
  /** Seconds that the generator alone takes, hashing included: the conversion's seconds hold them once more. */
  readonly generate: number;
  /** Seconds of the conversion. */
  readonly convert: number;
  /** Bytes of the images that came out, full and containerd. */
  readonly sizes: readonly number[];
  /** Largest resident set of the process in bytes. */
  readonly peakRss: number;
}

const KINDS: Readonly<Record<string, (count: number) => readonly GeneratedLayer[]>> = {
  files: (count) => [filesLayer(count)],
  bytes: (count) => [bytesLayer(count, 64 << 20)],
  size: (count) => [bytesLayer(count, count)],
  layers: (count) => Array.from({ length: count }, (_, i) => smallLayer(i)),
};

/** Converts a generated image of this kind. Throws an Error for an unknown kind. */
export async function measureScale(what: string, count: number): Promise<ScaleResult> {
  const kind = KINDS[what];
  if (kind === undefined || !Number.isSafeInteger(count) || count < 1)
    throw new Error(`usage: scale.js ${Object.keys(KINDS).join('|')} COUNT`);
  const target = new ScaleTarget();
  const started = performance.now();
  const layers: Descriptor[] = [];
  for (const layer of kind(count)) layers.push(await target.addLayer(layer));
  const generated = performance.now();
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) };
  const config = target.put(OCI.config, encodeJson({ os: 'linux', architecture: 'amd64', rootfs }));
  const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers };
  await target.tag(target.put(OCI.manifest, encodeJson(manifest)), 'base');
  const { tags } = await convertBetween(
    { source: target, target, mountFrom: undefined },
    {
      repository: 'oci:nowhere',
      source: { tag: 'base' },
      outputs: [
        { tag: 'full', kind: 'full' },
        { tag: 'containerd', kind: 'containerd' },
      ],
      // Directories count too.
      artifact: { ...DEFAULT_ARTIFACT, maxFiles: DEFAULT_ARTIFACT.maxFiles * 2 },
      platforms: [],
      concurrency: 2,
      workers: 2,
      noUpload: false,
      cache: false,
      force: false,
    },
  );
  return {
    what,
    count,
    source: layers.reduce((sum, { size }) => sum + size, 0),
    generate: (generated - started) / 1000,
    convert: (performance.now() - generated) / 1000,
    sizes: tags.map(({ size }) => size),
    peakRss: process.resourceUsage().maxRSS * 1024,
  };
}

if (process.argv[1] === import.meta.filename)
  console.log(JSON.stringify(await measureScale(process.argv[2] ?? '', Number(process.argv[3]))));
