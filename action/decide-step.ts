/** Chooses the image of a run of the Action: the one that the inputs name, or the one that the event is about. */
import { AccelError } from '../base/error.ts';
import { readPayload } from '../cli/event-report.ts';
import type { Environment } from '../cli/terminal.ts';
import { type DecideContext, decideEvent, decideImage, type EventDecision } from '../triggers/decide.ts';
import { IMAGE_EVENTS } from '../triggers/payload.ts';
import type { ActionInputs } from './inputs.ts';

/** A decision, and whether an event brought it about. */
export interface Decided {
  readonly decision: EventDecision;
  readonly byEvent: boolean;
}

/** Decides. Throws `usage` when neither inputs nor event name an image. */
export async function decideAction(inputs: ActionInputs, env: Environment, context: DecideContext): Promise<Decided> {
  const { repository, tag, digest, expression } = inputs;
  if (tag !== undefined || digest !== undefined) {
    if (repository === undefined)
      throw new AccelError('usage', 'the input repository is missing', {
        expected: 'host[:port]/name, beside the tag',
      });
    return { decision: await decideImage({ repository, tag, digest, expression }, context), byEvent: false };
  }
  const name = env.GITHUB_EVENT_NAME ?? '';
  const file = env.GITHUB_EVENT_PATH ?? '';
  if (!IMAGE_EVENTS.some((known) => known === name) || file === '') {
    throw new AccelError('usage', 'there is no image to look at', {
      expected: `the inputs repository and tag, or an event ${IMAGE_EVENTS.join(', ')}`,
      found: `the event ${name || '(none)'}`,
      hint: 'Set repository and tag in the step, or run it on an event that names an image.',
    });
  }
  // Whoever may send the event would say where the password goes.
  if (name === 'repository_dispatch' && repository === undefined && inputs.registry.username !== undefined) {
    throw new AccelError('usage', 'a password was given, and the event says to which registry it would go', {
      where: { event: name },
      hint: 'Set the input repository, or log in with docker/login-action, which ties the password to its registry.',
    });
  }
  const payload = await readPayload(file);
  return { decision: await decideEvent({ name, payload, repository, expression }, context), byEvent: true };
}
