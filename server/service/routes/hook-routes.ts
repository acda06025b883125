/** `POST /hooks/KIND`: the notifications of registries. A 2xx means that the events are on disk. */
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { AccelError, asAccelError } from '../../../base/error.ts';
import type { AppContext } from '../app-context.ts';
import { isAuthentic } from '../hooks/authenticate.ts';
import type { ConfiguredHook } from '../hooks/configured-hooks.ts';
import type { HookKind, HookRequest } from '../hooks/hook.ts';
import { HOOKS } from '../hooks/receivers.ts';

/** Registers the receivers. All kinds have a route; one that is not configured answers 404 and says so. */
export const hookRoutes: FastifyPluginAsync<AppContext> = async (app, context) => {
  // The bytes as they came: signatures are over them, and senders name all sorts of content types.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  for (const kind of Object.keys(HOOKS) as HookKind[]) {
    const schema = { summary: `Notifications of ${kind}`, tags: ['hooks'], hide: true };
    app.post(`/hooks/${kind}`, { schema }, async (request, reply) => {
      const hook = context.hooks().get(kind);
      if (hook === undefined) {
        throw new AccelError('not-found', `notifications of ${kind} are not received here`, {
          expected: `service.hooks.${kind} in the configuration`,
        });
      }
      return receive({ kind, hook, request, reply }, hookRequestOf(request), context);
    });
  }
};

interface Delivery {
  readonly kind: HookKind;
  readonly hook: ConfiguredHook;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Checks the sender, accepts the pushes and answers. */
export async function receive(delivery: Delivery, sent: HookRequest, context: AppContext): Promise<FastifyReply> {
  const { kind, hook, request, reply } = delivery;
  const audit = (outcome: string): void =>
    context.audit({ caller: `hook:${kind}`, from: request.ip, action: 'notify', subject: kind, outcome });
  if (!isAuthentic(kind, sent, hook.secrets)) {
    audit('refused: wrong or no secret');
    throw new AccelError('unauthorized', `the sender does not know the secret of service.hooks.${kind}`);
  }
  try {
    const { pushes, ignored, reply: answer } = HOOKS[kind](sent, hook.settings);
    for (const code of ignored) context.onIgnored(kind, code);
    const { accepted, dropped } = await context.sink.accept(pushes);
    // Most deliveries are about layers, and would bury the others.
    if (pushes.length > 0) audit(`accepted ${accepted}, dropped ${dropped}, ignored ${ignored.length}`);
    if (answer !== undefined) return reply.status(200).send(answer);
    return reply.status(accepted > 0 ? 202 : 200).send({ accepted, dropped, ignored: ignored.length });
  } catch (error) {
    audit(`refused: ${asAccelError(error).message}`);
    throw error;
  }
}

function hookRequestOf(request: FastifyRequest): HookRequest {
  const [, query = ''] = request.url.split('?', 2);
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  return { headers: request.headers, query: new URLSearchParams(query), body };
}
