/** Whether a registry holds a piece of content: whole, damaged, or not at all. */
import { AccelError } from '../../base/error.ts';
import type { Descriptor } from '../descriptor.ts';
import type { Connection, Exchange } from './connection.ts';
import type { Lookup } from './lookup.ts';

/** What a registry holds of a piece of content; `damaged` is content of another size than its descriptor says. */
export type Standing = 'whole' | 'damaged' | 'absent';

/**
 * Statuses of a HEAD that tell whether something stands. A registry that was killed while it wrote a link answers 500 for
 * that name for good (docker-registry on a file system): what cannot be read does not stand, and storing it again mends
 * it. Retries come before, so a passing 500 is not taken for that.
 */
export const STANDS_OR_NOT: readonly number[] = [200, 404, 500];

/** Asks for a piece of content of `size` bytes and this digest that `get` would read. */
export async function findContent(
  { connection, lookup }: Asking,
  get: Exchange,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
): Promise<Standing> {
  const head = await lookup.ask(get, STANDS_OR_NOT);
  if (head.status !== 200) return 'absent';
  if (contradicts(head.digest, digest)) return 'damaged';
  if (head.size === undefined || head.size === size) return 'whole';
  // Some registries say 0 for want of the size; a file that a crash emptied says 0 as well.
  return head.size === 0 && (await servesLastByte(connection, get, size)) ? 'whole' : 'damaged';
}

/** The ways to ask a registry. */
export interface Asking {
  readonly connection: Connection;
  readonly lookup: Lookup;
}

/** Another digest of the same algorithm; a registry may know the content under its own one. */
function contradicts(found: string | undefined, wanted: string): boolean {
  if (found === undefined || found === wanted) return false;
  return found.split(':')[0] === wanted.split(':')[0];
}

async function servesLastByte(connection: Connection, get: Exchange, size: number): Promise<boolean> {
  const response = await connection.exchange({
    ...get,
    headers: { ...get.headers, range: `bytes=${size - 1}-${size - 1}` },
    expect: [200, 206, 404, 416, 500],
  });
  await response.discard();
  if (response.status === 206) return true;
  return response.status === 200 && Number(response.header('content-length') ?? size) === size;
}

/** The error for a blob that stays damaged after it was uploaded again. */
export function notMended({ digest, size }: Descriptor, target: string): AccelError {
  return new AccelError('registry-error', 'the registry holds a damaged blob and does not replace it', {
    where: { target, digest },
    expected: `${size} bytes, as were uploaded just now`,
    found: 'another size',
    hint: 'Delete the blob in the registry’s storage and run it again.',
  });
}
