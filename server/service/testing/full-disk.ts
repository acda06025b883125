/** A disk that is full when a test says so: a tmpfs, which root alone may mount. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../../tests/support/tools.ts';

/** A small disk. */
export interface SmallDisk {
  readonly path: string;
  /** Takes all the space that is left. */
  fill(): Promise<void>;
  /** Gives it back. */
  free(): Promise<void>;
  /** Unmounts it. */
  remove(): Promise<void>;
}

/** Mounts a disk of some MiB below a folder. */
export async function mountSmallDisk(folder: string, mebibytes: number): Promise<SmallDisk> {
  const path = join(folder, `disk-${Math.random()}`);
  const filler = join(path, 'filler');
  await mkdir(path);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0700`, 'accel-test', path]);
  return {
    path,
    async fill() {
      // It fails when nothing is left, and that is what it is for.
      await writeFile(filler, Buffer.alloc(mebibytes * 2 ** 20, 1)).catch(() => undefined);
      for (const size of [2 ** 16, 4096]) {
        for (let count = 0; count < 64; count += 1) {
          const isWritten = await writeFile(filler, Buffer.alloc(size, 1), { flag: 'a' }).then(
            () => true,
            () => false,
          );
          if (!isWritten) break;
        }
      }
    },
    free: () => rm(filler),
    async remove() {
      await run('umount', [path]);
      await rm(path, { recursive: true });
    },
  };
}
