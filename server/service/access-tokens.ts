/**
 * Who may use the API. Bearer tokens come from files, read-only or for writing as well. Where the service listens on loopback,
 * reading needs no token, and writing none as long as no token for writing is configured; then the Host and Origin of a request must be
 * those of loopback, so that no web page can use the reader's browser to ask.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { AccelError } from '../../base/error.ts';
import type { Config } from '../config/schema.ts';
import { readSecretFile } from '../config/secret-file.ts';

/** Permission of a token; `write` includes reading. */
export type Scope = 'read' | 'write';

/** A request as far as access depends on it. */
export interface AccessRequest {
  readonly authorization: string | undefined;
  readonly host: string | undefined;
  readonly origin: string | undefined;
}

/** Who asks: the name of a token, or `anonymous`. */
export interface Caller {
  readonly name: string;
  readonly scope: Scope;
}

/** Why a request is refused: `unauthenticated` HTTP 401, `forbidden` HTTP 403. */
export type Refusal = 'unauthenticated' | 'forbidden';

interface Token {
  readonly name: string;
  readonly scope: Scope;
  readonly digest: Buffer;
}

/** The tokens of a configuration. */
export class AccessTokens {
  readonly #tokens: readonly Token[];
  readonly #loopback: boolean;

  private constructor(tokens: readonly Token[], loopback: boolean) {
    this.#tokens = tokens;
    this.#loopback = loopback;
  }

  /** Reads the files of the tokens. Throws `usage` for one that cannot be used. */
  static async load(tokens: Config['service']['tokens'], loopback: boolean): Promise<AccessTokens> {
    const read = tokens.map(async ({ name, file, scope }, index): Promise<Token> => {
      const key = `service.tokens[${index}].file`;
      const token = await readSecretFile(file, key);
      if (/\s/.test(token)) {
        throw new AccelError('usage', 'a token has white space in it', {
          where: { key, file },
          expected: 'the token alone, in one line, without the word Bearer',
        });
      }
      return { name, scope, digest: digestOf(token) };
    });
    return new AccessTokens(await Promise.all(read), loopback);
  }

  /** Finds out who asks. `scope` is what the request needs. */
  check(request: AccessRequest, scope: Scope): Caller | Refusal {
    const { authorization } = request;
    if (authorization !== undefined) {
      const token = this.#find(authorization);
      if (token === undefined) return 'unauthenticated';
      return scope === 'write' && token.scope === 'read' ? 'forbidden' : { name: token.name, scope: token.scope };
    }
    const open = this.#anonymousScope();
    if (open === undefined || (scope === 'write' && open === 'read')) return 'unauthenticated';
    return isLocalRequest(request) ? { name: 'anonymous', scope: open } : 'forbidden';
  }

  #anonymousScope(): Scope | undefined {
    if (!this.#loopback) return undefined;
    return this.#tokens.some(({ scope }) => scope === 'write') ? 'read' : 'write';
  }

  /** Compares with every token, so that the time says nothing about which one it is. */
  #find(authorization: string): Token | undefined {
    const given = digestOf(/^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '');
    return this.#tokens.filter(({ digest }) => timingSafeEqual(digest, given)).at(0);
  }
}

/** True for a request that no web page of another host has made: its Host is of loopback, and its Origin is that or none. */
export function isLocalRequest({ host, origin }: Pick<AccessRequest, 'host' | 'origin'>): boolean {
  if (host === undefined || !isLoopbackHost(host.replace(/:\d+$/, ''))) return false;
  return origin === undefined || origin === `http://${host}`;
}

/** True for `localhost` and for addresses of loopback, in brackets or not. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
