/** Reads an OCI layout on disk as anyone may: plain JSON and files, nothing of accel's own client. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const REF_NAME = 'org.opencontainers.image.ref.name';

/** A descriptor as it is in a document. */
export interface LayoutDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
}

/** The parts of an image manifest that tests look at. */
export interface LayoutManifest {
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config: LayoutDescriptor;
  readonly layers: readonly LayoutDescriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly subject?: LayoutDescriptor;
}

/** The parts of an image config that tests look at. */
export interface LayoutConfig {
  readonly architecture: string;
  readonly rootfs: { readonly type: string; readonly diff_ids: readonly string[] };
  readonly history?: readonly { readonly created_by?: string; readonly empty_layer?: boolean }[];
}

/** An image of a layout. */
export interface LayoutImage {
  readonly descriptor: LayoutDescriptor;
  readonly manifest: LayoutManifest;
  readonly config: LayoutConfig;
}

/** File of a blob. */
export function blobPath(directory: string, digest: string): string {
  return join(directory, 'blobs', ...digest.split(':'));
}

/** A blob's document, after its digest and size were checked. */
export async function readDocument<T>(directory: string, { digest, size }: LayoutDescriptor): Promise<T> {
  const bytes = await readFile(blobPath(directory, digest));
  const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (found !== digest || bytes.length !== size)
    throw new Error(`${digest} (${size}) holds ${found} (${bytes.length})`);
  return JSON.parse(bytes.toString('utf8')) as T;
}

/** Every tag of the layout with what it names. */
export async function readTags(directory: string): Promise<Map<string, LayoutDescriptor>> {
  const text = await readFile(join(directory, 'index.json'), 'utf8');
  const { manifests } = JSON.parse(text) as { manifests: readonly LayoutDescriptor[] };
  return new Map(manifests.flatMap((one) => (one.annotations?.[REF_NAME] ? [[one.annotations[REF_NAME], one]] : [])));
}

/** The images that a tag names: one, or those of its index in their order. */
export async function readImages(directory: string, tag: string): Promise<LayoutImage[]> {
  const named = (await readTags(directory)).get(tag);
  if (named === undefined) throw new Error(`no tag ${tag} in ${directory}`);
  const document = await readDocument<LayoutManifest & { manifests?: readonly LayoutDescriptor[] }>(directory, named);
  const descriptors = document.manifests ?? [named];
  return Promise.all(
    descriptors.map(async (descriptor) => {
      const manifest = await readDocument<LayoutManifest>(directory, descriptor);
      return { descriptor, manifest, config: await readDocument<LayoutConfig>(directory, manifest.config) };
    }),
  );
}

/** The image of a tag that names just one. */
export async function readImage(directory: string, tag: string): Promise<LayoutImage> {
  const images = await readImages(directory, tag);
  if (images.length !== 1) throw new Error(`${tag} names ${images.length} images`);
  return images[0]!;
}

/** Names of all blobs, sorted, to see what a run left behind. */
export async function listBlobs(directory: string): Promise<string[]> {
  return (await readdir(join(directory, 'blobs', 'sha256'))).sort();
}
