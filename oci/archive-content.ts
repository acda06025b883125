/** Reads an archive of images: its index, and the position of each blob in the file. */
import { AccelError, asAccelError, type ErrorPlace } from '../base/error.ts';
import type { DiskFile } from '../disk/disk-file.ts';
import { assertDigest } from './digest.ts';
import { asIndexFile, assertLayoutMarker, type IndexFile } from './layout-index.ts';
import { MAX_MANIFEST_SIZE, parseObject } from './manifest.ts';
import { readMembers, type TarMember } from './tar-file.ts';

/** A blob: `size` bytes at an offset of a file, or in memory if accel composed it. */
export interface ArchiveBlob {
  readonly size: number;
  readonly place: Uint8Array | { readonly file: DiskFile; readonly offset: number };
}

/** A tar file whose headers were read. */
export interface IndexedTar {
  readonly file: DiskFile;
  readonly members: ReadonlyMap<string, TarMember>;
  /** The place of errors. */
  readonly where: ErrorPlace;
}

/** See {@link readOciArchive}. */
export interface ArchiveContent {
  readonly index: IndexFile;
  /** By digest. */
  readonly blobs: ReadonlyMap<string, ArchiveBlob>;
}

/** Reads an image layout in a tar of `size` bytes (image-spec, image-layout.md). Throws `layout-invalid`. */
export async function readOciArchive(file: DiskFile, size: number, where: ErrorPlace): Promise<ArchiveContent> {
  return asOciArchive({ file, members: await readMembers(file, size, where), where });
}

/** {@link readOciArchive} for a tar whose headers were already read. */
export async function asOciArchive(tar: IndexedTar): Promise<ArchiveContent> {
  const { file, members, where } = tar;
  assertLayoutMarker(await readJsonMember(tar, 'oci-layout'), { ...where, member: 'oci-layout' });
  const index = asIndexFile(await readJsonMember(tar, 'index.json'), { ...where, member: 'index.json' });
  const blobs = new Map<string, ArchiveBlob>();
  for (const { name, kind } of members.values()) {
    const match = /^blobs\/(sha256|sha512)\/([0-9a-f]+)$/.exec(name);
    if (match === null) continue;
    const { offset, size } = kind === 'file' ? members.get(name)! : followMember(members, name, where);
    const digest = assertDigest(`${match[1]}:${match[2]}`, 'layout-invalid', { ...where, member: name });
    blobs.set(digest, { size, place: { file, offset } });
  }
  return { index, blobs };
}

/** Longest chain of links that is followed. */
const MAX_HOPS = 16;

/** Finds a member by name and follows links (docker save stores equal layers once). Throws `layout-invalid`. */
export function followMember(members: ReadonlyMap<string, TarMember>, name: string, where: ErrorPlace): TarMember {
  let member = members.get(name);
  if (member === undefined) throw noFile(members, { ...where, member: name }, name, 'no such file');
  for (let hop = 0; member.linkName !== undefined; hop += 1) {
    const next = members.get(member.linkName);
    const found = `a link at ${member.name} that leads nowhere: to ${member.linkName || 'an empty path'}`;
    if (next === undefined) throw noFile(members, { ...where, member: name }, name, found);
    if (hop === MAX_HOPS) throw noFile(members, { ...where, member: name }, name, 'links that lead in a circle');
    member = next;
  }
  if (member.kind === 'file') return member;
  throw noFile(members, { ...where, member: name }, name, `${member.what ?? 'something else'} at ${member.name}`);
}

function noFile(
  members: ReadonlyMap<string, TarMember>,
  where: ErrorPlace,
  expected: string,
  found: string,
): AccelError {
  const isOther = expected === 'oci-layout' && members.has('manifest.json');
  return new AccelError('layout-invalid', 'a file is missing from the archive', {
    where,
    expected: `the file ${expected}`,
    found,
    hint: isOther
      ? 'This is an archive of docker save: name it as docker-archive:FILE.'
      : 'Check that the archive is one of images (docker save, skopeo copy) and was copied whole.',
  });
}

/** Reads a member of at most `limit` bytes. Throws `layout-invalid` if it is missing, `limit-exceeded` if it is larger. */
export async function readMember(
  { file, members, where }: IndexedTar,
  name: string,
  limit: number,
): Promise<Uint8Array> {
  const { offset, size } = followMember(members, name, where);
  if (size <= limit) return file.read(offset, size);
  throw new AccelError('limit-exceeded', 'a file of the archive is larger than accel reads', {
    where: { ...where, member: name },
    expected: `at most ${limit} bytes`,
    found: `${size} bytes`,
  });
}

async function readJsonMember(tar: IndexedTar, name: string): Promise<Record<string, unknown>> {
  const bytes = await readMember(tar, name, MAX_MANIFEST_SIZE);
  const where = { ...tar.where, member: name };
  try {
    return parseObject(bytes, MAX_MANIFEST_SIZE, where);
  } catch (cause) {
    const { message, found } = asAccelError(cause);
    throw new AccelError('layout-invalid', `${name} of the archive cannot be read: ${message}`, {
      where,
      ...(found === undefined ? {} : { found }),
      cause,
    });
  }
}
