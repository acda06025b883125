/** `POST /hooks/KIND`: the notifications of registries. A 2xx means that the events are on disk. */
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { AccelError, asAccelError } from '../../../base/error.ts';
import { isLocalRequest } from '../access-tokens.ts';
import type { AppContext } from '../app-context.ts';
import { Forbidden } from '../error-answers.ts';
import { isAuthentic } from '../hooks/authenticate.ts';
import type { ConfiguredHook } from '../hooks/configured-hooks.ts';
import type { HookKind, HookRequest } from '../hooks/hook.ts';
import { HOOKS } from '../hooks/receivers.ts';
import type { EventSink } from '../intake.ts';

/** Registers the receivers. All kinds have a route; one that is not configured answers 404 and says so. */
export const hookRoutes: FastifyPluginAsync<AppContext> = async (app, context) => {
  // The bytes as they came: signatures are over them, and senders name all sorts of content types.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  for (const kind of Object.keys(HOOKS) as HookKind[]) {
    app.post(`/hooks/${kind}`, { schema: { hide: true } }, async (request, reply) => {
      const hook = context.hooks().get(kind);
      if (hook === undefined) {
        throw new AccelError('not-found', `notifications of ${kind} are not received here`, {
          expected: `service.hooks.${kind} in the configuration`,
        });
      }
      return receive(
        { kind, hook, request, reply },
        hookRequestOf(request, Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)),
        context,
      );
    });
  }
};

interface Delivery {
  readonly kind: HookKind;
  readonly hook: ConfiguredHook;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/**
 * Checks the sender, reads the pushes, and answers when `accept` has accepted them; the sink of the context unless given. Throws
 * `unauthorized`, `usage` for a notification that its maker does not describe, QueueError where the store refuses.
 */
export async function receive(
  delivery: Delivery,
  sent: HookRequest,
  context: AppContext,
  accept: EventSink['accept'] = (pushes) => context.sink.accept(pushes),
): Promise<FastifyReply> {
  const { kind, hook, request, reply } = delivery;
  const audit = (outcome: string): void =>
    context.audit({ caller: `hook:${kind}`, from: request.ip, action: 'notify', subject: kind, outcome });
  if (!isAuthentic(kind, sent, hook.secrets)) {
    audit('refused: wrong or no secret');
    throw new AccelError('unauthorized', `the sender does not know the secret of service.hooks.${kind}`);
  }
  const { host, origin } = request.headers;
  if (Object.keys(hook.secrets).length === 0 && !isLocalRequest({ host, origin })) {
    audit('refused: not from this machine');
    throw new Forbidden('without a secret, notifications come to an address of loopback, and from no web page');
  }
  try {
    const { pushes, ignored, reply: answer } = HOOKS[kind](sent, hook.settings);
    for (const code of ignored) context.onIgnored(kind, code);
    const { accepted, dropped } = await accept(pushes);
    // Most deliveries are about layers, and would bury the others.
    if (pushes.length > 0) audit(`accepted ${accepted}, dropped ${dropped}, ignored ${ignored.length}`);
    if (answer !== undefined) return reply.status(200).send(answer);
    return reply.status(accepted > 0 ? 202 : 200).send({ accepted, dropped, ignored: ignored.length });
  } catch (error) {
    audit(`refused: ${asAccelError(error).message}`);
    throw error;
  }
}

/** The request as hooks read it; `body` has the bytes as they came. */
export function hookRequestOf(request: FastifyRequest, body: Buffer): HookRequest {
  const [, query = ''] = request.url.split('?', 2);
  return { headers: request.headers, query: new URLSearchParams(query), body };
}
