/**
 * Referrers: manifests that name another one as their `subject` (image-spec, manifest.md; distribution-spec, "Referrers
 * Tag Schema"). If the target does not list them itself, an index under the tag `sha256-HEX` of the subject does.
 */

import { type BlobSource, bytesSource, collect } from '../base/byte-source.ts';
import { AccelError, asAccelError } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import type { Descriptor } from './descriptor.ts';
import { digestOf, splitDigest, verified } from './digest.ts';
import { loadIndex } from './document.ts';
import { encodeJson, type ImageIndex, MAX_MANIFEST_SIZE, parseDocument } from './manifest.ts';
import { OCI } from './media-types.ts';
import type { ReadOptions, ReferrerLink, Target } from './storage.ts';

/** Attempts to write the index while others write it at the same time. */
const ATTEMPTS = 8;

/** One link at a time for each target of this process, because an index is read, changed and written. */
const gates = new WeakMap<ReferrerPlace, Limiter>();

/** The part of a target that a list of referrers needs. */
export type ReferrerPlace = Pick<Target, 'name' | 'fetch' | 'push' | 'resolve' | 'tag'>;

/** A referrer's manifest, read: what it refers to, and the entry that lists it. */
export interface Referrer {
  readonly bytes: Uint8Array;
  readonly subject: Descriptor;
  readonly entry: Descriptor;
}

/** The tag under which the referrers of a digest are listed where the registry does not list them itself. */
export function referrerTag(digest: string): string {
  const { algorithm, hex } = splitDigest(digest);
  // The spec cuts the encoded part at 64 characters, so that a sha512 fits into a tag.
  return `${algorithm}-${hex.slice(0, 64)}`;
}

/** True for a tag under which referrers are listed. */
export function isReferrerTag(tag: string): boolean {
  return /^sha(?:256|512)-[0-9a-f]{64}$/.test(tag);
}

/** The descriptor as a `subject`: ECR refuses every field but these three. */
export function subjectOf(descriptor: Descriptor): Descriptor {
  const { mediaType, digest, size } = descriptor;
  return { mediaType, digest, size };
}

/**
 * Reads a manifest that is to be a referrer. Throws `manifest-invalid` if it has no subject, one with more than media
 * type, digest and size, or Docker's media type, which knows no subjects.
 */
export async function readReferrer(descriptor: Descriptor, content: BlobSource): Promise<Referrer> {
  const where = { digest: descriptor.digest, mediaType: descriptor.mediaType };
  if (descriptor.mediaType !== OCI.manifest && descriptor.mediaType !== OCI.index) {
    throw new AccelError('manifest-invalid', 'only OCI manifests can refer to a subject', {
      where,
      expected: `${OCI.manifest} or ${OCI.index}`,
      found: descriptor.mediaType,
    });
  }
  if (descriptor.size > MAX_MANIFEST_SIZE) {
    throw new AccelError('limit-exceeded', 'the manifest is larger than registries take', {
      where,
      expected: `at most ${MAX_MANIFEST_SIZE} bytes`,
      found: `${descriptor.size} bytes`,
    });
  }
  const bytes = await collect(verified(content.open(), descriptor), descriptor.size);
  const document = parseDocument(bytes, descriptor);
  const value = document.kind === 'manifest' ? document.manifest : document.index;
  const fields = Object.keys(value.subject ?? {}).sort();
  if (value.subject === undefined || fields.join() !== 'digest,mediaType,size') {
    throw new AccelError('manifest-invalid', 'a referrer needs a subject of three fields', {
      where,
      expected: 'subject with mediaType, digest and size alone',
      found: value.subject === undefined ? 'no subject' : fields.join(', '),
    });
  }
  const artifactType =
    value.artifactType ?? (document.kind === 'manifest' ? document.manifest.config.mediaType : undefined);
  const entry: Descriptor = {
    ...subjectOf(descriptor),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(value.annotations === undefined ? {} : { annotations: value.annotations }),
  };
  return { bytes, subject: value.subject, entry };
}

/** Stores a referrer and lists it under its subject's tag: the whole job for backends that index nothing. */
export async function pushReferrerByTag(
  target: ReferrerPlace,
  descriptor: Descriptor,
  content: BlobSource,
  options?: ReadOptions,
): Promise<ReferrerLink> {
  const { bytes, subject, entry } = await readReferrer(descriptor, content);
  const outcome = await target.push(descriptor, bytesSource(bytes), options);
  await linkByTag(target, subject, entry, options);
  return { outcome, via: 'tag' };
}

/**
 * Lists `entry` under the tag of its subject, and verifies that it and all earlier entries are listed.
 * Throws `registry-error` if others keep overwriting the list, `manifest-invalid` if the tag names something else.
 */
export async function linkByTag(
  target: ReferrerPlace,
  subject: Descriptor,
  entry: Descriptor,
  options?: ReadOptions,
): Promise<void> {
  const gate = gates.get(target) ?? new Limiter(1);
  gates.set(target, gate);
  await gate.run(() => link(target, subject, entry, options));
}

async function link(
  target: ReferrerPlace,
  subject: Descriptor,
  entry: Descriptor,
  options?: ReadOptions,
): Promise<void> {
  const tag = referrerTag(subject.digest);
  // Every entry seen in any round must be listed in the end, even if another client's write removed it.
  const wanted = new Map<string, Descriptor>([[entry.digest, entry]]);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const current = await readTag(target, tag, options);
    const listed = new Set(current?.manifests.map(({ digest }) => digest));
    const added = [...wanted.values()].filter(({ digest }) => !listed.has(digest));
    if (added.length === 0) return;
    for (const other of current?.manifests ?? []) wanted.set(other.digest, other);
    await writeTag(target, tag, { ...EMPTY_INDEX, ...current, manifests: [...wanted.values()] }, options);
  }
  throw new AccelError('registry-error', 'the list of referrers is overwritten by others again and again', {
    where: { target: target.name, reference: tag },
    expected: `an entry for ${entry.digest}`,
    found: 'a list without it after it was written',
    hint: 'Let the tools that sign and convert one image run one after another; run this again.',
  });
}

/** The referrers of a digest that its tag lists; none if there is no such tag. */
export async function referrersByTag(
  target: ReferrerPlace,
  digest: string,
  artifactType?: string,
  options?: ReadOptions,
): Promise<readonly Descriptor[]> {
  const index = await readTag(target, referrerTag(digest), options);
  return ofType(index?.manifests ?? [], artifactType);
}

/** The entries of one artifact type; all if none is named. */
export function ofType(entries: readonly Descriptor[], artifactType: string | undefined): readonly Descriptor[] {
  return artifactType === undefined ? entries : entries.filter((entry) => entry.artifactType === artifactType);
}

const EMPTY_INDEX: ImageIndex = { schemaVersion: 2, mediaType: OCI.index, manifests: [] };

async function readTag(target: ReferrerPlace, tag: string, options?: ReadOptions): Promise<ImageIndex | undefined> {
  let descriptor: Descriptor;
  try {
    descriptor = await target.resolve(tag, options);
  } catch (error) {
    if (error instanceof AccelError && error.code === 'not-found') return undefined;
    throw error;
  }
  return loadIndex(target, descriptor, options);
}

async function writeTag(target: ReferrerPlace, tag: string, index: ImageIndex, options?: ReadOptions): Promise<void> {
  const bytes = encodeJson(index);
  const descriptor: Descriptor = { mediaType: OCI.index, digest: digestOf(bytes), size: bytes.length };
  await target.push(descriptor, bytesSource(bytes), options);
  try {
    await target.tag(descriptor, tag, options);
  } catch (error) {
    // Another client moved the tag before it was verified: the next round reads its current content.
    if (asAccelError(error).code !== 'digest-mismatch') throw error;
  }
}
