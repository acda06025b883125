/**
 * Whose bytes are whose: cached content goes to a caller alone whose credential the origin accepted for that repository within
 * the last minutes. On a miss the origin is asked, with the caller's own credential and nothing else.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { HttpResponse } from '../../http/transport.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { atMost } from './at-most.ts';
import { type Origin, OriginFailure, type OriginTarget } from './pieces/origin.ts';
import { SingleFlight } from './pieces/single-flight.ts';

/** The time for which an answer of the origin counts, in milliseconds. */
export interface AccessTimes {
  /** An acceptance, before the origin is asked again. */
  readonly ttl: number;
  /** An acceptance, while the origin does not answer. */
  readonly grace: number;
}

/** Defaults of the configuration. */
export const ACCESS_TIMES: AccessTimes = { ttl: 300_000, grace: 3_600_000 };

/** Milliseconds before each further try where the origin fails: a runtime that hears of it leaves the agent for the whole pull. */
const RETRY_WAITS = [200, 1000];
/** Callers remembered. */
const MOST_KEPT = 100_000;

/** A caller's wish to read something. */
export interface AccessQuestion {
  /** Asked of the origin with HEAD. */
  readonly target: OriginTarget;
  readonly host: string;
  /** The repository, or the path of a signed URL. */
  readonly repository: string;
  readonly signal?: AbortSignal | undefined;
}

/** The origin's word. */
export type AccessAnswer =
  | {
      readonly allowed: true /** Content-Length of the origin's answer, where it was asked just now. */;
      readonly size: number | undefined;
    }
  /** The origin's status and WWW-Authenticate header; 502 where it did not answer. */
  | { readonly allowed: false; readonly status: number; readonly challenge: string | undefined };

/** See the head of the file. */
export class Access {
  readonly #origin: Origin;
  readonly #times: AccessTimes;
  readonly #metrics: AgentMetrics;
  readonly #now: () => number;
  /** Credentials are kept as an HMAC with this key, which dies with the process. */
  readonly #key = randomBytes(32);
  readonly #accepted: LRUCache<string, number>;
  /** Contents that an accepted caller has found in their repository: no other repository's bytes go by that name. */
  readonly #found = new LRUCache<string, number>(atMost(MOST_KEPT));
  readonly #asking = new SingleFlight<AccessAnswer>();

  constructor(
    origin: Origin,
    metrics: AgentMetrics,
    {
      times = ACCESS_TIMES,
      now = () => performance.now(),
    }: { readonly times?: AccessTimes; readonly now?: () => number } = {},
  ) {
    this.#origin = origin;
    this.#metrics = metrics;
    this.#times = times;
    this.#now = now;
    this.#accepted = new LRUCache(atMost(MOST_KEPT));
  }

  /** Whether the caller may read. Rejects only with the signal's reason. */
  async check(question: AccessQuestion): Promise<AccessAnswer> {
    const key = this.#keyOf(question);
    if (this.#isKnown(key, question, this.#times.ttl)) {
      this.#metrics.access.inc({ outcome: 'remembered' });
      return { allowed: true, size: undefined };
    }
    return this.ask(question);
  }

  /** The origin's word of now. Rejects only with the signal's reason. */
  ask(question: AccessQuestion): Promise<AccessAnswer> {
    const key = this.#keyOf(question);
    return this.#asking.run(
      `${key} ${question.target.url.href}`,
      (signal) => this.#ask(key, { ...question, signal }),
      question.signal,
    );
  }

  /** The origin has just accepted this caller, in an answer that came by another way. */
  accepted(question: AccessQuestion): void {
    this.#note(this.#keyOf(question), question);
  }

  /** The origin has just refused this caller. */
  refused(question: AccessQuestion): void {
    this.#accepted.delete(this.#keyOf(question));
  }

  #note(key: string, question: AccessQuestion): void {
    this.#accepted.set(key, this.#now());
    this.#found.set(contentOf(question), this.#now());
  }

  /** Whether the caller was accepted, and the content found, within so many milliseconds. */
  #isKnown(key: string, question: AccessQuestion, milliseconds: number): boolean {
    const now = this.#now();
    const accepted = this.#accepted.get(key);
    const found = this.#found.get(contentOf(question));
    if (accepted === undefined || found === undefined || now - accepted >= milliseconds) return false;
    return now - found < Math.max(this.#times.ttl, this.#times.grace);
  }

  async #ask(key: string, question: AccessQuestion): Promise<AccessAnswer> {
    for (const wait of RETRY_WAITS) {
      const answer = await this.#askOnce(key, question);
      if (answer.allowed || answer.isSilent || !isFailing(answer.status)) return answer;
      const { signal } = question;
      await sleep(wait, undefined, signal === undefined ? {} : { signal });
    }
    return this.#askOnce(key, question);
  }

  async #askOnce(key: string, question: AccessQuestion): Promise<AccessAnswer & { readonly isSilent?: boolean }> {
    const { target, signal } = question;
    let isSilent = false;
    // A signed URL is often signed for GET alone.
    const signed = target.url.search !== '';
    let status: number;
    let size: number | undefined;
    let challenge: string | undefined;
    try {
      const response = await this.#origin.request(
        signed ? 'GET' : 'HEAD',
        target,
        signed ? { range: 'bytes=0-0' } : {},
        signal,
      );
      await response.discard().catch(() => undefined);
      status = response.status;
      challenge = response.header('www-authenticate');
      size = sizeIn(response);
    } catch (error) {
      if (!(error instanceof OriginFailure)) throw error;
      // No answer has cost its whole time already.
      isSilent = error.status === 0;
      status = isSilent ? 502 : error.status;
    }
    // An empty content has no first byte.
    if ((status >= 200 && status < 300) || (signed && status === 416)) {
      this.#note(key, question);
      this.#metrics.access.inc({ outcome: 'accepted' });
      return { allowed: true, size };
    }
    if (isFailing(status) && this.#isKnown(key, question, this.#times.grace)) {
      this.#metrics.access.inc({ outcome: 'grace' });
      return { allowed: true, size: undefined };
    }
    if (status === 401 || status === 403) this.#accepted.delete(key);
    this.#metrics.access.inc({ outcome: status === 401 || status === 403 ? 'refused' : 'failed' });
    return { allowed: false, status, challenge, isSilent };
  }

  #keyOf({ target, host, repository }: AccessQuestion): string {
    // A signed URL is a credential of its own; without a query only the header counts.
    const secret = `${target.authorization ?? ''}\n${target.url.search}`;
    return createHmac('sha256', this.#key)
      .update(`${host.toLowerCase()}\n${repository}\n${secret}`)
      .digest('base64url');
  }
}

/** Whether a status says that the origin cannot answer now, not what it answers. */
function isFailing(status: number): boolean {
  return status >= 500 || status === 429;
}

/** The content that a question is about, whoever asks: the same path in the same host. */
function contentOf({ target, host }: AccessQuestion): string {
  return `${host.toLowerCase()} ${target.url.pathname}`;
}

/** Bytes of the whole, from the answer to HEAD, or to GET for the first byte. */
function sizeIn(response: HttpResponse): number | undefined {
  const text =
    response.status === 206
      ? /^bytes 0-0\/(\d+)$/.exec(response.header('content-range') ?? '')?.[1]
      : response.header('content-length');
  const size = Number(text ?? Number.NaN);
  return Number.isSafeInteger(size) && size >= 0 ? size : undefined;
}
