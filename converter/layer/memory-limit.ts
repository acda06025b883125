/** Divides the memory limit of a conversion into images at a time and threads. */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';

const MIB = 2 ** 20;

/** The smallest limit in bytes: one image with one compress thread. */
export const MIN_MAX_MEMORY = 256 * MIB;

/**
 * Resident memory in bytes: the process itself, each image that is converted (its threads, shared buffers and the blocks on their
 * way), each compress thread. Measured with both tags and zstd blocks of 32 KiB: one image and one thread take 239 MiB for
 * Debian in six layers and 259 for 200,000 small files; of images of four platforms with layers of 180 MB, two at a time take 286,
 * four 389, and with four threads 425.
 */
const BASE = 156 * MIB;
const PER_IMAGE = 80 * MIB;
const PER_WORKER = 20 * MIB;

/** The parallelism that fits into the limit. */
export interface Share {
  /** Images converted at a time, at least 1. */
  readonly images: number;
  /** Compress threads. */
  readonly workers: number;
}

/**
 * Computes the parallelism: as many of the requested compress threads as fit beside one image, then as many images. The
 * output does not depend on it. Throws `usage` for less than {@link MIN_MAX_MEMORY}.
 */
export function shareMemory(maxMemory: number, asked: Share): Share {
  if (!Number.isSafeInteger(maxMemory) || maxMemory < MIN_MAX_MEMORY)
    throw new AccelError('usage', 'the memory limit is too small for a conversion', {
      expected: `at least ${MIN_MAX_MEMORY / MIB} MiB`,
      found: maxMemory < MIB ? `${maxMemory} bytes` : `${Math.floor(maxMemory / MIB)} MiB`,
      hint: advise`Raise ${option('maxMemory')}.`,
    });
  const room = maxMemory - BASE;
  const workers = Math.min(asked.workers, Math.max(1, Math.floor((room - PER_IMAGE) / PER_WORKER)));
  const images = Math.floor((room - workers * PER_WORKER) / PER_IMAGE);
  return { workers, images: Math.max(1, Math.min(asked.images, images)) };
}
