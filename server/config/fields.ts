/** Fields that the configuration is made of: texts with a form, sizes, durations, addresses. */
import { z } from 'zod';

// Without flags: JSON Schema has none.
/** A host, HOST[:PORT]. */
export const HOST = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$/;
/** An address, HOST:PORT. */
export const ADDRESS = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/;
const DURATION = /^\d+(\.\d+)?(ms|s|m|h|d)$/;
const BYTES = /^\d+(\.\d+)?([KMGT]i?)?$/;

/** Text that matches a pattern, with what it must look like for the error. */
export function text(pattern: RegExp, form: string): z.ZodString {
  return z.string().regex(pattern, `is not ${form}`);
}

/** A path of a file or folder. */
export const path = z.string().min(1, 'is empty');
/** HOST:PORT. */
export const address = text(ADDRESS, 'an address, HOST:PORT').refine(
  (value) => portOf(value) <= 65_535,
  'has a port above 65535',
);
/** A time such as 30s. */
export const duration = text(DURATION, 'a duration such as 30s, 5m or 24h');
/** Globs, at least one. */
export const patterns = z.array(z.string().min(1, 'is empty')).min(1, 'needs at least one pattern');
/** Bytes, as a number or such as 4Gi. */
export const size = z.union([z.int().min(0), text(BYTES, 'a size such as 4Gi or 4294967296')]);

/** The port of an address. */
export function portOf(value: string): number {
  return Number(ADDRESS.exec(value)?.[2] ?? 0);
}
