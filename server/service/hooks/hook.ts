/**
 * A hook reads the notification of one kind of registry. Hooks are pure: a request in, pushes out. Who sent it is checked before
 * (authenticate.ts), and what the pushes call for is decided later, from what the registry has then (decision.ts).
 */
import { AccelError } from '../../../base/error.ts';
import { isRecord } from '../../../base/is-record.ts';
import { parseReference } from '../../../oci/reference.ts';
import type { EventKind, PushEvent } from '../push-event.ts';
import type { Json } from '../queue.ts';

/** Kinds of registries whose notifications are understood; the last part of the receiver's path, `/hooks/KIND`. */
export type HookKind = Exclude<EventKind, 'api' | 'reconcile' | 'watch' | 'service'>;

/** A notification as it arrived. */
export interface HookRequest {
  /** Header fields by name in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly query: URLSearchParams;
  readonly body: Buffer;
}

/** Settings of the sender in the configuration. */
export interface HookSettings {
  /**
   * `host[:port]` of the registry as rules name it: for senders that do not say it, or know it by another name. Artifactory
   * replaces `{repo}` in it by the key of the repository.
   */
  readonly registry?: string;
}

/** Reason why an event of a notification is not the push of a tag. */
export type IgnoredCode = 'untagged' | 'other-action' | 'not-an-image';

/** The content of a notification. */
export interface HookReading {
  readonly pushes: readonly PushEvent[];
  /** The events that are no push of a tag, by reason. */
  readonly ignored: readonly IgnoredCode[];
  /** The body of the answer, for senders that want one. */
  readonly reply?: Json;
}

/**
 * Reads a notification. Throws `usage` for one that does not have the form that its maker documents. Names in the pushes are as they
 * were sent: {@link checkEvent} of push-event.ts validates them.
 */
export type Hook = (request: HookRequest, settings: HookSettings) => HookReading;

/** Collects the pushes of a notification. */
export class Reading implements HookReading {
  readonly pushes: PushEvent[] = [];
  readonly ignored: IgnoredCode[] = [];

  /** Adds a push; without a tag it is ignored, as the push of one platform of an index is. */
  push(event: PushEvent): this {
    if (event.tag === undefined) this.ignored.push('untagged');
    else this.pushes.push(event);
    return this;
  }

  /** Counts an event that is no push of a tag. */
  ignore(code: IgnoredCode): this {
    this.ignored.push(code);
    return this;
  }
}

/** The body as a JSON object. Throws `usage`. */
export function objectOf({ body }: HookRequest, kind: HookKind): Record<string, unknown> {
  const document = documentOf(body, kind);
  if (!isRecord(document)) throw malformed(kind, 'the body', 'a JSON object', document);
  return document;
}

/** The body as JSON. Throws `usage`. */
export function documentOf(body: Buffer, kind: HookKind): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw malformed(kind, 'the body', 'JSON', `${body.length} bytes`);
  }
}

/** A field that must be an object. Throws `usage`. */
export function recordAt(value: unknown, kind: HookKind, place: string): Record<string, unknown> {
  if (!isRecord(value)) throw malformed(kind, place, 'an object', value);
  return value;
}

/** A field that must be text. Throws `usage`. */
export function textAt(value: unknown, kind: HookKind, place: string): string {
  const text = textOf(value);
  if (text === undefined) throw malformed(kind, place, 'text', value);
  return text;
}

/** A field that may be missing, null, empty or of another type. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** `{name: text}` where there is text; for optional fields of an event. */
export function optional<Name extends string>(name: Name, value: unknown): { readonly [_ in Name]?: string } {
  const text = textOf(value);
  return text === undefined ? {} : ({ [name]: text } as { readonly [_ in Name]: string });
}

/** The host of the settings, or the one that was sent. Throws `usage` where neither names one. */
export function registryOf({ registry }: HookSettings, sent: unknown, kind: HookKind): string {
  const host = registry ?? textOf(sent);
  if (host !== undefined) return host;
  throw new AccelError('usage', `notifications of ${kind} do not name their registry`, {
    where: { hook: kind },
    expected: `service.hooks.${kind}.registry in the configuration`,
    found: 'none',
  });
}

/** Splits `HOST/REPOSITORY[:TAG][@DIGEST]`. Throws `usage`. */
export function splitReference(text: string, kind: HookKind, place: string): Omit<PushEvent, 'kind' | 'at'> {
  try {
    const reference = parseReference(text);
    if (reference.kind === 'registry') {
      const { registry, repository, tag, digest } = reference;
      return { registry, repository, ...optional('tag', tag), ...optional('digest', digest) };
    }
  } catch {
    // One error for all of them, below.
  }
  throw malformed(kind, place, 'HOST/REPOSITORY with a tag or digest', text);
}

/** True for a media type of a manifest or an index; also for none, since old senders leave it out. */
export function isManifest(mediaType: unknown): boolean {
  const text = textOf(mediaType);
  return (
    text === undefined || /^application\/vnd\.(oci\.image\.(manifest|index)|docker\.distribution\.manifest)/.test(text)
  );
}

/** The error about a notification that its maker's documentation does not describe. */
export function malformed(kind: HookKind, place: string, expected: string, found: unknown): AccelError {
  const shown =
    typeof found === 'string'
      ? found.slice(0, 200)
      : found === null
        ? 'null'
        : Array.isArray(found)
          ? 'an array'
          : typeof found;
  return new AccelError('usage', `a notification that is not of the kind ${kind}`, {
    where: { hook: kind, field: place },
    expected,
    found: found === undefined ? 'nothing' : shown,
    hint: 'service.hooks of the configuration has a key for each kind.',
  });
}
