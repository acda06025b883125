/**
 * Records the answer to one client, once: what was read of a blob or of another document, or that the request failed, whatever
 * the reason. The time runs from the request to the end of the answer.
 */
import type { ServerResponse } from 'node:http';
import type { Activity } from '../telemetry/activity.ts';

/** See the head of the file. */
export class ClientRecord {
  readonly #activity: Activity;
  readonly #started = performance.now();
  /** Names the place that is asked for, `https://host/path`, without query and credentials. */
  pathname: string;
  /** First byte of the blob that is asked for. */
  offset = 0;
  /** A status that is no failure of the request, though it is none of success. */
  expected: number | undefined;
  /** Bytes of a manifest or another document in the answer. */
  document: number | undefined;
  #isDone = false;

  constructor(activity: Activity, response: ServerResponse, pathname: string) {
    this.#activity = activity;
    this.pathname = pathname;
    response.once('close', () => this.#ended(response));
  }

  /** The client has had so many bytes of a blob; nothing more is recorded. */
  read(digest: string, bytes: number): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#activity.note('client', { digest, offset: this.offset, bytes, started: this.#started });
  }

  #ended({ statusCode, writableFinished }: ServerResponse): void {
    if (this.#isDone) return;
    const { pathname, offset, document } = this;
    const failed = !writableFinished || (statusCode >= 400 && statusCode !== this.expected);
    if (!failed && document === undefined) return;
    const bytes = failed ? undefined : document;
    this.#activity.noteRequest('client', { pathname, offset, bytes, started: this.#started });
  }
}

/** A host as `ns` names it, with its port. */
const HOST = /^[A-Za-z0-9.-]+(?::\d{1,5})?$/;
/** Paths that can hold neither a user and password nor an encoded query. */
const PLAIN_PATH = /^\/v2(?:\/[A-Za-z0-9._/:-]*)?$/;

/** Names what a request asks for that leads to no registry of the configuration, as far as it may be written down. */
export function unknownPathname(rawUrl: string): string {
  const at = rawUrl.indexOf('?');
  const path = at < 0 ? rawUrl : rawUrl.slice(0, at);
  if (!PLAIN_PATH.test(path)) return '/v2/';
  const host = at < 0 ? null : new URLSearchParams(rawUrl.slice(at)).get('ns');
  return host !== null && HOST.test(host) ? `https://${host}${path}` : path;
}

/** A place at a registry without query and credentials. */
export function placeOf({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname}`;
}
