/** Reads small files that a user names: lists, keys, certificates, payloads. */
import { AccelError } from '../base/error.ts';
import { DiskFile } from './disk-file.ts';

/**
 * Reads a regular file of at most `limit` bytes. Throws `io-error` for anything but a regular file, without waiting for
 * it, and `limit-exceeded` for a larger one.
 */
export async function readSmallFile(path: string, limit: number): Promise<Uint8Array> {
  const file = await DiskFile.open(path);
  try {
    const size = await file.size();
    // Files of /proc report no size: one byte beyond the limit shows that there is more.
    if (size === 0) return within(path, await file.readUpTo(limit + 1), limit);
    if (size > limit) throw tooLarge(path, limit, size);
    return await file.read(0, size);
  } finally {
    await file.close();
  }
}

function within(path: string, bytes: Uint8Array, limit: number): Uint8Array {
  if (bytes.length > limit) throw tooLarge(path, limit, bytes.length);
  return bytes;
}

function tooLarge(path: string, limit: number, found: number): AccelError {
  return new AccelError('limit-exceeded', 'the file is larger than accel reads', {
    where: { path },
    expected: `at most ${limit} bytes`,
    found: `${found} bytes or more`,
  });
}
