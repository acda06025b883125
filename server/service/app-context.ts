/** Declares the parts of the service that the routes of the HTTP server use. */
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { AccelError } from '../../base/error.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { AccessTokens, Caller, Scope } from './access-tokens.ts';
import type { AgentList } from './agents/gather-agents.ts';
import type { DecisionCode } from './decision.ts';
import { Forbidden } from './error-answers.ts';
import type { ConfiguredHook } from './hooks/configured-hooks.ts';
import type { HookKind, IgnoredCode } from './hooks/hook.ts';
import type { EventSink } from './intake.ts';
import type { ProgressBus } from './progress-bus.ts';
import type { Queue } from './queue.ts';

/** A conversion that was asked for by hand. */
export interface ManualRequest {
  /** `HOST/REPOSITORY:TAG`. */
  readonly image: string;
  /** Converts even what is up to date. */
  readonly force: boolean;
}

/** The answer to it. */
export interface ManualAnswer {
  /** `accepted`: the registry does not answer now; it is looked at later. */
  readonly decision: DecisionCode | 'accepted';
  readonly reason: string;
  /** The conversion, where there is one. */
  readonly id?: string;
}

/** The parts of the service behind the routes. A part that SIGHUP may change is a function. */
export interface AppContext {
  readonly queue: Queue;
  readonly bus: ProgressBus;
  readonly sink: EventSink;
  readonly hooks: () => ReadonlyMap<HookKind, ConfiguredHook>;
  readonly tokens: () => AccessTokens;
  readonly metrics: Metrics;
  /** Why the service cannot accept anything now; empty when it can. */
  readonly unready: () => readonly string[];
  /** Looks at an image at once and adds its conversion. Throws `usage` for an image that no rule covers. */
  readonly convert: (request: ManualRequest, signal: AbortSignal) => Promise<ManualAnswer>;
  /** Hears of events in notifications that are no push of a tag. */
  readonly onIgnored: (kind: HookKind, code: IgnoredCode) => void;
  /** Writes one line of the audit log. */
  readonly audit: (entry: AuditEntry) => void;
  /** Fires when the process ends: streams close. */
  readonly draining: AbortSignal;
  /** Asks the agents of the cluster. */
  readonly agents: () => Promise<AgentList>;
  /** Milliseconds in which a request has to arrive; 10 seconds unless given. */
  readonly requestTimeout?: number;
  /** Routes of other parts: the console. */
  readonly more?: readonly FastifyPluginAsync<AppContext>[];
}

/** Who asked for what, and what came of it. */
export interface AuditEntry {
  /** Name of the token, `anonymous`, or `hook:KIND`. */
  readonly caller: string;
  /** Address of the client. */
  readonly from: string;
  readonly action: string;
  /** Image or conversion that it is about. */
  readonly subject: string;
  readonly outcome: string;
}

/** Finds out who asks, if the scope allows it. Throws `unauthorized`, answered with 401 or 403. */
export function callerOf(context: AppContext, scope: Scope, request: FastifyRequest, reply: FastifyReply): Caller {
  const { authorization, host, origin } = request.headers;
  const caller = context.tokens().check({ authorization, host, origin }, scope);
  if (typeof caller === 'object') return caller;
  if (caller === 'unauthenticated') {
    reply.header('WWW-Authenticate', 'Bearer realm="accel"');
    throw new AccelError('unauthorized', authorization === undefined ? 'a token is needed' : 'the token is not known', {
      expected: `Authorization: Bearer TOKEN, of one of service.tokens with the scope ${scope}`,
    });
  }
  throw new Forbidden(
    authorization === undefined
      ? 'without a token, requests come from a page of this address or from none'
      : `the token does not have the scope ${scope}`,
  );
}
