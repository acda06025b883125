/** Blobs that a registry takes over from another of its repositories. */
import type { Descriptor } from '../descriptor.ts';
import type { ReadOptions } from '../storage.ts';
import type { Connection, Exchange } from './connection.ts';
import { cancelSession, locationOf, startExchange } from './upload-session.ts';

/**
 * Asks the registry to take a blob over from another of its repositories (distribution-spec, "Mounting a blob").
 * False if it offers an upload instead, or refuses.
 */
export async function mountBlob(
  connection: Connection,
  descriptor: Descriptor,
  fromRepository: string,
  options?: ReadOptions,
): Promise<boolean> {
  const query = new URLSearchParams({ mount: descriptor.digest, from: fromRepository });
  const exchange: Exchange = {
    ...startExchange(descriptor, options?.signal),
    action: `mount a blob from ${fromRepository}`,
    to: `blobs/uploads/?${query}`,
    // Registries that do not mount, or not from there, say so in many ways: then the blob is uploaded.
    expect: [201, 202, 400, 401, 403, 404, 405],
    scopes: [`repository:${fromRepository}:pull`],
  };
  const response = await connection.exchange(exchange);
  await response.discard();
  // The upload that is offered instead would stay in the registry's store until it is swept.
  const offered = response.status === 202 ? locationOf(response, exchange) : undefined;
  if (offered !== undefined) await cancelSession(connection, offered, descriptor);
  return response.status === 201;
}
