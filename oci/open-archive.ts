/** Opens archives of images: `oci-archive` and `docker-archive`. */
import { realpath } from 'node:fs/promises';
import { AccelError, asAccelError } from '../base/error.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { danglingLink } from '../disk/file-kind.ts';
import { isAbsent } from '../disk/write-atomically.ts';
import { type ArchiveContent, readOciArchive } from './archive-content.ts';
import { refuseSpecial, stamp } from './archive-file.ts';
import { type ArchiveFormat, ArchiveTarget } from './archive-target.ts';
import { readDockerArchive } from './docker-archive.ts';
import type { IndexFile } from './layout-index.ts';
import { OCI } from './media-types.ts';

/**
 * Opens an archive. Throws `not-found` if there is no such file (unless `create`, for `oci` alone), `layout-invalid` if
 * it is not an archive of images.
 */
export async function openArchive(
  file: string,
  format: ArchiveFormat,
  options: { readonly create?: boolean } = {},
): Promise<ArchiveTarget> {
  const name = `${format}-archive:${file}`;
  const create = options.create === true && format === 'oci';
  await refuseSpecial(file);
  const before = await DiskFile.open(file).catch(async (error: unknown) => {
    if (!isAbsent(error)) throw error;
    if (create) return undefined;
    const link = await danglingLink(file);
    throw new AccelError('not-found', 'there is no such archive', {
      where: { path: file },
      ...(link === undefined ? {} : { found: `a link that leads nowhere: to ${link}` }),
      cause: error,
    });
  });
  if (before === undefined) return new ArchiveTarget({ name, file, format, content: EMPTY });
  try {
    const info = await before.handle.stat();
    const read = format === 'oci' ? readOciArchive : readDockerArchive;
    const content = await read(before, info.size, { path: file });
    // Resolves links: a commit replaces the archive itself, not a link to it.
    return new ArchiveTarget({ name, file: await realpath(file), format, content, before, stamp: stamp(info) });
  } catch (error) {
    await before.close().catch(() => undefined);
    throw asAccelError(error);
  }
}

const EMPTY: ArchiveContent = {
  index: { schemaVersion: 2, mediaType: OCI.index, manifests: [] } as IndexFile,
  blobs: new Map(),
};
