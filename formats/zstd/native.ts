/** Node's own zstd, where this Node has it (22.15, 23.8 and later). */
import * as zlib from 'node:zlib';
import type { ZstdLibrary } from './library.ts';

/** The part of node:zlib's zstd that is used here; @types/node of Node 20 does not know it. */
export interface NativeZstd {
  zstdCompressSync(
    source: Uint8Array,
    options: { params: Record<number, number>; pledgedSrcSize: number; chunkSize: number },
  ): Uint8Array;
  readonly constants: { readonly ZSTD_c_compressionLevel: number };
}

/** Node's zstd, or undefined on a Node without it. */
export const nativeZstd: NativeZstd | undefined =
  'zstdCompressSync' in zlib ? (zlib as unknown as NativeZstd) : undefined;

/** Node 22 takes longer for a call than the WebAssembly. */
const FASTER_FROM = 24;
/** More than zstd adds to a block that does not shrink. */
const FRAME_OVERHEAD = 1024;

/** Facts that decide whether a Node's zstd is used. */
export interface NodeZstd {
  readonly native: NativeZstd | undefined;
  /** Versions of Node and of the zstd in it. */
  readonly node: string;
  readonly zstd: string | undefined;
}

const THIS_NODE: NodeZstd = { native: nativeZstd, node: process.versions.node, zstd: process.versions.zstd };

/**
 * Node's compressor of single blocks at `level`, if it makes the frames of `library`: the same version of zstd, and the
 * same bytes for a sample. Undefined elsewhere, and where it is not faster.
 */
export function equalNativeCompressor(
  library: Pick<ZstdLibrary, 'version' | 'compress'>,
  level: number,
  { native, node, zstd }: NodeZstd = THIS_NODE,
): ((block: Uint8Array) => Uint8Array) | undefined {
  if (native === undefined || Number.parseInt(node, 10) < FASTER_FROM || zstd !== library.version) return undefined;
  const params = { [native.constants.ZSTD_c_compressionLevel]: level };
  const compress = (block: Uint8Array): Uint8Array =>
    native.zstdCompressSync(block, { params, pledgedSrcSize: block.length, chunkSize: block.length + FRAME_OVERHEAD });
  const sample = makeSample();
  for (const size of SAMPLE_SIZES) {
    const block = sample.subarray(0, size);
    if (Buffer.compare(compress(block), library.compress(block, level)) !== 0) return undefined;
  }
  return compress;
}

/** A size of each table of parameters that zstd has for blocks of a ZFile, and one that ends within a word. */
const SAMPLE_SIZES = [65_536, 32_768, 4097];

/** Words of a small dictionary between bytes of noise: literals, matches near and far, and repeated distances. */
function makeSample(): Uint8Array {
  const sample = new Uint8Array(SAMPLE_SIZES[0]!);
  let state = 0x2545_f491;
  const random = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  for (let at = 0; at < sample.length; ) {
    const length = 3 + random(29);
    const from = at - 1 - random(at < 2 ? 1 : Math.min(at, 1 << (1 + random(15))));
    const isCopy = at > 64 && random(4) > 0;
    for (let i = 0; i < length && at < sample.length; i++, at++)
      sample[at] = isCopy ? sample[from + i]! : random(3) === 0 ? random(256) : 97 + random(6);
  }
  return sample;
}
