/** Media types of the OCI image-spec (media-types.md) and of Docker's schema 2, and the way between the two. */

/** The two families of media types; a manifest and what it refers to belong to one. */
export type MediaFamily = 'oci' | 'docker';

/** OCI media types. */
export const OCI = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const;

/** Docker media types. `layerZstd` is in no document, but BuildKit writes it. */
export const DOCKER = {
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar',
  layerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  layerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
} as const;

/** Docker's manifest schema 1, signed or not: recognised only to refuse it. */
export const DOCKER_SCHEMA1: readonly string[] = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
];

/** Compression of a layer by its media type. */
export type LayerCompression = 'none' | 'gzip' | 'zstd';

type Kind = 'index' | 'manifest' | 'config' | 'layer' | 'layerGzip' | 'layerZstd';
const KINDS: readonly Kind[] = ['index', 'manifest', 'config', 'layer', 'layerGzip', 'layerZstd'];
const COMPRESSION: Partial<Record<Kind, LayerCompression>> = { layer: 'none', layerGzip: 'gzip', layerZstd: 'zstd' };

/** Layers that may not be redistributed; their content lies outside the registry. */
const NON_DISTRIBUTABLE: Readonly<Record<string, LayerCompression>> = {
  'application/vnd.oci.image.layer.nondistributable.v1.tar': 'none',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd': 'zstd',
  'application/vnd.docker.image.rootfs.foreign.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip': 'gzip',
};

/** The media type without parameters and in lower case, as a Content-Type header gives it. */
export function bareMediaType(text: string): string {
  return (text.split(';')[0] ?? '').trim().toLowerCase();
}

/** True for an image index or a Docker manifest list. */
export function isIndex(mediaType: string): boolean {
  return kindOf(mediaType) === 'index';
}

/** True for an image manifest of either family (not for an index). */
export function isManifest(mediaType: string): boolean {
  return kindOf(mediaType) === 'manifest';
}

/** True for what a registry keeps under `/manifests/`: manifests and indexes, schema 1 included. */
export function isManifestContent(mediaType: string): boolean {
  return isIndex(mediaType) || isManifest(mediaType) || DOCKER_SCHEMA1.includes(mediaType);
}

/** True for an image config of either family. */
export function isConfig(mediaType: string): boolean {
  return kindOf(mediaType) === 'config';
}

/** True for a file-system layer of either family, non-distributable ones included. */
export function isLayer(mediaType: string): boolean {
  return layerCompression(mediaType) !== undefined;
}

/** True for a layer whose content the registry need not hold (foreign layers of Windows images). */
export function isNonDistributableLayer(mediaType: string): boolean {
  return Object.hasOwn(NON_DISTRIBUTABLE, mediaType);
}

/** True for a layer that ocicrypt encrypted. */
export function isEncryptedLayer(mediaType: string): boolean {
  return mediaType.endsWith('+encrypted');
}

/** The compression that a layer's media type declares; undefined if it is no layer type that accel knows. */
export function layerCompression(mediaType: string): LayerCompression | undefined {
  const kind = kindOf(mediaType);
  if (kind !== undefined) return COMPRESSION[kind];
  return isNonDistributableLayer(mediaType) ? NON_DISTRIBUTABLE[mediaType] : undefined;
}

/** The family of a media type: `docker` for Docker's own, `oci` for everything else. */
export function mediaFamily(mediaType: string): MediaFamily {
  return mediaType.startsWith('application/vnd.docker.') ? 'docker' : 'oci';
}

/** The layer type of a family for a compression. */
export function layerMediaType(family: MediaFamily, compression: LayerCompression): string {
  const table = family === 'oci' ? OCI : DOCKER;
  return { none: table.layer, gzip: table.layerGzip, zstd: table.layerZstd }[compression];
}

/** The same index, manifest, config or layer type in the other family; types that have no twin stay as they are. */
export function toFamily(mediaType: string, family: MediaFamily): string {
  const kind = kindOf(mediaType);
  return kind === undefined ? mediaType : (family === 'oci' ? OCI : DOCKER)[kind];
}

function kindOf(mediaType: string): Kind | undefined {
  return KINDS.find((kind) => OCI[kind] === mediaType || DOCKER[kind] === mediaType);
}
