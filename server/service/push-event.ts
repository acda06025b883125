/**
 * The notice of a push, as every kind of hook reports it (hooks/), and as `watch`, reconcile and the API make it. It is a hint: what
 * happens is decided from what the registry has now (decision.ts), so an event may come twice, late or out of order.
 */
import { AccelError } from '../../base/error.ts';
import { assertDigest } from '../../oci/digest.ts';
import { assertTag, formatReference, parseRepository } from '../../oci/reference.ts';
import type { Json, NewJob } from './queue.ts';

/** Where an event came from: a kind of hook, or a part of the service. */
export type EventKind =
  | 'distribution'
  | 'harbor'
  | 'github'
  | 'acr'
  | 'acr-azure'
  | 'dockerhub'
  | 'quay'
  | 'artifactory'
  | 'ecr'
  | 'gar'
  | 'zot'
  | 'cloudevents'
  | 'api'
  | 'reconcile'
  | 'watch'
  | 'service';

/** A push. */
export interface PushEvent {
  readonly kind: EventKind;
  /** `host[:port]` of the registry. */
  readonly registry: string;
  /** Repository without the host. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
  /** Media type of the pushed manifest, where the payload names it. */
  readonly mediaType?: string;
  /** Time of the push by the sender's clock, ISO 8601. For people only: nothing is decided by it. */
  readonly at?: string;
  /** Converts even what is up to date; of a request by hand. */
  readonly force?: boolean;
}

/** Returns the event in canonical form. Throws `usage` or `reference-invalid` for names that cannot be. */
export function checkEvent(event: PushEvent): PushEvent {
  const repository = parseRepository(`${event.registry}/${event.repository}`);
  if (repository.kind !== 'registry') {
    throw new AccelError('reference-invalid', 'an event names a repository of a registry', {
      expected: 'HOST/REPOSITORY',
      found: `${event.registry}/${event.repository}`,
    });
  }
  if (event.tag !== undefined) assertTag(event.tag);
  if (event.digest !== undefined) assertDigest(event.digest, 'reference-invalid');
  const name = formatReference(repository);
  const slash = name.indexOf('/');
  return { ...event, registry: name.slice(0, slash), repository: name.slice(slash + 1) };
}

/** `host[:port]/repository` of an event that {@link checkEvent} returned. */
export function repositoryOf({ registry, repository }: Pick<PushEvent, 'registry' | 'repository'>): string {
  return `${registry}/${repository}`;
}

/** Events with the same key are one while they wait: both say "look at this image". */
export function eventKey(event: PushEvent): string {
  const { tag, digest } = event;
  return tag === undefined ? `${repositoryOf(event)}@${digest ?? ''}` : `${repositoryOf(event)}:${tag}`;
}

/** The job that looks at the image of an event that {@link checkEvent} returned. */
export function eventJob(event: PushEvent): NewJob {
  return {
    topic: 'event',
    key: eventKey(event),
    repository: repositoryOf(event),
    data: event as unknown as Json,
    failed: 'revive',
  };
}
