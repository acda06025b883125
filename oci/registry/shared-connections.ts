/**
 * Shared by clients of several repositories with the same options: the pools of connections, the
 * scheme of each registry, and the answers of credential helpers, which are programs that take a while to start.
 */
import { unlessAborted } from '../../base/unless-aborted.ts';
import type { HttpOptions } from '../../http/http-options.ts';
import { Transport } from '../../http/transport.ts';
import type { Credentials } from './credential-kinds.ts';

/** See the module's comment. Whoever makes it closes it, after the clients. */
export class SharedConnections {
  #transport: Promise<Transport> | undefined;
  readonly #bases = new Map<string, Promise<URL>>();
  readonly #helpers = new Map<string, Promise<Credentials | undefined>>();

  /** The transport of all clients, with the options of the first. */
  transport(options: HttpOptions): Promise<Transport> {
    this.#transport ??= Transport.open(options);
    return this.#transport;
  }

  /** The address of a registry: what `detect` found for the first client. A failure is not kept. `signal` ends the waiting alone. */
  base(registry: string, detect: () => Promise<URL>, signal: AbortSignal | undefined): Promise<URL> {
    return unlessAborted(kept(this.#bases, registry, detect), signal);
  }

  /** The answer of a credential helper: what `ask` found for the first client. A failure is not kept. */
  helper(
    name: string,
    ask: () => Promise<Credentials | undefined>,
    signal: AbortSignal | undefined,
  ): Promise<Credentials | undefined> {
    return unlessAborted(kept(this.#helpers, name, ask), signal);
  }

  /** Closes every connection. */
  async close(): Promise<void> {
    const transport = await this.#transport?.catch(() => undefined);
    await transport?.close();
  }
}

function kept<T>(known: Map<string, Promise<T>>, key: string, find: () => Promise<T>): Promise<T> {
  const found =
    known.get(key) ??
    find().catch((error: unknown) => {
      known.delete(key);
      throw error;
    });
  known.set(key, found);
  return found;
}
