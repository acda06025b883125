/** Writing gzip whose bytes depend on nothing but its content. */
import { gzipSync } from 'fflate';

/** Deflate levels, 1 (fast) to 9 (small). */
export type GzipLevel = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

/**
 * `bytes` as one gzip member with time 0 and no name. The same on every platform and Node version, which node:zlib's
 * is not; for small artifacts, because it holds everything in memory.
 */
export function gzipDeterministic(bytes: Uint8Array, level: GzipLevel = 6): Uint8Array {
  return gzipSync(bytes, { level, mtime: 0 });
}
