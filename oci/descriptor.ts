/** Descriptors, by which one piece of content refers to another (OCI image-spec, descriptor.md). */
import { AccelError, type ErrorPlace } from '../base/error.ts';
import { integerOf, stringifyJson } from '../base/exact-json.ts';
import { isRecord } from '../base/is-record.ts';
import { assertDigest } from './digest.ts';
import type { Platform } from './platform.ts';

/** Names a piece of content by what it is, its digest and its size in bytes. */
export interface Descriptor {
  readonly mediaType: string;
  /** `algorithm:hex`, see {@link assertDigest}. */
  readonly digest: string;
  /** Bytes of the content. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly artifactType?: string;
  /** Other locations of the content (foreign layers). accel never follows them. */
  readonly urls?: readonly string[];
}

/** The fields that the specification knows; others are passed on as they are. */
export const DESCRIPTOR_FIELDS: ReadonlySet<string> = new Set([
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'data',
  'artifactType',
  'platform',
]);

/**
 * Checks that a parsed JSON value is a descriptor and returns it, unknown fields included.
 * `field` is its name within the document, for the message. Throws `manifest-invalid`.
 */
export function asDescriptor(value: unknown, field: string, where: ErrorPlace = {}): Descriptor {
  const fail = (expected: string, found: unknown): never => {
    throw new AccelError('manifest-invalid', `${field} is not a valid descriptor`, {
      where,
      expected,
      found: brief(found),
    });
  };
  if (!isRecord(value)) return fail('an object', value);
  // A JSON null means "absent" to the Go tools that write most manifests.
  const { mediaType, digest, size, annotations, platform, artifactType, urls } = value;
  if (typeof mediaType !== 'string') return fail('mediaType as text', mediaType);
  if (typeof digest !== 'string') return fail('digest as text', digest);
  assertDigest(digest, 'manifest-invalid', { ...where, field });
  const bytes = integerOf(size);
  if (bytes === undefined || bytes < 0) return fail('size as a number of bytes', size);
  const notes = annotationsOf(annotations);
  if (notes === 'malformed') return fail('annotations as a map of text', annotations);
  if (!isOptional(artifactType, isString)) return fail('artifactType as text', artifactType);
  if (!isOptional(urls, isStringList)) return fail('urls as a list of text', urls);
  if (!isOptional(platform, isPlatform)) return fail('platform as an object with os and architecture', platform);
  const read: Readonly<Record<string, unknown>> = {
    ...value,
    size: bytes,
    annotations: notes,
    platform: isRecord(platform) ? withoutNulls(platform) : undefined,
    // Go writes an empty text for what is not set.
    artifactType: artifactType || undefined,
  };
  // In the order of the source, so that unchanged descriptors keep their bytes.
  const isKept = ([key, item]: [string, unknown]): boolean =>
    item !== undefined && (item !== null || !DESCRIPTOR_FIELDS.has(key));
  return Object.fromEntries(Object.entries(read).filter(isKept)) as unknown as Descriptor;
}

/**
 * The annotations of a document or descriptor: undefined if it has no annotations, `malformed` if a value is not text.
 * An annotation that is null is absent.
 */
export function annotationsOf(value: unknown): Readonly<Record<string, string>> | undefined | 'malformed' {
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) return 'malformed';
  const notes = withoutNulls(value);
  return isStringMap(notes) ? notes : 'malformed';
}

/** True for an object whose values are all text, such as annotations. */
export function isStringMap(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every(isString);
}

/** True for a list of text. */
export function isStringList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isString);
}

/** True for an absent (undefined or null) value, or one that `check` accepts. */
export function isOptional(value: unknown, check: (value: unknown) => boolean): boolean {
  return value === undefined || value === null || check(value);
}

/** A JSON value shortened for a message. */
export function brief(value: unknown): string {
  const text = value === undefined ? 'nothing' : stringifyJson(value);
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

function isString(value: unknown): value is string {
  return typeof value === 'string';
}

function withoutNulls(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== null));
}

function isPlatform(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { os, architecture, variant } = value;
  // Some builders leave both fields out; that reads as an unknown platform, not as an error.
  return isOptional(os, isString) && isOptional(architecture, isString) && isOptional(variant, isString);
}
