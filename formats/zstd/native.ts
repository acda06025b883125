/** Node's own zstd, where this Node has it (22.15, 23.8 and later). */
import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';

/** The part of node:zlib's zstd that is used here; @types/node of Node 20 does not know it. */
export interface NativeZstd {
  createZstdDecompress(options?: { params?: Record<number, number> }): Transform;
  zstdDecompressSync(source: Uint8Array, options?: { maxOutputLength?: number }): Uint8Array;
  readonly constants: { readonly ZSTD_d_windowLogMax: number };
}

/** Node's zstd, or undefined on a Node without it. */
export const nativeZstd: NativeZstd | undefined =
  'createZstdDecompress' in zlib ? (zlib as unknown as NativeZstd) : undefined;
