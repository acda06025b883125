/** The Range header of a client (RFC 9110 §14.2), as far as clients of registries use it: one range of bytes. */
import type { ByteRange } from './pieces/piece.ts';

/**
 * The bytes that a header asks for, of a content of `size` bytes. Undefined where the whole is to be sent: no header, another
 * unit, several ranges, a header that does not parse. `unsatisfiable` where the range lies outside.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.replaceAll(' ', '') ?? '');
  if (match === null) return undefined;
  const [, from = '', to = ''] = match;
  if (from === '' && to === '') return undefined;
  if (from === '') {
    const length = Number(to);
    return length === 0 ? 'unsatisfiable' : { start: Math.max(0, size - length), end: size };
  }
  const start = Number(from);
  const end = to === '' ? size : Math.min(size, Number(to) + 1);
  if (to !== '' && Number(to) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, end };
}

/** The Content-Range header of an answer. */
export function contentRange({ start, end }: ByteRange, size: number): string {
  return `bytes ${start}-${end - 1}/${size}`;
}

/** The ETag header of a blob: its digest, as registries have it. */
export function entityTag(digest: string): string {
  return `"${digest}"`;
}

/**
 * Whether a range may be answered (RFC 9110 §13.1.5): no If-Range, or the tag of this blob. A date, a weak tag and any other one
 * ask for the whole.
 */
export function isCurrent(ifRange: string | readonly string[] | undefined, digest: string): boolean {
  return ifRange === undefined || ifRange === entityTag(digest);
}
