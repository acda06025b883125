/** The files `oci-layout` and `index.json` of an OCI image layout (image-spec, image-layout.md). */
import { lstat, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { bytesSource } from '../base/byte-source.ts';
import { AccelError, asAccelError, type ErrorPlace } from '../base/error.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { danglingLink } from '../disk/file-kind.ts';
import { type HeldLock, withLock } from '../disk/lock.ts';
import { isAbsent, writeAtomically } from '../disk/write-atomically.ts';
import { refuseAmbiguous } from './ambiguity.ts';
import { asDescriptor, brief, type Descriptor } from './descriptor.ts';
import { REF_NAME, refNameOf } from './image-names.ts';
import { encodeJson, MAX_MANIFEST_SIZE, parseObject } from './manifest.ts';
import { OCI } from './media-types.ts';

/** The parsed index.json; fields that accel does not know are kept. */
export interface IndexFile {
  readonly schemaVersion: 2;
  readonly manifests: readonly Descriptor[];
}

/**
 * Creates the files of an empty layout, if they are missing. Holds the lock of the index, because another process may
 * be adding a tag to an index that it has just created.
 */
export async function createLayoutFiles(directory: string): Promise<void> {
  try {
    await mkdir(path.join(directory, 'blobs', 'sha256'), { recursive: true });
  } catch (error) {
    throw asAccelError(error);
  }
  if (!(await isThere(directory, 'oci-layout'))) {
    await write(directory, 'oci-layout', { imageLayoutVersion: '1.0.0' });
  }
  if (await isThere(directory, 'index.json')) return;
  await withLock(indexPath(directory), async () => {
    if (await isThere(directory, 'index.json')) return;
    await write(directory, 'index.json', { schemaVersion: 2, mediaType: OCI.index, manifests: [] });
  });
}

/** Checks both files. Throws `not-found` where there is no layout, `layout-invalid` where it is broken. */
export async function assertLayout(directory: string): Promise<void> {
  const marker = await readJson(directory, 'oci-layout');
  assertLayoutMarker(marker, { path: path.join(directory, 'oci-layout') });
  await readIndexFile(directory);
}

/** Reads and checks index.json of a layout that {@link assertLayout} passed. Throws as that does. */
export async function readIndexFile(directory: string): Promise<IndexFile> {
  const index = await readJson(directory, 'index.json');
  return asIndexFile(index, { path: path.join(directory, 'index.json') });
}

/** Throws `layout-invalid` unless the parsed file `oci-layout` is of a version that accel knows. */
export function assertLayoutMarker(marker: Readonly<Record<string, unknown>>, where: ErrorPlace): void {
  const version = marker.imageLayoutVersion;
  if (typeof version === 'string' && version.startsWith('1.')) return;
  throw new AccelError('layout-invalid', 'the layout is of a version that accel does not know', {
    where,
    expected: 'imageLayoutVersion 1.0.0',
    found: brief(version),
  });
}

/** The parsed file `index.json`, checked. Throws `layout-invalid` or `manifest-invalid`. */
export function asIndexFile(index: Readonly<Record<string, unknown>>, where: ErrorPlace): IndexFile {
  refuseAmbiguous(index, OCI.index, where);
  const manifests = index.manifests ?? [];
  if (index.schemaVersion !== 2 || !Array.isArray(manifests)) {
    throw new AccelError('layout-invalid', 'index.json is not an image index', {
      where,
      expected: 'schemaVersion 2 and a list of manifests',
      found: brief(index),
    });
  }
  return {
    ...index,
    schemaVersion: 2,
    manifests: manifests.map((entry, position) => asDescriptor(entry, `manifests[${position}]`, where)),
  };
}

/** The file with the tags, which the lock of a layout protects. */
export function indexPath(directory: string): string {
  return path.join(directory, 'index.json');
}

/**
 * Points `tag` at the descriptor in index.json, unless it does already. Other entries stay as they are; an entry that
 * existed only for the tag is removed. Call it only under the lock of {@link indexPath}; until index.json is replaced the lock's
 * signal ends it, and no tag has changed.
 */
export async function tagInIndexFile(
  directory: string,
  descriptor: Descriptor,
  tag: string,
  lock: HeldLock,
): Promise<void> {
  const index = retagged(await readIndexFile(directory), descriptor, tag);
  if (index === undefined) return;
  await lock.confirm();
  await write(directory, 'index.json', index, lock.signal);
}

/** The index in which `tag` points at the descriptor; undefined if it does already. */
export function retagged(index: IndexFile, descriptor: Descriptor, tag: string): IndexFile | undefined {
  const same = index.manifests.find((entry) => entry.digest === descriptor.digest);
  const platform = descriptor.platform ?? same?.platform;
  const entry: Descriptor = {
    mediaType: descriptor.mediaType,
    digest: descriptor.digest,
    size: descriptor.size,
    annotations: { ...descriptor.annotations, [REF_NAME]: tag },
    ...(platform === undefined ? {} : { platform }),
    ...(descriptor.artifactType === undefined ? {} : { artifactType: descriptor.artifactType }),
  };
  const kept = index.manifests.filter((other) => refNameOf(other) !== tag);
  const current = index.manifests.filter((other) => refNameOf(other) === tag);
  if (current.length === 1 && current[0]?.digest === entry.digest && current[0].size === entry.size) return undefined;
  return { ...index, manifests: [...kept, entry] };
}

/** Whether anything has this name, including a dangling link. */
async function isThere(directory: string, name: string): Promise<boolean> {
  try {
    await lstat(path.join(directory, name));
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw asAccelError(error);
  }
}

function write(directory: string, name: string, content: unknown, signal?: AbortSignal): Promise<void> {
  return writeAtomically(path.join(directory, name), bytesSource(encodeJson(content)).open(), { signal });
}

async function readJson(directory: string, name: string): Promise<Record<string, unknown>> {
  const file = path.join(directory, name);
  const bytes = await readBounded(file).catch(async (error: unknown) => {
    if (!isAbsent(error)) throw asAccelError(error);
    const link = await danglingLink(file);
    throw new AccelError('not-found', 'there is no OCI image layout in this directory', {
      where: { path: directory },
      expected: 'the files oci-layout and index.json',
      found: link === undefined ? `no ${name}` : `${name} is a link that leads nowhere: to ${link}`,
      cause: error,
    });
  });
  try {
    return parseObject(bytes, MAX_MANIFEST_SIZE, { path: file });
  } catch (cause) {
    const inner = asAccelError(cause);
    throw new AccelError('layout-invalid', `${name} of the layout cannot be read: ${inner.message}`, {
      where: { ...inner.where, path: file },
      ...(inner.expected === undefined ? {} : { expected: inner.expected }),
      ...(inner.found === undefined ? {} : { found: inner.found }),
      cause,
    });
  }
}

/** Reads at most one byte beyond the limit, so that parseObject detects a huge file without reading all of it. */
async function readBounded(path: string): Promise<Uint8Array> {
  const file = await DiskFile.open(path);
  try {
    return await file.read(0, Math.min(await file.size(), MAX_MANIFEST_SIZE + 1));
  } finally {
    await file.close();
  }
}
