/** Resolves a name or digest in an image layout, on disk or in an archive. */
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import type { Descriptor } from './descriptor.ts';
import { assertDigest, isDigestLike } from './digest.ts';
import { loadDocument } from './document.ts';
import { describeEntries, entriesNamed, isWholeName } from './image-names.ts';
import type { IndexFile } from './layout-index.ts';
import type { Fetcher } from './storage.ts';

/** The part of a layout that {@link resolveInLayout} needs. */
export interface LayoutContent extends Fetcher {
  readonly name: string;
  /** Bytes of a blob; undefined if it does not exist here. */
  storedSize(digest: string): Promise<number | undefined>;
}

/** See Resolver.resolve. A digest need not be listed: content below a nested index is found too. */
export async function resolveInLayout(
  content: LayoutContent,
  index: IndexFile,
  nameOrDigest: string,
): Promise<Descriptor> {
  return isDigestLike(nameOrDigest) ? byDigest(content, index, nameOrDigest) : byName(content, index, nameOrDigest);
}

function byName({ name: target }: LayoutContent, { manifests }: IndexFile, name: string): Descriptor {
  const entries = entriesNamed(manifests, name);
  const [first] = entries;
  const where = { target, reference: name };
  if (first === undefined) {
    throw new AccelError('not-found', `there is no such ${isWholeName(name) ? 'image' : 'tag'}`, {
      where,
      expected: `an image named ${name}`,
      found: describeEntries(manifests) || 'no images',
      ...(manifests.length === 0 ? {} : { hint: 'Name one of these: by its tag, its whole name, or its digest.' }),
    });
  }
  const others = entries.filter((entry) => entry.digest !== first.digest);
  if (others.length === 0) return first;
  throw new AccelError('layout-invalid', 'the name means more than one image', {
    where,
    expected: 'one image',
    found: describeEntries(entries, true),
    hint: 'Name the image by its whole name, or by its digest.',
  });
}

async function byDigest(content: LayoutContent, index: IndexFile, digest: string): Promise<Descriptor> {
  const size = await content.storedSize(assertDigest(digest));
  if (size === undefined) throw contentNotFound(content.name, { reference: digest });
  const listed = index.manifests.find((entry) => entry.digest === digest && entry.size === size);
  if (listed !== undefined) return listed;
  // Entries below a nested index are not listed: their content determines their type.
  const unknown = { mediaType: '', digest, size };
  const document = await loadDocument(content, unknown);
  const { mediaType } = document.kind === 'index' ? document.index : document.manifest;
  return { mediaType, digest, size };
}

/** The error for a blob that a layout does not have. */
export function contentNotFound(target: string, where: Readonly<Record<string, string>>, found?: string): AccelError {
  return new AccelError('not-found', 'the layout has no such content', {
    where: { target, ...where },
    ...(found === undefined ? {} : { found }),
    hint: advise`Check that the layout was copied whole; of an image for many platforms it may have only one, which ${option('platform')} chooses.`,
  });
}

/** The error for a stored blob of another size. */
export function wrongStoredSize(target: string, descriptor: Descriptor, found: number): AccelError {
  return new AccelError('size-mismatch', 'the stored blob has another size than its descriptor names', {
    where: { target, digest: descriptor.digest },
    expected: `${descriptor.size} bytes`,
    found: `${found} bytes`,
  });
}
