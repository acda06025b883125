/** Asks the API of the service. */

/** Progress of one layer. */
export interface Layer {
  readonly platform: string;
  readonly index: number;
  readonly count: number;
  readonly digest: string;
  readonly size: number;
  readonly read: number;
  readonly state: string;
}

/** Why an attempt failed. */
export interface Reason {
  readonly code: string;
  readonly message: string;
  readonly expected?: string | number;
  readonly found?: string | number;
  readonly hint?: string;
  readonly where?: Readonly<Record<string, string | number>>;
  readonly temporary: boolean;
}

/** A conversion, as `/openapi.json` describes it. */
export interface Conversion {
  readonly id: string;
  readonly repository: string;
  readonly tag: string;
  readonly digest?: string;
  readonly rule: number;
  readonly from: string;
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled' | 'superseded';
  readonly attempts: number;
  readonly created: string;
  readonly started?: string;
  readonly finished?: string;
  readonly due?: string;
  readonly reason?: Reason;
  readonly progress?: {
    readonly stage: string;
    readonly bytes: number;
    readonly read: number;
    readonly layers: readonly Layer[];
  };
  readonly result?: {
    readonly target: string;
    readonly source: { readonly digest: string; readonly size: number };
    readonly tags: readonly {
      readonly tag: string;
      readonly kind: string;
      readonly digest: string;
      readonly size: number;
      readonly ratio: number;
      readonly upToDate: boolean;
    }[];
    readonly platforms: readonly string[];
    readonly warnings: readonly string[];
    readonly verified: string;
  };
}

/** Totals of the conversions of a repository. */
export interface Repository {
  readonly repository: string;
  readonly images: number;
  readonly converted: number;
  readonly failed: number;
  readonly pending: number;
  readonly sourceBytes: number;
  readonly acceleratedBytes: number;
  readonly lastFinished?: string;
}

/** Traffic of one agent. Bytes. */
export interface Agent {
  readonly node: string;
  readonly zone?: string;
  readonly reachable: boolean;
  /** Why there is no answer, or why the agent cannot serve well now. */
  readonly problem?: string;
  /** Lists what does not work though it serves. */
  readonly degraded?: readonly string[];
  readonly members?: number;
  /** Agents that it could not reach; `at` is when it last asked, RFC 3339. */
  readonly peers?: readonly { readonly node: string; readonly lastError: string; readonly at: string }[];
  readonly bytes?: {
    readonly fromPeers: number;
    readonly fromOrigin: number;
    readonly toPeers: number;
    readonly toClients: number;
  };
}

/** Bytes of a repository, of all agents together. */
export interface AgentImage {
  readonly image: string;
  readonly nodes: number;
  readonly fromPeers: number;
  readonly fromOrigin: number;
  readonly toClients: number;
}

/** The agents of the cluster. */
export interface AgentList {
  readonly agents: readonly Agent[];
  readonly images: readonly AgentImage[];
  /** Why the agents are not known. */
  readonly problem?: string;
}

/** An answer that is an error. `status` 0: there was no answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly hint: string | undefined;

  constructor(status: number, message: string, hint?: string) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

const TOKEN_KEY = 'accel-token';

/** The token of this tab; forgotten with it. */
export const token = {
  get: (): string | null => sessionStorage.getItem(TOKEN_KEY),
  set: (value: string): void => sessionStorage.setItem(TOKEN_KEY, value),
  clear: (): void => sessionStorage.removeItem(TOKEN_KEY),
};

/** Asks for a document. Throws {@link ApiError}. */
export async function ask<Answer>(path: string, signal?: AbortSignal, method = 'GET'): Promise<Answer> {
  const response = await send(path, method, signal);
  return (await response.json()) as Answer;
}

/**
 * Follows a conversion until it has ended or `signal` fires. Uses fetch rather than EventSource, which cannot send a token. Throws
 * {@link ApiError}.
 */
export async function follow(id: string, hear: (conversion: Conversion) => void, signal: AbortSignal): Promise<void> {
  const response = await send(`api/v1/conversions/${encodeURIComponent(id)}/events`, 'GET', signal);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    for (const event of events) {
      const data = event.split('\n').find((line) => line.startsWith('data: '));
      if (data !== undefined) hear(JSON.parse(data.slice('data: '.length)) as Conversion);
    }
  }
}

async function send(path: string, method: string, signal: AbortSignal | undefined): Promise<Response> {
  const known = token.get();
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: known === null ? {} : { Authorization: `Bearer ${known}` },
      cache: 'no-store',
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'The service does not answer.', 'Is it running, and can this machine reach it?');
  }
  if (response.ok) return response;
  const body = (await response.json().catch(() => ({}))) as {
    error?: { message?: string; hint?: string; expected?: string };
  };
  throw new ApiError(
    response.status,
    body.error?.message ?? `HTTP ${response.status}`,
    body.error?.hint ?? body.error?.expected,
  );
}
