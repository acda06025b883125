/** The context in which all layers of an image are opened. */
import type { BlockCache } from './block-cache.ts';
import type { Traffic } from './traffic.ts';

/** The image's way to its target, and the cache that its layers share. */
export interface OpenContext {
  readonly traffic: Traffic;
  readonly cache: BlockCache;
  /** Whether blobs of index-only layers are fetched whole, which checks their digests. */
  readonly checksDigests: boolean;
}
