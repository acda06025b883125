/** The files `oci-layout` and `index.json` of an OCI image layout (image-spec, image-layout.md). */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { bytesSource } from '../base/byte-source.ts';
import { AccelError, asAccelError, type ErrorPlace } from '../base/error.ts';
import { DiskFile } from '../disk/disk-file.ts';
import { isAbsent, writeAtomically } from '../disk/write-atomically.ts';
import { refuseAmbiguous } from './ambiguity.ts';
import { asDescriptor, brief, type Descriptor } from './descriptor.ts';
import { encodeJson, MAX_MANIFEST_SIZE, parseObject } from './manifest.ts';
import { OCI } from './media-types.ts';

/** The annotation by which an entry of index.json carries a tag (image-spec, annotations.md). */
export const REF_NAME = 'org.opencontainers.image.ref.name';

/** The parsed index.json; fields that accel does not know are kept. */
export interface IndexFile {
  readonly schemaVersion: 2;
  readonly manifests: readonly Descriptor[];
}

/** One update at a time for each layout of this process: the file is read, changed and replaced. */
const updates = new Map<string, Promise<void>>();

/** Makes what an empty layout consists of, where it is missing. Throws `layout-invalid` if other things are there. */
export async function createLayoutFiles(directory: string): Promise<void> {
  try {
    await mkdir(path.join(directory, 'blobs', 'sha256'), { recursive: true });
  } catch (error) {
    throw asAccelError(error);
  }
  await createFile(directory, 'oci-layout', { imageLayoutVersion: '1.0.0' });
  await createFile(directory, 'index.json', { schemaVersion: 2, mediaType: OCI.index, manifests: [] });
}

/** Reads and checks both files. Throws `not-found` where there is no layout, `layout-invalid` where it is broken. */
export async function readIndexFile(directory: string): Promise<IndexFile> {
  const marker = await readJson(directory, 'oci-layout');
  assertLayoutMarker(marker, { path: path.join(directory, 'oci-layout') });
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

/** The tag of an entry, if it has one. */
export function tagOf(entry: Descriptor): string | undefined {
  return entry.annotations?.[REF_NAME];
}

/** Every tag of the index once, sorted by code unit. */
export function tagsOf(index: IndexFile): readonly string[] {
  return [...new Set(index.manifests.map(tagOf).filter((tag) => tag !== undefined))].sort();
}

/**
 * Lets `tag` name the descriptor in index.json and writes the file anew, unless it says so already. Other entries stay
 * as they are; an entry that only existed for the tag goes.
 */
export async function tagInIndexFile(directory: string, descriptor: Descriptor, tag: string): Promise<void> {
  const key = path.resolve(directory);
  const before = updates.get(key) ?? Promise.resolve();
  // The next update runs whether or not this one fails; its caller alone gets the error.
  const update = before.catch(() => undefined).then(() => retag(directory, descriptor, tag));
  updates.set(key, update);
  try {
    await update;
  } finally {
    if (updates.get(key) === update) updates.delete(key);
  }
}

async function retag(directory: string, descriptor: Descriptor, tag: string): Promise<void> {
  const index = retagged(await readIndexFile(directory), descriptor, tag);
  if (index === undefined) return;
  await writeAtomically(path.join(directory, 'index.json'), bytesSource(encodeJson(index)).open());
}

/** The index in which `tag` names the descriptor; undefined if it does so already. */
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
  const kept = index.manifests.filter((other) => tagOf(other) !== tag);
  const current = index.manifests.filter((other) => tagOf(other) === tag);
  if (current.length === 1 && current[0]?.digest === entry.digest && current[0].size === entry.size) return undefined;
  return { ...index, manifests: [...kept, entry] };
}

async function createFile(directory: string, name: string, content: unknown): Promise<void> {
  const file = path.join(directory, name);
  try {
    await (await DiskFile.open(file)).close();
  } catch (error) {
    if (!isAbsent(error)) throw asAccelError(error);
    await writeAtomically(file, bytesSource(encodeJson(content)).open());
  }
}

async function readJson(directory: string, name: string): Promise<Record<string, unknown>> {
  const file = path.join(directory, name);
  const bytes = await readBounded(file).catch((error: unknown) => {
    if (!isAbsent(error)) throw asAccelError(error);
    throw new AccelError('not-found', 'there is no OCI image layout in this directory', {
      where: { path: directory },
      expected: 'the files oci-layout and index.json',
      found: `no ${name}`,
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

/** At most one byte more than the limit, so that parseObject can tell and a huge file costs nothing. */
async function readBounded(path: string): Promise<Uint8Array> {
  const file = await DiskFile.open(path);
  try {
    return await file.read(0, Math.min(await file.size(), MAX_MANIFEST_SIZE + 1));
  } finally {
    await file.close();
  }
}
