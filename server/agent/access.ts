/**
 * Whose bytes are whose: cached content goes to a caller alone whose credential the origin accepted for that repository within
 * the last minutes. On a miss the origin is asked, with the caller's own credential and nothing else.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpResponse } from '../../http/transport.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { AcceptedCallers, type Caller, type KeptMemory } from './accepted-callers.ts';
import { type Origin, OriginFailure } from './pieces/origin.ts';
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

/** A caller's wish to read something, of which the origin is asked with HEAD. */
export interface AccessQuestion extends Caller {
  readonly signal?: AbortSignal | undefined;
}

/** The origin's word. */
export type AccessAnswer =
  | {
      readonly allowed: true /** Bytes of the content, where the origin has said so. */;
      readonly size: number | undefined;
    }
  /** The origin's status and WWW-Authenticate header; 502 where it did not answer. */
  | { readonly allowed: false; readonly status: number; readonly challenge: string | undefined };

/** See the head of the file. */
export class Access {
  readonly #origin: Origin;
  readonly #times: AccessTimes;
  readonly #metrics: AgentMetrics;
  readonly #callers: AcceptedCallers;
  readonly #asking = new SingleFlight<AccessAnswer>();

  constructor(
    origin: Origin,
    metrics: AgentMetrics,
    {
      times = ACCESS_TIMES,
      now = machineTime,
      memory,
    }: {
      readonly times?: AccessTimes;
      /** Milliseconds of a clock that processes of this machine share. */
      readonly now?: () => number;
      /** For the process that comes after this one. */
      readonly memory?: KeptMemory | undefined;
    } = {},
  ) {
    this.#origin = origin;
    this.#metrics = metrics;
    this.#times = times;
    this.#callers = new AcceptedCallers({ now, memory });
  }

  /** Whether the caller may read. Rejects only with the signal's reason. */
  async check(question: AccessQuestion): Promise<AccessAnswer> {
    const known = this.#known(question, this.#times.ttl);
    if (known !== undefined) {
      this.#metrics.access.inc({ outcome: 'remembered' });
      return { allowed: true, size: known.size };
    }
    return this.ask(question);
  }

  /** The origin's word of now. Rejects only with the signal's reason. */
  ask(question: AccessQuestion): Promise<AccessAnswer> {
    const key = this.#callers.keyOf(question);
    return this.#asking.run(
      `${key} ${question.target.url.href}`,
      (signal) => this.#ask({ ...question, signal }),
      question.signal,
    );
  }

  /** The origin has just accepted this caller, in an answer that came by another way. */
  accepted(question: AccessQuestion): void {
    this.#callers.note(question);
  }

  /** The origin has just refused this caller. */
  refused(question: AccessQuestion): void {
    this.#callers.forget(question);
  }

  /** Gives the process that comes after this one what is known now. */
  flush(): void {
    this.#callers.flush();
  }

  /** The content, where the caller was accepted within so many milliseconds. */
  #known(question: AccessQuestion, callers: number): { readonly size: number | undefined } | undefined {
    return this.#callers.known(question, { callers, contents: Math.max(this.#times.ttl, this.#times.grace) });
  }

  async #ask(question: AccessQuestion): Promise<AccessAnswer> {
    for (const wait of RETRY_WAITS) {
      const answer = await this.#askOnce(question);
      if (answer.allowed || answer.isSilent || !isFailing(answer.status)) return answer;
      const { signal } = question;
      await sleep(wait, undefined, signal === undefined ? {} : { signal });
    }
    return this.#askOnce(question);
  }

  async #askOnce(question: AccessQuestion): Promise<AccessAnswer & { readonly isSilent?: boolean }> {
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
      this.#callers.note(question, size);
      this.#metrics.access.inc({ outcome: 'accepted' });
      return { allowed: true, size };
    }
    const known = isFailing(status) ? this.#known(question, this.#times.grace) : undefined;
    if (known !== undefined) {
      this.#metrics.access.inc({ outcome: 'grace' });
      return { allowed: true, size: known.size };
    }
    if (status === 401 || status === 403) this.#callers.forget(question);
    this.#metrics.access.inc({ outcome: status === 401 || status === 403 ? 'refused' : 'failed' });
    return { allowed: false, status, challenge, isSilent };
  }
}

/** Whether a status says that the origin cannot answer now, not what it answers. */
function isFailing(status: number): boolean {
  return status >= 500 || status === 429;
}

/** Milliseconds since the machine started. */
function machineTime(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
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
