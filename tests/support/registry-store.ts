/** Looks into a registry from outside, through HTTP and its store on disk, with nothing of accel's own client. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { blobPath, type LayoutDescriptor } from './oci-layout.ts';
import type { TestRegistry } from './registry.ts';

const ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

/** The parts of a manifest or index that say what it refers to. */
export interface StoredDocument {
  readonly mediaType: string;
  readonly manifests?: readonly LayoutDescriptor[];
  readonly config?: LayoutDescriptor;
  readonly layers?: readonly LayoutDescriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The tags of a repository, sorted; none when the repository does not exist. */
export async function listTags(registry: TestRegistry, repository: string): Promise<string[]> {
  const response = await fetch(`${registry.url}/v2/${repository}/tags/list`);
  if (response.status === 404) return [];
  const { tags } = (await response.json()) as { tags: string[] | null };
  return (tags ?? []).sort();
}

/** A manifest or index by tag or digest, after its digest was checked; throws when it is not there. */
export async function readStored(
  registry: TestRegistry,
  repository: string,
  reference: string,
): Promise<{ readonly digest: string; readonly document: StoredDocument }> {
  const response = await fetch(`${registry.url}/v2/${repository}/manifests/${reference}`, {
    headers: { accept: ACCEPT },
  });
  if (!response.ok) throw new Error(`${repository} ${reference}: HTTP ${response.status}`);
  const bytes = Buffer.from(await response.arrayBuffer());
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (reference.startsWith('sha256:') && digest !== reference) throw new Error(`${reference} holds ${digest}`);
  return { digest, document: JSON.parse(bytes.toString('utf8')) as StoredDocument };
}

/** The missing ones among all documents and blobs that a tag refers to, directly or not; empty when it is complete. */
export async function missingFrom(registry: TestRegistry, repository: string, reference: string): Promise<string[]> {
  const { document } = await readStored(registry, repository, reference);
  const missing: string[] = [];
  for (const { digest } of document.manifests ?? []) missing.push(...(await missingFrom(registry, repository, digest)));
  const targets = (document.layers ?? []).flatMap((layer) => {
    const target = layer.annotations?.['containerd.io/snapshot/overlaybd/turbo-oci/target-digest'];
    return target === undefined ? [] : [{ digest: target, size: undefined }];
  });
  for (const { digest, size } of [
    ...(document.config ? [document.config] : []),
    ...(document.layers ?? []),
    ...targets,
  ]) {
    const head = await fetch(`${registry.url}/v2/${repository}/blobs/${digest}`, { method: 'HEAD' });
    const found = Number(head.headers.get('content-length'));
    if (!head.ok) missing.push(`${reference}: ${digest}: HTTP ${head.status}`);
    else if (size !== undefined && found !== size) missing.push(`${reference}: ${digest}: ${found} of ${size} bytes`);
  }
  return missing;
}

/** Digests of the blobs that stand in a repository, by the registry's own files. */
export async function storedBlobs(registry: TestRegistry, repository: string): Promise<Set<string>> {
  const directory = join(registry.root, 'docker/registry/v2/repositories', repository, '_layers/sha256');
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return new Set(names.map((hex) => `sha256:${hex}`));
}

/**
 * Puts a manifest or an index of a layout into a registry, with all that it refers to, as it is: where skopeo would
 * refuse a shape or rewrite it. Names it `tag`, or nothing but its digest.
 */
export async function pushAsIs(
  target: { readonly registry: TestRegistry; readonly repository: string },
  layout: string,
  { digest, mediaType }: Pick<LayoutDescriptor, 'digest' | 'mediaType'>,
  tag: string = digest,
): Promise<void> {
  const { registry, repository } = target;
  const bytes = await readFile(blobPath(layout, digest));
  const { manifests = [], config, layers = [] } = JSON.parse(bytes.toString('utf8')) as Partial<StoredDocument>;
  for (const child of manifests) await pushAsIs(target, layout, child);
  for (const blob of config === undefined ? layers : [config, ...layers]) {
    const begun = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    const place = new URL(begun.headers.get('location') ?? '', registry.url);
    place.searchParams.set('digest', blob.digest);
    const put = await fetch(place, { method: 'PUT', body: await readFile(blobPath(layout, blob.digest)) });
    if (put.status !== 201) throw new Error(`${blob.digest}: HTTP ${put.status} ${await put.text()}`);
  }
  const put = await fetch(`${registry.url}/v2/${repository}/manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': mediaType },
    body: bytes,
  });
  if (put.status !== 201) throw new Error(`${digest}: HTTP ${put.status} ${await put.text()}`);
}
