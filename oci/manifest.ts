/** Image manifests and indexes (OCI image-spec, manifest.md, image-index.md; Docker schema 2). */
import { AccelError, type ErrorPlace } from '../base/error.ts';
import { integerOf, parseJson, stringifyJson } from '../base/exact-json.ts';
import { isRecord } from '../base/is-record.ts';
import { refuseAmbiguous } from './ambiguity.ts';
import { annotationsOf, asDescriptor, brief, type Descriptor, isOptional } from './descriptor.ts';
import { DOCKER_SCHEMA1, isIndex, isManifest, OCI } from './media-types.ts';

/** Largest manifest or index that accel reads, in bytes; registries refuse larger ones (distribution-spec). */
export const MAX_MANIFEST_SIZE = 4 * 1024 * 1024;

/** Deepest nesting of objects and lists in a document. */
const MAX_DEPTH = 64;

/** Most layers of an image and most entries of an index; real ones have at most a few hundred. */
const MAX_ENTRIES = 10_000;

/** An image manifest. Fields that accel does not know are kept. */
export interface ImageManifest {
  readonly schemaVersion: 2;
  /** Set also where the document leaves it out: then from the descriptor. */
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** An image index or Docker manifest list. Fields that accel does not know are kept. */
export interface ImageIndex {
  readonly schemaVersion: 2;
  /** Set also where the document leaves it out: then from the descriptor. */
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * The fields of manifests, indexes and Docker's schema 1. None of them is passed on as an unknown field, because a document
 * of another kind might be interpreted by it.
 */
export const DOCUMENT_FIELDS: ReadonlySet<string> = new Set([
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'subject',
  'annotations',
  'fsLayers',
  'history',
  'signatures',
]);

/** The fields of a record that `known` does not list, with their values; accel passes them on unread. */
export function unknownFields(value: object, known: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !known.has(key)));
}

/** A manifest or an index, decided by its content and not by its media type. */
export type ImageDocument =
  | { readonly kind: 'manifest'; readonly manifest: ImageManifest }
  | { readonly kind: 'index'; readonly index: ImageIndex };

/**
 * Parses a manifest or an index. The content decides between the two if the media type is missing or unknown; a media type
 * that contradicts the content is an error.
 * Throws `manifest-invalid`, `limit-exceeded`, or `image-unsupported` for Docker's schema 1.
 */
export function parseDocument(bytes: Uint8Array, descriptor: Descriptor): ImageDocument {
  const where = placeOf(descriptor);
  const value = parseObject(bytes, MAX_MANIFEST_SIZE, where);
  refuseSchema1(value, descriptor, where);
  refuseAmbiguous(value, descriptor.mediaType, where);
  if (isIndexContent(value, descriptor)) return { kind: 'index', index: asIndex(value, descriptor, where) };
  return { kind: 'manifest', manifest: asManifest(value, descriptor, where) };
}

/** Parses an image manifest; throws as {@link parseDocument} does, also if it is an index. */
export function parseManifest(bytes: Uint8Array, descriptor: Descriptor): ImageManifest {
  const document = parseDocument(bytes, descriptor);
  if (document.kind === 'manifest') return document.manifest;
  throw wrongKind('an image manifest', 'an image index', descriptor);
}

/** Parses an image index; throws as {@link parseDocument} does, also if it is a manifest. */
export function parseIndex(bytes: Uint8Array, descriptor: Descriptor): ImageIndex {
  const document = parseDocument(bytes, descriptor);
  if (document.kind === 'index') return document.index;
  throw wrongKind('an image index', 'an image manifest', descriptor);
}

/**
 * Encodes JSON as UTF-8 without white space, keys in insertion order: equal values give equal bytes. Numbers that
 * {@link parseObject} read keep their text.
 */
export function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(stringifyJson(value));
}

/**
 * Parses bytes that hold a JSON object, at most `limit` long and at most 64 levels deep. Throws `limit-exceeded` or
 * `manifest-invalid`.
 */
export function parseObject(bytes: Uint8Array, limit: number, where: ErrorPlace): Record<string, unknown> {
  if (bytes.length > limit) {
    throw new AccelError('limit-exceeded', 'the document is larger than accel reads', {
      where,
      expected: `at most ${limit} bytes`,
      found: `${bytes.length} bytes`,
    });
  }
  assertDepth(bytes, where);
  let value: unknown;
  try {
    value = parseJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new AccelError('manifest-invalid', 'the document is not JSON', {
      where,
      expected: 'a JSON object in UTF-8',
      found: startOf(bytes),
      cause,
    });
  }
  if (!isRecord(value)) throw malformed('the document', 'a JSON object', value, where);
  return value;
}

function asManifest(value: Record<string, unknown>, descriptor: Descriptor, where: ErrorPlace): ImageManifest {
  const { layers } = value;
  if (!isOptional(layers, Array.isArray)) throw malformed('layers of the manifest', 'a list', layers, where);
  const list = (layers ?? []) as readonly unknown[];
  assertCount(list.length, 'layers', where);
  return {
    ...common(value, descriptor, { accepts: isManifest, fallback: OCI.manifest }, where),
    config: asDescriptor(value.config, 'config', where),
    layers: list.map((layer, index) => asDescriptor(layer, `layers[${index}]`, where)),
  };
}

/** Go writes an empty list as null: then the media type decides whether the document is an index. */
function isIndexContent({ manifests, mediaType, config, layers }: Record<string, unknown>, named: Descriptor): boolean {
  if (Array.isArray(manifests)) return true;
  const declared = typeof mediaType === 'string' && mediaType !== '' ? mediaType : named.mediaType;
  return isIndex(declared) && !isRecord(config) && !Array.isArray(layers);
}

function asIndex(value: Record<string, unknown>, descriptor: Descriptor, where: ErrorPlace): ImageIndex {
  const { manifests } = value;
  if (!isOptional(manifests, Array.isArray)) throw malformed('manifests of the index', 'a list', manifests, where);
  const list = (manifests ?? []) as readonly unknown[];
  assertCount(list.length, 'manifests', where);
  return {
    ...common(value, descriptor, { accepts: isIndex, fallback: OCI.index }, where),
    manifests: list.map((manifest, index) => asDescriptor(manifest, `manifests[${index}]`, where)),
  };
}

/** The media types of one kind of document, and the one that a document without any of them gets. */
interface MediaTypeRule {
  readonly accepts: (mediaType: string) => boolean;
  readonly fallback: string;
}

function common(
  value: Record<string, unknown>,
  descriptor: Descriptor,
  { accepts, fallback }: MediaTypeRule,
  where: ErrorPlace,
): Omit<ImageIndex, 'manifests'> {
  const { schemaVersion, mediaType, artifactType, subject, annotations, ...rest } = value;
  if (integerOf(schemaVersion) !== 2) throw malformed('schemaVersion', '2', schemaVersion, where);
  const notes = annotationsOf(annotations);
  if (notes === 'malformed') throw malformed('annotations', 'a map of text', annotations, where);
  if (!isOptional(artifactType, (item) => typeof item === 'string')) {
    throw malformed('artifactType', 'text', artifactType, where);
  }
  const declared = [mediaType, descriptor.mediaType].find((type) => typeof type === 'string' && accepts(type));
  return {
    ...rest,
    schemaVersion: 2,
    mediaType: typeof declared === 'string' ? declared : fallback,
    ...(artifactType ? { artifactType: artifactType as string } : {}),
    ...(subject === undefined || subject === null ? {} : { subject: asDescriptor(subject, 'subject', where) }),
    ...(notes === undefined ? {} : { annotations: notes }),
  };
}

function refuseSchema1(value: Record<string, unknown>, descriptor: Descriptor, where: ErrorPlace): void {
  const declared = typeof value.mediaType === 'string' ? value.mediaType : descriptor.mediaType;
  if (integerOf(value.schemaVersion) !== 1 && !DOCKER_SCHEMA1.includes(declared)) return;
  throw new AccelError('image-unsupported', 'this is an image of Docker schema 1, which accel does not convert', {
    where,
    expected: 'an OCI image or one of Docker schema 2',
    found: 'schemaVersion 1',
    hint: 'Pull and push it with a current Docker, or copy it with skopeo copy --format v2s2; then convert the copy.',
  });
}

/** A scan before the parse, so that a hostile document costs no more than its bytes. */
function assertDepth(bytes: Uint8Array, where: ErrorPlace): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i];
    if (quoted) {
      if (byte === 0x5c) i += 1;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) quoted = true;
    else if (byte === 0x7b || byte === 0x5b) depth += 1;
    else if (byte === 0x7d || byte === 0x5d) depth -= 1;
    if (depth > MAX_DEPTH) {
      throw new AccelError('limit-exceeded', 'the document is nested too deeply', {
        where: { ...where, offset: i },
        expected: `at most ${MAX_DEPTH} levels`,
        found: `${depth} levels`,
      });
    }
  }
}

function assertCount(count: number, field: string, where: ErrorPlace): void {
  if (count <= MAX_ENTRIES) return;
  throw new AccelError('limit-exceeded', `the document has too many ${field}`, {
    where,
    expected: `at most ${MAX_ENTRIES}`,
    found: count,
  });
}

function placeOf(descriptor: Descriptor): ErrorPlace {
  return { digest: descriptor.digest, mediaType: descriptor.mediaType };
}

function malformed(what: string, expected: string, found: unknown, where: ErrorPlace): AccelError {
  return new AccelError('manifest-invalid', `${what} is malformed`, { where, expected, found: brief(found) });
}

function wrongKind(expected: string, found: string, descriptor: Descriptor): AccelError {
  return new AccelError('manifest-invalid', 'the document is of another kind than expected here', {
    where: placeOf(descriptor),
    expected,
    found,
  });
}

function startOf(bytes: Uint8Array): string {
  return bytes.length === 0 ? 'nothing' : brief(new TextDecoder().decode(bytes.subarray(0, 40)));
}
