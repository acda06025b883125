/**
 * Reads archives of `docker save`. Before Docker 25 they hold manifest.json, configs and layers as plain tars, from which an
 * OCI manifest is composed in memory. Since then they are also image layouts, and are read as such.
 */
import { AccelError, type ErrorPlace } from '../base/error.ts';
import { isRecord } from '../base/is-record.ts';
import type { DiskFile } from '../disk/disk-file.ts';
import {
  type ArchiveBlob,
  type ArchiveContent,
  asOciArchive,
  followMember,
  type IndexedTar,
  readMember,
} from './archive-content.ts';
import { MAX_CONFIG_SIZE, parseConfig } from './config.ts';
import { brief, type Descriptor, isOptional, isStringList } from './descriptor.ts';
import { Digester, digestOf } from './digest.ts';
import { CONTAINERD_NAME, REF_NAME, tagPart } from './image-names.ts';
import { encodeJson, MAX_MANIFEST_SIZE, parseObject } from './manifest.ts';
import { type LayerCompression, layerMediaType, OCI } from './media-types.ts';
import { readMembers, type TarMember } from './tar-file.ts';

/** An image of manifest.json. */
interface SavedImage {
  readonly config: string;
  /** `repository:tag`. */
  readonly repoTags: readonly string[];
  /** Bottom first. */
  readonly layers: readonly string[];
}

/** Reads an archive of `docker save`, of `size` bytes. Throws `layout-invalid`. */
export async function readDockerArchive(file: DiskFile, size: number, where: ErrorPlace): Promise<ArchiveContent> {
  const members = await readMembers(file, size, where);
  const archive: IndexedTar = { file, members, where };
  if (members.has('index.json') && members.has('oci-layout')) return asOciArchive(archive);
  const images = await savedImages(archive);
  const blobs = new Map<string, ArchiveBlob>();
  const manifests: Descriptor[] = [];
  for (const image of images) {
    const descriptor = await compose(archive, image, blobs);
    const names = image.repoTags.filter((name) => tagPart(name) !== undefined);
    for (const name of new Set(names)) manifests.push({ ...descriptor, annotations: annotationsOf(name) });
    if (names.length > 0) continue;
    // An image saved by its ID has no name; if it is the only one, it gets the default name.
    manifests.push(images.length === 1 ? { ...descriptor, annotations: { [REF_NAME]: 'latest' } } : descriptor);
  }
  return { index: { schemaVersion: 2, manifests }, blobs };
}

/** The annotations that Docker writes since version 25: the tag and the whole name. */
function annotationsOf(name: string): Readonly<Record<string, string>> {
  return { [REF_NAME]: tagPart(name)!, [CONTAINERD_NAME]: name };
}

async function savedImages(archive: IndexedTar): Promise<readonly SavedImage[]> {
  const { members, where } = archive;
  const name = 'manifest.json';
  const place = { ...where, member: name };
  if (!members.has(name) && members.has('repositories')) throw beforeManifests(place);
  const bytes = await readMember(archive, name, MAX_MANIFEST_SIZE - 16);
  // The document is a list: wrapped in an object, it is parsed within the limits of all documents.
  const wrapped = Buffer.concat([Buffer.from('{"images":'), bytes, Buffer.from('}')]);
  const { images } = parseObject(wrapped, MAX_MANIFEST_SIZE, place);
  if (!Array.isArray(images)) throw malformed(place, 'a list of images', images);
  return images.map((image: unknown) => {
    if (!isRecord(image)) throw malformed(place, 'an object for each image', image);
    const { Config: config, RepoTags: repoTags, Layers: layers } = image;
    if (typeof config !== 'string') throw malformed(place, 'Config as text', config);
    if (!isOptional(repoTags, isStringList)) throw malformed(place, 'RepoTags as a list of text', repoTags);
    if (!isOptional(layers, isStringList)) throw malformed(place, 'Layers as a list of text', layers);
    return { config, repoTags: (repoTags ?? []) as string[], layers: (layers ?? []) as string[] };
  });
}

/** Adds an image's config, layers and composed manifest to `blobs`. */
async function compose(archive: IndexedTar, image: SavedImage, blobs: Map<string, ArchiveBlob>): Promise<Descriptor> {
  const { file, members, where } = archive;
  const place = { ...where, member: image.config };
  const bytes = await readMember(archive, image.config, MAX_CONFIG_SIZE);
  const config = { mediaType: OCI.config, digest: digestOf(bytes), size: bytes.length };
  const { diff_ids: diffIds } = parseConfig(bytes, config).rootfs;
  if (diffIds.length !== image.layers.length) {
    throw malformed(place, `${image.layers.length} diff_ids, as many as layers`, `${diffIds.length}`);
  }
  const layers: Descriptor[] = [];
  for (const [index, name] of image.layers.entries()) {
    if (name === '') {
      throw malformed(
        { ...where, member: 'manifest.json' },
        'the path of each layer',
        `an empty path for layer ${index + 1}`,
      );
    }
    const member = followMember(members, name, where);
    const layer = await layerOf(archive, member, diffIds[index]!);
    blobs.set(layer.digest, { size: member.size, place: { file, offset: member.offset } });
    layers.push(layer);
  }
  blobs.set(config.digest, { size: bytes.length, place: bytes });
  const manifest = encodeJson({ schemaVersion: 2, mediaType: OCI.manifest, config, layers });
  const descriptor = { mediaType: OCI.manifest, digest: digestOf(manifest), size: manifest.length };
  blobs.set(descriptor.digest, { size: manifest.length, place: manifest });
  return descriptor;
}

/**
 * Describes a layer. The digest of a plain layer is its diff_id, against which every read is verified. Some builders (Bazel,
 * Jib) store compressed layers: those are read once to compute their digest.
 */
async function layerOf({ file }: IndexedTar, { offset, size }: TarMember, diffId: string): Promise<Descriptor> {
  const compression = compressionOf(await file.read(offset, Math.min(size, 4)));
  const mediaType = layerMediaType('oci', compression);
  if (compression === 'none') return { mediaType, digest: diffId, size };
  const digester = new Digester();
  for await (const chunk of file.pieces({ offset, size, transient: true })) digester.update(chunk);
  return { mediaType, digest: digester.digest(), size };
}

function compressionOf(start: Uint8Array): LayerCompression {
  const magic = Buffer.from(start).toString('hex');
  if (magic.startsWith('1f8b')) return 'gzip';
  return magic === '28b52ffd' ? 'zstd' : 'none';
}

/** The error for the format of Docker before 1.10 (2016), which some tools still write. */
function beforeManifests(where: ErrorPlace): AccelError {
  return new AccelError(
    'image-unsupported',
    'the archive is in the form of Docker before 1.10, which has no manifest.json',
    {
      where,
      expected: 'manifest.json, or an OCI image layout',
      found: 'the file repositories alone',
      hint: 'Load it with a Docker or podman that takes it, and save it again: docker load -i FILE, docker save -o NEW IMAGE.',
    },
  );
}

function malformed(where: ErrorPlace, expected: string, found: unknown): AccelError {
  return new AccelError('layout-invalid', 'the archive was not written by docker save', {
    where,
    expected,
    found: typeof found === 'string' ? found : brief(found),
  });
}
