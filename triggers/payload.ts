/**
 * Extracts the image that an event is about from the payloads that GitHub documents (docs.github.com, "Webhook events and
 * payloads"): `registry_package` and its twin `package`, and `repository_dispatch`. Pure: reads only the payload.
 */
import { AccelError } from '../base/error.ts';
import { isRecord } from '../base/is-record.ts';

/** An image that was pushed, or is to be converted. Tag and digest are not validated yet. */
export interface ImageNotice {
  /** `host[:port]/repo`; undefined when the event leaves it to the caller. */
  readonly repository?: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** Reason to skip an event; scripts may rely on the words. */
export type SkipCode =
  // from the payload
  | 'no-image'
  | 'other-action'
  | 'not-a-container'
  | 'untagged'
  | 'other-repository'
  | 'referrer-tag'
  | 'cache-tag'
  // from the content of the registry
  | 'gone'
  | 'not-an-image'
  | 'already-accelerated'
  | 'named-accelerated'
  | 'reported-with-other';

/** A skipped event. */
export interface Skip {
  readonly code: SkipCode;
  /** For people, one line. */
  readonly reason: string;
}

/** The content of a payload. */
export type EventReading = { readonly kind: 'image'; readonly image: ImageNotice } | ({ readonly kind: 'skip' } & Skip);

/** The events that name an image. */
export const IMAGE_EVENTS = ['registry_package', 'package', 'repository_dispatch'] as const;

/** Actions of a package event that publish an image. */
const PACKAGE_ACTIONS: readonly unknown[] = ['published', 'updated'];
const CONTAINER_TYPES: readonly string[] = ['container', 'docker'];
const CONTAINER_HOST = 'ghcr.io';
const DIGEST = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Reads a payload. Throws `usage` if it is malformed for an event of this name. */
export function readEvent(name: string, payload: unknown): EventReading {
  if (!isRecord(payload)) throw malformed(name, 'the payload', 'a JSON object', payload);
  if (name === 'registry_package' || name === 'package') return readPackage(name, payload);
  if (name === 'repository_dispatch') return readDispatch(payload);
  return skip('no-image', `the event ${name || 'of no name'} names no image`);
}

/** Guesses the name of an event from the fields of its payload. */
export function guessEventName(payload: unknown): string | undefined {
  if (!isRecord(payload)) return undefined;
  if (isRecord(payload.registry_package)) return 'registry_package';
  if (isRecord(payload.package)) return 'package';
  return 'client_payload' in payload ? 'repository_dispatch' : undefined;
}

function readPackage(name: string, payload: Record<string, unknown>): EventReading {
  const pack = payload[name];
  if (!isRecord(pack)) throw malformed(name, name, 'an object', pack);
  if (!PACKAGE_ACTIONS.includes(payload.action))
    return skip('other-action', `the action is ${textOf(payload.action) ?? 'missing'}, not published or updated`);
  const version = isRecord(pack.package_version) ? pack.package_version : {};
  if (!isContainer(pack, version))
    return skip('not-a-container', `a package of type ${textOf(pack.package_type) ?? 'unknown'}, not a container`);
  const url = splitUrl(textOf(version.package_url) ?? '');
  const repository = url.repository ?? repositoryByName(pack);
  if (repository === undefined)
    throw malformed(name, `${name}.package_version.package_url`, 'HOST/NAME:TAG', undefined);
  const container = isRecord(version.container_metadata) ? version.container_metadata : {};
  const named = isRecord(container.tag) ? container.tag : {};
  const manifest = isRecord(container.manifest) ? container.manifest : {};
  const tag = textOf(named.name) ?? url.tag ?? tagOfVersion(version);
  const digest = [named.digest, manifest.digest, version.version].map(textOf).find((text) => DIGEST.test(text ?? ''));
  // A push of an index comes as one event for the index and one for each manifest in it; those have no tag.
  if (tag === undefined) return skip('untagged', 'a manifest without a tag, such as one platform of an index');
  return { kind: 'image', image: { repository, tag, ...(digest === undefined ? {} : { digest }) } };
}

/** `package_type` differs between payloads and is wrong in the documented one; any of these fields is sufficient. */
function isContainer(pack: Record<string, unknown>, version: Record<string, unknown>): boolean {
  if (isRecord(version.container_metadata)) return true;
  const registry = isRecord(pack.registry) ? pack.registry : {};
  const types = [pack.package_type, pack.ecosystem, registry.type].map((type) => textOf(type)?.toLowerCase() ?? '');
  return types.some((type) => CONTAINER_TYPES.includes(type));
}

/** `ghcr.io/Owner/Name:tag`, where the tag may be empty; registries want names in lower case. */
function splitUrl(text: string): { readonly repository?: string; readonly tag?: string } {
  const [named = ''] = text.split('@');
  const slash = named.indexOf('/');
  if (slash <= 0) return {};
  const colon = named.indexOf(':', named.lastIndexOf('/'));
  const tag = colon < 0 ? '' : named.slice(colon + 1);
  const repository = (colon < 0 ? named : named.slice(0, colon)).toLowerCase();
  return { repository, ...(tag === '' ? {} : { tag }) };
}

/** The owner is part of `namespace` in some payloads, and all of it in others. */
function repositoryByName(pack: Record<string, unknown>): string | undefined {
  const name = textOf(pack.name);
  const namespace = textOf(pack.namespace);
  const owner = textOf(isRecord(pack.owner) ? pack.owner.login : undefined) ?? namespace?.split('/')[0];
  if (name === undefined || owner === undefined) return undefined;
  const path = namespace?.endsWith(`/${name}`) === true ? namespace : `${owner}/${name}`;
  return `${CONTAINER_HOST}/${path}`.toLowerCase();
}

/** The older registry (docker.pkg.github.com) had the tag as the version. */
function tagOfVersion({ version, docker_metadata: metadata }: Record<string, unknown>): string | undefined {
  const [first] = Array.isArray(metadata) ? metadata : [];
  const tags: unknown = isRecord(first) ? first.tags : undefined;
  if (Array.isArray(tags)) return textOf(tags[0]);
  const text = textOf(version);
  return text === undefined || /^sha(256|512):/.test(text) ? undefined : text;
}

function readDispatch(payload: Record<string, unknown>): EventReading {
  const { client_payload: sent } = payload;
  if (!isRecord(sent))
    throw malformed('repository_dispatch', 'client_payload', 'an object with repository and tag', sent);
  const image: Record<string, string> = {};
  for (const field of ['repository', 'tag', 'digest'] as const) {
    const value = sent[field];
    if (value === undefined || value === null || value === '') continue;
    if (typeof value !== 'string') throw malformed('repository_dispatch', `client_payload.${field}`, 'text', value);
    image[field] = value;
  }
  if (image.tag === undefined && image.digest === undefined)
    return skip('no-image', 'client_payload has neither tag nor digest');
  return { kind: 'image', image };
}

function skip(code: SkipCode, reason: string): EventReading {
  return { kind: 'skip', code, reason };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function malformed(event: string, field: string, expected: string, found: unknown): AccelError {
  return new AccelError('usage', `this is not the payload of an event ${event}`, {
    where: { field },
    expected,
    found: found === undefined ? 'nothing' : (JSON.stringify(found)?.slice(0, 200) ?? typeof found),
    hint: 'Pass the payload as GitHub sent it (the file that GITHUB_EVENT_PATH names).',
  });
}
