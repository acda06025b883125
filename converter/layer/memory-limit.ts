/** How much of a conversion may go on at a time within a budget of memory. */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';

const MIB = 2 ** 20;

/** The least that can be promised, in bytes: one image with one compress thread. */
export const MIN_MAX_MEMORY = 288 * MIB;

/**
 * Resident memory in bytes, measured on images of four platforms with layers of 180 MB, both tags: the process itself, each
 * image that is converted (its threads, shared buffers and the blocks on their way), each compress thread.
 */
const BASE = 180 * MIB;
const PER_IMAGE = 75 * MIB;
const PER_WORKER = 24 * MIB;

/** What fits. */
export interface Share {
  /** Images converted at a time, at least 1. */
  readonly images: number;
  /** Compress threads. */
  readonly workers: number;
}

/**
 * As many compress threads as asked for while one image fits beside them, then as many images; both shrink for the
 * budget, and the bytes that come out stay the same. Throws `usage` for less than {@link MIN_MAX_MEMORY}.
 */
export function shareMemory(maxMemory: number, asked: Share): Share {
  if (!Number.isSafeInteger(maxMemory) || maxMemory < MIN_MAX_MEMORY)
    throw new AccelError('usage', 'a conversion does not fit into so little memory', {
      expected: `at least ${MIN_MAX_MEMORY / MIB} MiB`,
      found: `${Math.floor(maxMemory / MIB)} MiB`,
      hint: advise`Raise ${option('maxMemory')}.`,
    });
  const room = maxMemory - BASE;
  const workers = Math.min(asked.workers, Math.max(1, Math.floor((room - PER_IMAGE) / PER_WORKER)));
  const images = Math.floor((room - workers * PER_WORKER) / PER_IMAGE);
  return { workers, images: Math.max(1, Math.min(asked.images, images)) };
}
