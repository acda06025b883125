/** Talks to the agent of this node: its API on loopback (docs/agent.md, "Warming nodes"). */
import { AccelError } from '../base/error.ts';
import { isRecord } from '../base/is-record.ts';

/** The progress on one node, or on all together. */
export interface WarmProgress {
  readonly state: 'running' | 'done' | 'failed' | 'cancelled' | 'unreachable';
  readonly pieces: { readonly total: number; readonly done: number; readonly failed: number };
  readonly bytes: { readonly total: number; readonly done: number };
  readonly problem?: { readonly status: number; readonly message: string };
}

/** The progress of a prefetch. */
export interface FleetWarmProgress {
  readonly id: string;
  readonly state: WarmProgress['state'];
  readonly nodes: readonly (WarmProgress & { readonly node: string })[];
}

/** A prefetch to start. */
export interface WarmQuestion {
  readonly registry: string;
  readonly repository: string;
  readonly blobs: readonly unknown[];
}

/** Milliseconds for an answer: the agent asks the other nodes meanwhile. */
const PATIENCE = 60_000;

/** The API of the agent at a URL. Its methods throw `io-error` where it does not answer, and `usage` where it refuses. */
export class AgentClient {
  readonly #base: string;

  constructor(base: string) {
    this.#base = base.replace(/\/+$/, '');
  }

  /** Starts a prefetch; `authorization` is the header that the registry accepts. */
  start(
    question: WarmQuestion,
    { authorization, allNodes }: { readonly authorization: string | undefined; readonly allNodes: boolean },
    signal: AbortSignal,
  ): Promise<FleetWarmProgress> {
    return this.#ask(
      `/api/v1/prefetch${allNodes ? '?nodes=all' : ''}`,
      {
        method: 'POST',
        body: JSON.stringify(question),
        headers: {
          'content-type': 'application/json',
          ...(authorization === undefined ? {} : { authorization }),
        },
      },
      signal,
    );
  }

  /** The progress of a prefetch. */
  progress(id: string, signal: AbortSignal): Promise<FleetWarmProgress> {
    return this.#ask(`/api/v1/prefetch/${id}`, { method: 'GET' }, signal);
  }

  /** Ends a prefetch on all nodes. */
  cancel(id: string, signal: AbortSignal): Promise<FleetWarmProgress> {
    return this.#ask(`/api/v1/prefetch/${id}`, { method: 'DELETE' }, signal);
  }

  async #ask(path: string, request: RequestInit, signal: AbortSignal): Promise<FleetWarmProgress> {
    const where = { agent: this.#base };
    let response: Response;
    let text: string;
    try {
      const limits = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
      response = await fetch(`${this.#base}${path}`, { ...request, signal: limits });
      text = await response.text();
    } catch (cause) {
      signal.throwIfAborted();
      throw new AccelError('io-error', 'the agent of this node does not answer', {
        where,
        hint: 'Is it running? Its address is agent.listen of its configuration; name another one with --agent.',
        cause,
      });
    }
    if (response.ok) {
      const answer = parse(text);
      if (isProgress(answer)) return answer;
    }
    throw new AccelError(response.status === 429 ? 'limit-exceeded' : 'usage', 'the agent does not take the request', {
      where,
      expected: 'a progress',
      found: `HTTP ${response.status}${messageIn(text)}`,
      hint: 'Is this the address of an agent, and has the agent the version of this program?',
    });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Another server answers at this address.
    return undefined;
  }
}

function isProgress(value: unknown): value is FleetWarmProgress {
  return (
    isRecord(value) && typeof value.id === 'string' && typeof value.state === 'string' && Array.isArray(value.nodes)
  );
}

function messageIn(text: string): string {
  const value = parse(text);
  const [first] = isRecord(value) && Array.isArray(value.errors) ? (value.errors as unknown[]) : [];
  return isRecord(first) && typeof first.message === 'string' ? `: ${first.message}` : '';
}
