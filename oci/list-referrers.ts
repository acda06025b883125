/**
 * Everything that refers to an image: referrers that the place lists, by the API or an index under a tag; what cosign keeps under
 * tags of its own (`sha256-HEX.sig`, `.att`, `.sbom`); and attestations that BuildKit lists in the image's index.
 */
import { asAccelError } from '../base/error.ts';
import { mapBounded } from '../base/limiter.ts';
import type { Descriptor } from './descriptor.ts';
import { findDocument, loadDocument, unlessMissing } from './document.ts';
import type { ImageDocument, ImageIndex, ImageManifest } from './manifest.ts';
import { isManifestContent } from './media-types.ts';
import { canRefer } from './powers.ts';
import { aboutOf, type ReferrerBase, referrerKind } from './referrer-kinds.ts';
import { referrerTag } from './referrers.ts';
import type { ReadOptions, Target } from './storage.ts';

/** Most referrers of one subject that are read; anybody may attach more. */
export const MAX_REFERRERS = 100;

/** Manifests that are read at a time. */
const PARALLEL = 4;

/** The tags of cosign beside an image, by their suffix. */
export const COSIGN_SUFFIXES = ['sig', 'att', 'sbom'] as const;

/** The name that BuildKit gives an attestation among the entries of an index. */
const REFERENCE_TYPE = 'vnd.docker.reference.type';
const ATTESTATION_MANIFEST = 'attestation-manifest';

/** A referrer, read. */
export interface FoundReferrer extends ReferrerBase {
  /** Its manifest; absent for an index, and where it cannot be read. */
  readonly manifest?: ImageManifest;
  /** Why it cannot be read. */
  readonly problem?: string;
}

/** The referrers of a subject. */
export interface FoundReferrers {
  /** Sorted: listed ones by digest, then those of tags and of the index. */
  readonly found: readonly FoundReferrer[];
  /** Referrers past the limit, which were not read. */
  readonly unread: number;
  /** Why the list of referrers cannot be read; those of tags are found all the same. */
  readonly problem?: string;
}

/**
 * The referrers of a manifest or index; `index` is its document where it is one. Throws what the place throws; what is attached and
 * cannot be read is part of the list.
 */
export async function listReferrersOf(
  place: Target,
  subject: Pick<Descriptor, 'digest'>,
  { index, ...options }: ReadOptions & { readonly index?: ImageIndex | undefined } = {},
): Promise<FoundReferrers> {
  const answer = canRefer(place) ? await readable(() => place.referrers(subject, undefined, options)) : [];
  const listed = typeof answer === 'string' ? [] : answer;
  const distinct = [...new Map(listed.map((entry) => [entry.digest, entry])).values()].sort(byDigest);
  const inIndex = attestationsOf(index);
  const entries = [
    ...distinct.slice(0, MAX_REFERRERS).map((entry) => ({ entry, via: 'referrers' as const })),
    ...inIndex.slice(0, MAX_REFERRERS).map((entry) => ({ entry, via: 'index' as const })),
  ];
  const found = await mapBounded(entries, PARALLEL, ({ entry, via }) => readEntry(place, entry, via, options));
  const tagged = await mapBounded([...COSIGN_SUFFIXES], COSIGN_SUFFIXES.length, (suffix) =>
    readTag(place, `${referrerTag(subject.digest)}.${suffix}`, options),
  );
  return {
    found: [
      ...found.filter(({ via }) => via === 'referrers'),
      ...tagged.filter((one) => one !== undefined),
      ...found.filter(({ via }) => via === 'index'),
    ],
    unread: distinct.length + inIndex.length - entries.length,
    ...(typeof answer === 'string' ? { problem: answer } : {}),
  };
}

/** The entries of an index that BuildKit calls attestations of the others. */
function attestationsOf(index: ImageIndex | undefined): readonly Descriptor[] {
  return (index?.manifests ?? []).filter((entry) => entry.annotations?.[REFERENCE_TYPE] === ATTESTATION_MANIFEST);
}

function byDigest(one: Descriptor, other: Descriptor): number {
  return one.digest < other.digest ? -1 : 1;
}

async function readEntry(
  place: Target,
  entry: Descriptor,
  via: 'referrers' | 'index',
  options: ReadOptions,
): Promise<FoundReferrer> {
  const { digest, mediaType, size } = entry;
  const failed = (problem: string): FoundReferrer => {
    const kind = referrerKind({
      ...(entry.artifactType === undefined ? {} : { artifactType: entry.artifactType }),
      ...(entry.annotations === undefined ? {} : { annotations: entry.annotations }),
    });
    return { ...{ digest, mediaType, size, via, kind, problem }, about: aboutOf(kind), ...typeOf(entry) };
  };
  if (!isManifestContent(mediaType)) return failed(`no manifest but ${mediaType}`);
  const document = await readable(() => unlessMissing(() => loadDocument(place, entry, options)));
  if (document === undefined) return failed('its manifest is gone');
  return typeof document === 'string' ? failed(document) : described(entry, document, { via });
}

async function readTag(place: Target, tag: string, options: ReadOptions): Promise<FoundReferrer | undefined> {
  const named = await readable(() => findDocument(place, tag, options));
  if (named === undefined) return undefined;
  if (typeof named !== 'string') return described(named.descriptor, named.document, { via: 'tag', tag });
  const descriptor = await unlessMissing(() => place.resolve(tag, options));
  if (descriptor === undefined) return undefined;
  const { digest, mediaType, size } = descriptor;
  return { digest, mediaType, size, kind: 'other', about: 'unknown', via: 'tag', tag, problem: named };
}

function described(
  { digest, mediaType }: Descriptor,
  document: ImageDocument,
  where: Pick<FoundReferrer, 'via' | 'tag'>,
): FoundReferrer {
  if (document.kind === 'index') {
    const kind = referrerKind(document.index);
    const size = document.index.manifests.reduce((sum, entry) => sum + entry.size, 0);
    return { digest, mediaType, kind, about: aboutOf(kind), size, ...typeOf(document.index), ...where };
  }
  const { manifest } = document;
  const kind = referrerKind(manifest);
  const size = manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size);
  return { digest, mediaType, kind, about: aboutOf(kind), size, manifest, ...typeOf(manifest), ...where };
}

function typeOf({ artifactType }: { readonly artifactType?: string }): Pick<FoundReferrer, 'artifactType'> {
  return artifactType === undefined ? {} : { artifactType };
}

/** Returns what `load` gives, or the reason why the content is not in a form that accel reads. */
async function readable<T>(load: () => Promise<T>): Promise<T | string> {
  try {
    return await load();
  } catch (error) {
    const { code, message } = asAccelError(error);
    if (code === 'manifest-invalid' || code === 'image-unsupported' || code === 'limit-exceeded') return message;
    if (code === 'digest-mismatch' || code === 'size-mismatch') return message;
    throw error;
  }
}
