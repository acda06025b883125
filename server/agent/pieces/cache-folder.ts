/** The pieces that an earlier process has left in the folder of the cache. */
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { PieceId } from './piece.ts';

/** A file of a piece. */
export interface FoundPiece {
  readonly id: PieceId;
  /** Bytes of the file. */
  readonly size: number;
  /** When it was last written, milliseconds since 1970. */
  readonly used: number;
}

/** Files that are looked at at once. */
const AT_ONCE = 64;

/**
 * Lists the pieces in a folder, the oldest first. In the folders of blobs, files that are no pieces are removed; other folders
 * are left alone. Stops early, with what it has found, when `stopped` says so. Rejects where the folder cannot be read.
 */
export async function findPieces(root: string, stopped: () => boolean): Promise<FoundPiece[]> {
  const found: FoundPiece[] = [];
  for (const blob of await readdir(root)) {
    if (!/^sha256-[0-9a-f]{64}$/.test(blob)) continue;
    const digest = blob.replace('-', ':');
    const names = await readdir(join(root, blob)).catch(() => []);
    for (let at = 0; at < names.length && !stopped(); at += AT_ONCE) {
      const looked = names.slice(at, at + AT_ONCE).map((name) => lookAt(join(root, blob, name), digest, name));
      for (const piece of await Promise.all(looked)) if (piece !== undefined) found.push(piece);
    }
  }
  return found.sort((a, b) => a.used - b.used);
}

async function lookAt(path: string, digest: string, name: string): Promise<FoundPiece | undefined> {
  const index = /^(0|[1-9]\d{0,7})$/.test(name) ? Number(name) : undefined;
  const facts = await lstat(path).catch(() => undefined);
  if (index !== undefined && facts?.isFile() === true)
    return { id: { digest, index }, size: facts.size, used: facts.mtimeMs };
  await rm(path, { force: true, recursive: true }).catch(() => undefined);
  return undefined;
}

/** The name of the folder of a blob's pieces. */
export function folderOf({ digest }: PieceId): string {
  return digest.replace(':', '-');
}

/**
 * Makes the folder of a blob, but not the one above it: where that has gone, so have the pieces that are counted there. Rejects
 * with the system's error.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
