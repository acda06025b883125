/**
 * A client of the API of Kubernetes: get, list, create, replace, patch, delete, and the stream of a watch (kube/kube-watch.ts keeps one
 * going). It decodes one page or one event at a time and keeps only what the caller projects, so memory does not grow with what the
 * objects hold. Every request has a deadline; nothing is retried here.
 */
import { bytesSource } from '../../base/byte-source.ts';
import { asAccelError } from '../../base/error.ts';
import { isTransientError } from '../../http/failure.ts';
import { type HttpRequest, type HttpResponse, Transport } from '../../http/transport.ts';
import type { KubeAccess } from './kube/kube-access.ts';
import { KubeError } from './kube/kube-error.ts';
import { type KubeObject, pathOf, type Resource, type Selection } from './kube/kube-resources.ts';
import { readLines } from './kube/read-lines.ts';

/** One object: where it is. */
export interface ObjectKey {
  readonly namespace?: string | undefined;
  readonly name: string;
}

/** Settings of one call. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Lets the server check and answer without storing anything. */
  readonly dryRun?: boolean;
}

/** The kinds of patch that the API takes. */
export type PatchKind = 'json' | 'merge' | 'apply';

/** A page of a list. */
interface Page {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
  readonly next: string | undefined;
}

/** An event of a watch, as the API writes it. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: KubeObject & { readonly code?: number; readonly reason?: string; readonly message?: string };
}

/** Milliseconds for a request that is no watch. */
const DEADLINE = 15_000;
/** Most bytes of a document or an event; etcd stores 1.5 MiB, a page has up to {@link PAGE} of them. */
const MAX_DOCUMENT = 64 << 20;
const MAX_EVENT = 8 << 20;
/** Objects in a page. */
const PAGE = 500;
/** Most pages of a list, a million objects; a cluster has at most 150,000 pods (kubernetes.io, "Considerations for large clusters"). */
const MAX_PAGES = 2_000;
/** Milliseconds for all pages of a list: the server forgets the version that they are of after five minutes (etcd's compaction). */
const LIST_DEADLINE = 600_000;
/** Bytes of an explanation that are read. */
const MAX_STATUS = 64 * 1024;
/** Milliseconds without a byte after which a watch counts as broken: the server sends bookmarks about every minute. */
const WATCH_STALL = 150_000;
/** Asks for objects without spec and status. */
const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';
const METADATA_EVENTS = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json';

const PATCH_TYPES: Readonly<Record<PatchKind, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** A client. All methods throw a {@link KubeError}, or the signal's reason. */
export class KubeClient {
  readonly #access: KubeAccess;
  readonly #transport: Transport;
  /** Watches are silent for a minute at a time, which a request may not be. */
  readonly #streams: Transport;
  readonly #deadline: number;

  private constructor(
    access: KubeAccess,
    { requests, streams }: { readonly requests: Transport; readonly streams: Transport },
    deadline: number,
  ) {
    this.#access = access;
    this.#transport = requests;
    this.#streams = streams;
    this.#deadline = deadline;
  }

  /** A client; it connects with the first request. `deadline`: milliseconds for a request that is no watch. */
  static async open(access: KubeAccess, deadline = DEADLINE): Promise<KubeClient> {
    const { pem, insecure } = access;
    const common = { pem, insecure, minRate: 0 };
    return new KubeClient(
      access,
      {
        requests: await Transport.open(common),
        streams: await Transport.open({ ...common, runtime: { stallTimeout: WATCH_STALL } }),
      },
      deadline,
    );
  }

  /** Closes all connections, also those of watches. */
  async close(): Promise<void> {
    await Promise.all([this.#transport.close(), this.#streams.close()]);
  }

  /** Reads an object. */
  async get<T extends KubeObject>(resource: Resource, key: ObjectKey, options?: CallOptions): Promise<T> {
    return (await this.#call('GET', resource, key, options)) as T;
  }

  /** Reads an object; undefined where it does not exist. */
  async find<T extends KubeObject>(resource: Resource, key: ObjectKey, options?: CallOptions): Promise<T | undefined> {
    return unlessMissing(() => this.get<T>(resource, key, options));
  }

  /** Creates an object; its name may be left to the server by `generateName`. */
  async create<T extends KubeObject>(resource: Resource, object: T, options?: CallOptions): Promise<T> {
    const { namespace } = object.metadata;
    return (await this.#call('POST', resource, { namespace, name: undefined }, { ...options, body: object })) as T;
  }

  /** Replaces an object. With its resourceVersion it fails with the reason `Conflict` where somebody else has changed it. */
  async replace<T extends KubeObject>(
    resource: Resource,
    object: T,
    options?: CallOptions & {
      /** A part of the object that is written by itself, such as its status. */
      readonly part?: string;
    },
  ): Promise<T> {
    return (await this.#call('PUT', resource, object.metadata, { ...options, body: object })) as T;
  }

  /** Patches an object; `apply` needs the name of a field manager. */
  async patch<T extends KubeObject>(
    resource: Resource,
    key: ObjectKey,
    patch: { readonly kind: PatchKind; readonly content: unknown; readonly manager?: string },
    options?: CallOptions,
  ): Promise<T> {
    const query = patch.manager === undefined ? {} : { fieldManager: patch.manager, force: 'true' };
    const type = PATCH_TYPES[patch.kind];
    return (await this.#call('PATCH', resource, key, { ...options, query, body: patch.content, type })) as T;
  }

  /** Deletes an object; false where it does not exist. With `uid` only that very object. */
  async remove(
    resource: Resource,
    key: ObjectKey,
    options: CallOptions & { readonly uid?: string } = {},
  ): Promise<boolean> {
    const { uid, ...others } = options;
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', ...(uid === undefined ? {} : { preconditions: { uid } }) };
    return (await unlessMissing(() => this.#call('DELETE', resource, key, { ...others, body }))) !== undefined;
  }

  /**
   * Lists all objects, page by page, and calls `take` with each; the version from which a watch goes on. `metadataOnly` leaves spec, data
   * and status at the server. Fails with the reason `endless` where the pages have no end: one leads to itself, or they are too many or
   * take too long; `take` has been called with what came until then.
   */
  async list(
    resource: Resource,
    selection: Selection & { readonly metadataOnly?: boolean },
    take: (object: KubeObject) => void,
    options: CallOptions = {},
  ): Promise<string> {
    const started = performance.now();
    let asked: string | undefined;
    for (let pages = 1; pages <= MAX_PAGES && performance.now() - started < LIST_DEADLINE; pages += 1) {
      const { items, resourceVersion, next } = await this.#page(resource, selection, asked, options);
      for (const object of items) take(object);
      if (next === undefined) return resourceVersion;
      if (next === asked) throw endless(resource, selection, 'a page names itself as the next one');
      asked = next;
    }
    throw endless(resource, selection, `more than ${MAX_PAGES} pages, or than ${LIST_DEADLINE / 60_000} minutes`);
  }

  /** The events of a watch from a version on, until the server ends it. */
  async *watch(
    resource: Resource,
    selection: Selection & { readonly metadataOnly?: boolean; readonly from: string; readonly seconds: number },
    options: CallOptions = {},
  ): AsyncGenerator<WatchEvent, void, undefined> {
    const url = this.#url(pathOf(resource, selection.namespace), {
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: selection.from,
      timeoutSeconds: String(selection.seconds),
      labelSelector: selection.labelSelector,
      fieldSelector: selection.fieldSelector,
    });
    const where = { path: url.pathname };
    const headers = await this.#headers(selection.metadataOnly === true ? METADATA_EVENTS : 'application/json');
    const { signal } = options;
    const response = await this.#send(this.#streams, { method: 'GET', url, headers, stream: true, signal }, signal);
    if (response.status !== 200) throw await failureOf(response, where);
    try {
      for await (const line of readLines(response.body, MAX_EVENT)) yield parsed<WatchEvent>(line, where);
    } catch (error) {
      throw broken(error, where, signal);
    }
  }

  async #page(
    resource: Resource,
    selection: Selection & { readonly metadataOnly?: boolean },
    next: string | undefined,
    { signal }: CallOptions,
  ): Promise<Page> {
    const { namespace, labelSelector, fieldSelector, metadataOnly = false } = selection;
    const url = this.#url(pathOf(resource, namespace), {
      limit: String(PAGE),
      continue: next,
      labelSelector,
      fieldSelector,
    });
    const accept = metadataOnly ? METADATA_ONLY : 'application/json';
    const list = (await this.#document({ method: 'GET', url, headers: await this.#headers(accept), signal })) as {
      readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
      readonly items?: readonly KubeObject[];
    };
    const { resourceVersion = '', continue: token } = list.metadata ?? {};
    return { items: list.items ?? [], resourceVersion, next: token === '' ? undefined : token };
  }

  async #call(
    method: HttpRequest['method'],
    resource: Resource,
    { namespace, name }: { readonly namespace?: string | undefined; readonly name: string | undefined },
    options: CallOptions & {
      readonly body?: unknown;
      readonly type?: string;
      readonly query?: Record<string, string>;
      readonly part?: string;
    } = {},
  ): Promise<unknown> {
    const { signal, dryRun, body, type = 'application/json', query, part } = options;
    const path = pathOf(resource, namespace, name);
    const url = this.#url(part === undefined ? path : `${path}/${part}`, {
      ...query,
      ...(dryRun === true ? { dryRun: 'All' } : {}),
    });
    const bytes = body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body));
    const headers = await this.#headers('application/json');
    return this.#document({
      method,
      url,
      headers: bytes === undefined ? headers : { ...headers, 'content-type': type },
      ...(bytes === undefined ? {} : { body: { source: bytesSource(bytes), size: bytes.length } }),
      signal,
    });
  }

  async #document(request: HttpRequest): Promise<unknown> {
    const { signal } = request;
    const deadline = AbortSignal.timeout(this.#deadline);
    const where = { method: request.method, path: request.url.pathname };
    const bounded = { ...request, signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]) };
    const response = await this.#send(this.#transport, bounded, signal);
    if (response.status >= 300) throw await failureOf(response, where);
    try {
      return parsed(await response.text(MAX_DOCUMENT), where);
    } catch (error) {
      throw broken(error, where, signal);
    }
  }

  async #send(transport: Transport, request: HttpRequest, caller: AbortSignal | undefined): Promise<HttpResponse> {
    try {
      return await transport.send(request);
    } catch (error) {
      throw broken(error, { method: request.method, path: request.url.pathname }, caller);
    }
  }

  async #headers(accept: string): Promise<Record<string, string>> {
    const authorization = await this.#access.authorization();
    return { accept, ...(authorization === undefined ? {} : { authorization }) };
  }

  #url(path: string, query: Readonly<Record<string, string | undefined>>): URL {
    const { server } = this.#access;
    const url = new URL(`${server.pathname.replace(/\/$/, '')}${path}`, server);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    return url;
  }
}

type Where = Readonly<Record<string, string>>;

async function failureOf(response: HttpResponse, where: Where): Promise<KubeError> {
  const text = await response.excerpt(MAX_STATUS).catch(() => '');
  const said = Number(response.header('retry-after'));
  let status: { readonly message?: unknown; readonly reason?: unknown } = {};
  try {
    status = JSON.parse(text) as typeof status;
  } catch {
    // A proxy, or a server that is ending, answers in its own words.
  }
  return new KubeError(String(status?.message ?? `the API answered ${response.status}`), {
    status: response.status,
    reason: String(status?.reason ?? (response.status === 410 ? 'Expired' : 'unknown')),
    retryAfter: Number.isFinite(said) && said > 0 ? said * 1000 : undefined,
    where,
  });
}

/** A list that would be read for ever: no server of Kubernetes makes one, a proxy before it or a server of another make may. */
function endless(resource: Resource, { namespace }: Selection, found: string): KubeError {
  return new KubeError(`the list of ${resource.plural} has no end: ${found}`, {
    status: 0,
    reason: 'endless',
    where: { method: 'GET', path: pathOf(resource, namespace) },
  });
}

/** An error of the connection; the signal's reason where the caller has ended it. */
function broken(error: unknown, where: Where, signal: AbortSignal | undefined): unknown {
  if (error instanceof KubeError) return error;
  if (signal?.aborted === true) return signal.reason;
  const isTime = error instanceof Error && error.name === 'TimeoutError';
  if (!isTime && !isTransientError(error) && asAccelError(error).code === 'usage') return error;
  return new KubeError(`the API of Kubernetes does not answer: ${(error as Error).message}`, {
    status: 0,
    reason: isTime ? 'Timeout' : 'unreachable',
    where,
    cause: error,
  });
}

function parsed<T>(text: string, where: Where): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new KubeError('the API answered something that is no JSON', { status: 0, reason: 'malformed', where, cause });
  }
}

async function unlessMissing<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof KubeError && error.reason === 'NotFound') return undefined;
    throw error;
  }
}
