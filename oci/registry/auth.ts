/**
 * Authorisation for one repository: answers a registry's challenge with Basic credentials or a bearer token
 * (distribution, "Token Authentication Specification"; OAuth2 for identity tokens).
 */

import { advise, option } from '../../base/advice.ts';
import { bytesSource } from '../../base/byte-source.ts';
import { AccelError, type ErrorPlace } from '../../base/error.ts';
import { hideSecret } from '../../base/secrets.ts';
import { isLoopbackUrl } from '../../http/local-address.ts';
import { redactUrl } from '../../http/redact.ts';
import { assertReachable, sendFollowing } from '../../http/redirects.ts';
import { type Patience, retrying } from '../../http/retry.ts';
import type { HttpRequest, Transport } from '../../http/transport.ts';
import { type Challenge, mergeScopes, parseChallenges } from './challenge.ts';
import type { Credentials, FoundCredentials } from './credential-kinds.ts';
import { findCredentials } from './credentials.ts';
import { deniedError, type Login } from './denied.ts';
import { describeFailure, type FailedResponse, failedResponse, responseError, transportError } from './errors.ts';
import type { RegistryOptions } from './registry-options.ts';
import { parseTokenAnswer, type Token } from './token.ts';

/** Milliseconds before its expiry at which a token is renewed: requests take time, and clocks differ. */
const RENEW_BEFORE = 10_000;

/** Largest answer of a token server, in bytes. */
const MAX_TOKEN_ANSWER = 1 << 20;

/** A repository of a registry. */
export interface RepositoryName {
  /** `host[:port]`. */
  readonly registry: string;
  /** Undefined: the registry as a whole. */
  readonly repository: string | undefined;
}

/** Holds the secrets for one registry and gives out nothing but Authorization headers. */
export class Authenticator {
  readonly #registry: string;
  readonly #repository: string | undefined;
  readonly #options: RegistryOptions;
  readonly #patience: Patience;
  readonly #transport: Transport;
  #credentials: Lookup | undefined;
  #challenge: Challenge | undefined;
  /** Tokens by scope; promises, so that parallel layers send one request. */
  readonly #tokens = new Map<string, Promise<Token>>();
  /** The signals of those who asked for them. */
  readonly #askers = new WeakMap<Promise<Token>, AbortSignal | undefined>();
  /** Scopes that challenges asked for in addition to ours. */
  readonly #demanded = new Map<string, readonly string[]>();

  constructor(
    { registry, repository }: RepositoryName,
    options: RegistryOptions,
    patience: Patience,
    transport: Transport,
  ) {
    this.#registry = registry;
    this.#repository = repository;
    this.#options = options;
    this.#patience = patience;
    this.#transport = transport;
  }

  /** The Authorization header for these scopes; undefined until a challenge asked for one. `base`: the registry. */
  async header(base: URL, scopes: readonly string[], signal?: AbortSignal): Promise<string | undefined> {
    const credentials = await this.#load(signal);
    if (credentials?.kind === 'bearer') return `Bearer ${credentials.token}`;
    if (this.#challenge === undefined) return undefined;
    if (this.#challenge.scheme === 'basic') return credentials?.kind === 'basic' ? basic(credentials) : undefined;
    return `Bearer ${(await this.#token(base, this.#challenge, scopes, signal)).value}`;
  }

  /**
   * Reads the WWW-Authenticate header of a 401. True if the request should be sent again with the current {@link header};
   * `sent` is the header that was refused.
   */
  async learn(challengeHeader: string, scopes: readonly string[], sent: string | undefined): Promise<boolean> {
    const challenges = parseChallenges(challengeHeader);
    const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.realm);
    const challenge = bearer ?? challenges.find(({ scheme }) => scheme === 'basic');
    if (challenge === undefined) return false;
    this.#challenge = challenge;
    const credentials = await this.#load();
    if (credentials?.kind === 'bearer') return false;
    if (challenge.scheme === 'basic') return credentials?.kind === 'basic' && sent !== basic(credentials);
    const own = keyOf(scopes);
    const asked = challenge.parameters.scope?.split(' ') ?? [];
    this.#demanded.set(own, mergeScopes(this.#demanded.get(own) ?? [], asked));
    // Drop the token that was refused, but not one that a parallel request has renewed since.
    const key = keyOf(this.#wanted(scopes));
    const cached = await this.#tokens.get(key)?.catch(() => undefined);
    if (cached === undefined || sent === `Bearer ${cached.value}`) this.#tokens.delete(key);
    return true;
  }

  /** The error for a 401 or 403 of the registry itself, with the state of the login. */
  async denied(action: string, response: FailedResponse, where: ErrorPlace): Promise<AccelError> {
    const credentials = await this.#load();
    // A token is issued after the login was verified, so a later refusal is about the account's rights.
    const isProof = credentials?.kind === 'bearer' || this.#challenge?.scheme !== 'bearer';
    const wasSent = credentials?.kind === 'bearer' || this.#challenge !== undefined;
    const login = !wasSent ? 'unsent' : response.status === 401 && isProof ? 'refused' : 'accepted';
    return this.#denied({ action, response, where, credentials, login });
  }

  #denied({ action, response, where, credentials, login }: Denial): AccelError {
    const found = describeFailure(response);
    return deniedError({ action, registry: this.#registry, login, credentials, found, where });
  }

  /** The credentials, looked up once; `signal` ends the lookup, which the next call then begins again. */
  async #load(signal?: AbortSignal): Promise<FoundCredentials | undefined> {
    for (;;) {
      this.#credentials ??= this.#find(signal);
      const loading = this.#credentials;
      try {
        return await loading.found;
      } catch (error) {
        if (this.#credentials === loading) this.#credentials = undefined;
        // Another request may have begun the lookup and been aborted.
        if (signal?.aborted === true || loading.signal?.aborted !== true) throw error;
      }
    }
  }

  #find(signal: AbortSignal | undefined): Lookup {
    const found = findCredentials(this.#registry, this.#repository ?? '', { ...this.#options, signal }).then(
      (credentials) => {
        if (credentials !== undefined)
          hideSecret(credentials.kind === 'basic' ? credentials.password : credentials.token);
        return credentials;
      },
    );
    return { found, signal };
  }

  #wanted(scopes: readonly string[]): readonly string[] {
    return mergeScopes(scopes, this.#demanded.get(keyOf(scopes)) ?? []);
  }

  async #token(base: URL, challenge: Challenge, scopes: readonly string[], signal?: AbortSignal): Promise<Token> {
    const wanted = this.#wanted(scopes);
    const key = keyOf(wanted);
    const cached = this.#tokens.get(key);
    if (cached !== undefined) {
      const token = await cached.catch(() => undefined);
      if (token !== undefined && token.expires - RENEW_BEFORE > this.#patience.now()) return token;
      if (this.#tokens.get(key) === cached) this.#tokens.delete(key);
    }
    for (;;) {
      const known = this.#tokens.get(key);
      const asked = known ?? this.#ask(base, challenge, wanted, signal);
      this.#tokens.set(key, asked);
      if (known === undefined) this.#askers.set(asked, signal);
      try {
        return await asked;
      } catch (error) {
        // The next request asks again: this failure may have been the abort of one image or layer only.
        if (this.#tokens.get(key) === asked) this.#tokens.delete(key);
        const isOfOther = signal?.aborted !== true && this.#askers.get(asked)?.aborted === true;
        if (!isOfOther) throw error;
      }
    }
  }

  async #ask(base: URL, challenge: Challenge, scopes: readonly string[], signal?: AbortSignal): Promise<Token> {
    const credentials = await this.#load(signal);
    const realm = realmOf(challenge, base, this.#options.plain === true);
    const request = {
      ...tokenRequest(realm, { service: challenge.parameters.service, scopes, credentials, signal }),
      foreign: realm.host !== base.host,
    };
    const action = `get a token for ${this.#registry}`;
    const answer = await retrying(
      (attempt) => sendFollowing(this.#transport, { ...request, attempt }),
      this.#patience,
      { signal },
    ).catch((error: unknown) => {
      throw signal?.aborted || error instanceof AccelError
        ? error
        : transportError(action, error, realm, this.#transport.proxyOf(realm));
    });
    const where = { registry: this.#registry, url: redactUrl(realm) };
    if (answer.status !== 200) {
      const response = await failedResponse(answer, this.#patience);
      const login = loginRefused(answer.status, credentials);
      if (login === undefined) throw responseError(action, response, where);
      throw this.#denied({ action, response, where, credentials, login });
    }
    const token = parseTokenAnswer(await answer.text(MAX_TOKEN_ANSWER), this.#patience.now(), where);
    hideSecret(token.value);
    return token;
  }
}

/** A search for credentials, and what ends it. */
interface Lookup {
  readonly found: Promise<FoundCredentials | undefined>;
  readonly signal: AbortSignal | undefined;
}

/** A denied request. */
interface Denial {
  readonly action: string;
  readonly response: FailedResponse;
  readonly where: ErrorPlace;
  readonly credentials: FoundCredentials | undefined;
  readonly login: Login;
}

/** The state of a login by the status of the token server; undefined if the status is not about the login. */
function loginRefused(status: number, credentials: Credentials | undefined): Login | undefined {
  if (status === 401) return 'refused';
  // GHCR answers 403 to a wrong password, GitLab to a correct one for a project that the account may not see.
  if (status === 403) return 'doubtful';
  // OAuth2: invalid_grant.
  return status === 400 && credentials?.kind === 'identity' ? 'refused' : undefined;
}

/** A token that is wanted. */
interface TokenWish {
  readonly service: string | undefined;
  readonly scopes: readonly string[];
  readonly credentials: Credentials | undefined;
  readonly signal: AbortSignal | undefined;
}

function tokenRequest(realm: URL, { service, scopes, credentials, signal }: TokenWish): HttpRequest {
  if (credentials?.kind === 'identity') {
    const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'accel' });
    if (service) form.set('service', service);
    form.set('scope', scopes.join(' '));
    form.set('refresh_token', credentials.token);
    const bytes = new TextEncoder().encode(form.toString());
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return {
      method: 'POST',
      url: realm,
      headers,
      body: { source: bytesSource(bytes), size: bytes.length, secret: true },
      signal,
    };
  }
  const url = new URL(realm);
  if (service) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  if (credentials?.kind !== 'basic') return { method: 'GET', url, headers: {}, signal };
  url.searchParams.set('account', credentials.username);
  return { method: 'GET', url, headers: { authorization: basic(credentials) }, signal };
}

/**
 * The URL of the token server. The registry chooses it, so it must not make us send credentials in the clear: plain HTTP is
 * accepted for a loopback address, or for any host if `plain` is set and the registry itself is reached by plain HTTP.
 */
function realmOf(challenge: Challenge, base: URL, plain: boolean): URL {
  const realm = challenge.parameters.realm ?? '';
  const url = URL.canParse(realm, base.href) ? new URL(realm, base) : undefined;
  const where = { registry: base.host };
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new AccelError('registry-error', 'the registry names a token server that is not an HTTP URL', {
      where,
      expected: 'an https URL',
      found: url === undefined ? 'no URL' : redactUrl(url),
    });
  }
  assertReachable(url, base);
  if (url.protocol === 'https:' || (base.protocol === 'http:' && (plain || isLoopbackUrl(url)))) return url;
  throw new AccelError('registry-error', 'the registry names a token server that speaks plain HTTP, which is refused', {
    where,
    expected: 'an https URL',
    found: redactUrl(url),
    ...(base.protocol === 'http:'
      ? {
          hint: advise`The credentials would cross the network in the clear: use ${option('plain')} if this is intended.`,
        }
      : {}),
  });
}

function basic(credentials: { readonly username: string; readonly password: string }): string {
  const text = `${credentials.username}:${credentials.password}`;
  return `Basic ${Buffer.from(text, 'utf8').toString('base64')}`;
}

function keyOf(scopes: readonly string[]): string {
  return mergeScopes(scopes).join(' ');
}
