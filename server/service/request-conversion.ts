/** A conversion that somebody asks for by hand: looked at while the caller waits, or later where the registry does not answer. */
import { AccelError, asAccelError } from '../../base/error.ts';
import { parseReference } from '../../oci/reference.ts';
import type { ManualAnswer, ManualRequest } from './app-context.ts';
import { decidePush } from './decide-push.ts';
import { checkEvent, eventJob, type PushEvent, repositoryOf } from './push-event.ts';
import type { Queue } from './queue.ts';
import { failureOf } from './retries.ts';
import type { ServiceSettings } from './service-settings.ts';

/** Decides about the image and adds its conversion. Throws `usage` for an image that no rule covers, QueueError where the store refuses. */
export async function requestConversion(
  { image, force }: ManualRequest,
  { queue, settings }: { readonly queue: Queue; readonly settings: ServiceSettings },
  signal: AbortSignal,
): Promise<ManualAnswer> {
  const event = eventOf(image, force);
  const { rule } = settings.rules.match({
    repository: repositoryOf(event),
    ...(event.tag === undefined ? {} : { tag: event.tag }),
  });
  if (rule === undefined) {
    throw new AccelError('usage', 'no rule covers this image', {
      where: { image },
      expected: 'an image that one of the rules of the configuration covers',
      hint: `accel serve check ${image} says why each rule does not.`,
    });
  }
  const decision = await decidePush(event, { ...settings, signal }).catch((error: unknown) => {
    if (!signal.aborted && !failureOf(error).temporary) throw error;
    return asAccelError(error);
  });
  if (decision instanceof AccelError) {
    await queue.add([eventJob(event)]);
    return { decision: 'accepted', reason: `it is looked at later: ${decision.message}` };
  }
  const { code, reason, jobs } = decision;
  const [added] = jobs.length === 0 ? [] : await queue.add(jobs);
  return { decision: code, reason, ...(added === undefined ? {} : { id: added.id }) };
}

function eventOf(image: string, force: boolean): PushEvent {
  const reference = parseReference(image);
  if (reference.kind !== 'registry' || reference.tag === undefined) {
    throw new AccelError('reference-invalid', 'an image of a registry, with its tag, can be converted here', {
      expected: 'HOST/REPOSITORY:TAG',
      found: image,
    });
  }
  const { registry, repository, tag } = reference;
  return checkEvent({ kind: 'api', registry, repository, tag, ...(force ? { force } : {}) });
}
