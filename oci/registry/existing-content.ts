/** Whether a registry holds a piece of content: whole, damaged, or not at all. */
import { AccelError } from '../../base/error.ts';
import type { Descriptor } from '../descriptor.ts';
import type { Connection, Exchange } from './connection.ts';
import type { Lookup } from './lookup.ts';

/** The state of a piece of content in a registry; `damaged`: of another size than its descriptor says. */
export type ContentState = 'whole' | 'damaged' | 'absent';

/**
 * Statuses of a HEAD that show whether content exists. A registry that was killed while it wrote a link answers 500 for
 * that name from then on (docker-registry on a file system): unreadable content counts as missing, and storing it again
 * repairs it. Transient 500s were retried before.
 */
export const EXISTS_OR_NOT: readonly number[] = [200, 404, 500];

/** Asks for a piece of content of `size` bytes and this digest that `get` would read. */
export async function findContent(
  { connection, lookup }: Asking,
  get: Exchange,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
): Promise<ContentState> {
  const head = await lookup.ask(get, EXISTS_OR_NOT);
  if (head.status !== 200) return 'absent';
  if (contradicts(head.digest, digest)) return 'damaged';
  if (head.size === undefined || head.size === size) return 'whole';
  // Some registries report 0 for an unknown size; a file that a crash emptied has 0 bytes as well.
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
