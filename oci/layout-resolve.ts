/** Finds what a tag or digest stands for in an image layout, be it on disk or in an archive. */
import { AccelError } from '../base/error.ts';
import type { Descriptor } from './descriptor.ts';
import { assertDigest } from './digest.ts';
import { loadDocument } from './document.ts';
import { type IndexFile, tagOf, tagsOf } from './layout-index.ts';
import type { Fetcher } from './storage.ts';

/** What {@link resolveInLayout} asks of a layout. */
export interface LayoutContent extends Fetcher {
  readonly name: string;
  /** Bytes of a blob that stands here; undefined if it does not. */
  storedSize(digest: string): Promise<number | undefined>;
}

/** See Resolver.resolve. A digest need not be listed: what an index below names is found too. */
export async function resolveInLayout(
  content: LayoutContent,
  index: IndexFile,
  tagOrDigest: string,
): Promise<Descriptor> {
  return tagOrDigest.includes(':') ? byDigest(content, index, tagOrDigest) : byTag(content, index, tagOrDigest);
}

function byTag(content: LayoutContent, index: IndexFile, tag: string): Descriptor {
  const entries = index.manifests.filter((entry) => tagOf(entry) === tag);
  const [first] = entries;
  if (first === undefined) {
    throw new AccelError('not-found', 'the layout has no such tag', {
      where: { target: content.name, reference: tag },
      expected: `the tag ${tag}`,
      found: `the tags ${tagsOf(index).join(', ') || '(none)'}`,
    });
  }
  const other = entries.find((entry) => entry.digest !== first.digest);
  if (other === undefined) return first;
  throw new AccelError('layout-invalid', 'two entries of index.json carry the same tag', {
    where: { target: content.name, reference: tag },
    expected: 'one digest',
    found: `${first.digest} and ${other.digest}`,
    hint: 'Name the image by its digest.',
  });
}

async function byDigest(content: LayoutContent, index: IndexFile, digest: string): Promise<Descriptor> {
  const size = await content.storedSize(assertDigest(digest));
  if (size === undefined) throw contentNotFound(content.name, { reference: digest });
  const listed = index.manifests.find((entry) => entry.digest === digest && entry.size === size);
  if (listed !== undefined) return listed;
  // Entries below another index are not listed: their content says what they are.
  const unknown = { mediaType: '', digest, size };
  const document = await loadDocument(content, unknown);
  const { mediaType } = document.kind === 'index' ? document.index : document.manifest;
  return { mediaType, digest, size };
}

/** The error for a blob that a layout does not have. */
export function contentNotFound(target: string, where: Readonly<Record<string, string>>): AccelError {
  return new AccelError('not-found', 'the layout has no such content', {
    where: { target, ...where },
    hint: 'Check that the layout was copied whole; of an image for many platforms it may hold but one (--platform).',
  });
}

/** The error for a blob that stands with another size. */
export function wrongStoredSize(target: string, descriptor: Descriptor, found: number): AccelError {
  return new AccelError('size-mismatch', 'the stored blob has another size than its descriptor names', {
    where: { target, digest: descriptor.digest },
    expected: `${descriptor.size} bytes`,
    found: `${found} bytes`,
  });
}
