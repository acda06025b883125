/** Image configs (OCI image-spec, config.md; Docker's image JSON). */
import { AccelError, type ErrorPlace } from '../base/error.ts';
import { isRecord } from '../base/is-record.ts';
import { brief, type Descriptor, isOptional, isStringList } from './descriptor.ts';
import { assertDigest } from './digest.ts';
import { parseObject } from './manifest.ts';

/** Largest image config that accel reads, in bytes; long histories and labels take less. */
export const MAX_CONFIG_SIZE = 16 * 1024 * 1024;

/** One step of an image's history; `empty_layer` steps have no layer. */
export interface HistoryEntry {
  readonly created?: string;
  readonly created_by?: string;
  readonly author?: string;
  readonly comment?: string;
  readonly empty_layer?: boolean;
}

/**
 * An image config. Every field of the source is kept as it is; accel rewrites only `rootfs` and `history`. Optional
 * fields may be null, as Go's tools write absent values.
 */
export interface ImageConfig {
  readonly os?: string | null;
  readonly architecture?: string | null;
  readonly variant?: string | null;
  readonly rootfs: { readonly type?: unknown; readonly diff_ids: readonly string[] };
  readonly history?: readonly (HistoryEntry | null)[] | null;
  readonly [field: string]: unknown;
}

/** Parses an image config. Throws `manifest-invalid` or `limit-exceeded`. */
export function parseConfig(bytes: Uint8Array, descriptor: Descriptor): ImageConfig {
  const where = { digest: descriptor.digest, mediaType: descriptor.mediaType };
  const value = parseObject(bytes, MAX_CONFIG_SIZE, where);
  const { rootfs, history } = value;
  if (!isRecord(rootfs) || !isOptional(rootfs.diff_ids, isStringList)) {
    throw malformed('rootfs', 'an object with diff_ids', rootfs, where);
  }
  const diffIds = (rootfs.diff_ids ?? []) as readonly string[];
  diffIds.forEach((digest, index) => {
    assertDigest(digest, 'manifest-invalid', { ...where, field: `rootfs.diff_ids[${index}]` });
  });
  if (!isOptional(history, isHistory)) throw malformed('history', 'a list of objects', history, where);
  for (const field of ['os', 'architecture', 'variant']) {
    if (!isOptional(value[field], isText)) throw malformed(field, 'text', value[field], where);
  }
  return { ...value, rootfs: { ...rootfs, diff_ids: diffIds } } as unknown as ImageConfig;
}

/**
 * Parses content of another media type as a config if it is one: it names a system or an architecture, and a diff_id
 * for each of `layers` layers. Undefined for everything else, such as the config of a chart or a plugin.
 */
export function sniffConfig(bytes: Uint8Array, descriptor: Descriptor, layers: number): ImageConfig | undefined {
  try {
    const config = parseConfig(bytes, descriptor);
    const namesPlatform = isText(config.os) || isText(config.architecture);
    return namesPlatform && layers > 0 && config.rootfs.diff_ids.length === layers ? config : undefined;
  } catch (error) {
    if (error instanceof AccelError && error.code === 'manifest-invalid') return undefined;
    throw error;
  }
}

function isHistory(value: unknown): boolean {
  return Array.isArray(value) && value.every((entry) => isOptional(entry, isRecord));
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function malformed(field: string, expected: string, found: unknown, where: ErrorPlace): AccelError {
  return new AccelError('manifest-invalid', `${field} of the image config is malformed`, {
    where,
    expected,
    found: brief(found),
  });
}
