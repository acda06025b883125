/**
 * The half of the demo registry that takes pushes: blobs go into the layout's folder, tags stay in memory, and each push of a manifest
 * is notified as distribution does it. Source: OCI distribution specification, "Push"; distribution's documentation, "Work with
 * notifications".
 */
import { createHash, randomUUID } from 'node:crypto';
import { appendFile, readFile, rename, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';

/** Bytes of the largest manifest that is taken. */
const MAX_MANIFEST = 4 * 2 ** 20;
/** Tries to deliver a notification, and milliseconds between two of them. */
const TRIES = 10;
const AGAIN_AFTER = 1000;

/** Where notifications go. */
export interface NotificationEndpoint {
  readonly url: string;
  /** The whole header field `Authorization`. */
  readonly authorization: string;
}

/** A request for something of a repository. */
export interface PushRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
}

/** Images that were pushed. */
export class PushedImages {
  readonly #folder: string;
  /** Digests by repository, then by tag or digest. */
  readonly #manifests = new Map<string, Map<string, string>>();
  endpoint: NotificationEndpoint | undefined;

  /** `folder` is that of the layout. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The digest that a tag or digest has in a repository. */
  find(repository: string, reference: string): string | undefined {
    return this.#manifests.get(repository)?.get(reference);
  }

  /** Answers what belongs to a push, or to a list of tags or repositories; false for anything else. */
  async answer({ request, response, url }: PushRequest): Promise<boolean> {
    const { pathname } = url;
    if (pathname === '/v2/_catalog') {
      send(response, 200, { repositories: [...this.#manifests.keys()] });
      return true;
    }
    const [, repository = '', rest = ''] =
      /^\/v2\/(.+?)\/(tags\/list|blobs\/uploads\/.*|manifests\/.+)$/.exec(pathname) ?? [];
    const [kind, reference = ''] = rest.split('/').filter((part) => part !== 'uploads');
    if (kind === 'tags') this.#listTags(response, repository);
    else if (kind === 'blobs') await this.#upload({ request, response, url }, repository, reference);
    else if (kind === 'manifests' && request.method === 'PUT') {
      await this.#putManifest({ request, response, url }, repository, reference);
    } else return false;
    return true;
  }

  #listTags(response: ServerResponse, name: string): void {
    const tags = [...(this.#manifests.get(name)?.keys() ?? [])].filter((tag) => !tag.includes(':')).sort();
    send(response, this.#manifests.has(name) ? 200 : 404, { name, tags });
  }

  async #upload({ request, response, url }: PushRequest, repository: string, id: string): Promise<void> {
    const place = (upload: string): string => `/v2/${repository}/blobs/uploads/${upload}`;
    if (request.method === 'POST') {
      const mounted = url.searchParams.get('mount') ?? '';
      if (await this.#has(mounted)) return blobCreated(response, repository, mounted);
      const upload = randomUUID();
      await writeFile(this.#uploadPath(upload), '');
      response.setHeader('location', place(upload));
      return send(response, 202, {});
    }
    if (!/^[0-9a-f-]{36}$/.test(id) || (request.method !== 'PATCH' && request.method !== 'PUT')) {
      return send(response, 404, {});
    }
    const path = this.#uploadPath(id);
    for await (const chunk of request) await appendFile(path, chunk as Buffer);
    const { size } = await stat(path);
    if (request.method === 'PATCH') {
      response.setHeader('location', place(id)).setHeader('range', `0-${Math.max(0, size - 1)}`);
      return send(response, 202, {});
    }
    const digest = url.searchParams.get('digest') ?? '';
    if (digestOf(await readFile(path)) !== digest) return send(response, 400, problem('DIGEST_INVALID'));
    await rename(path, this.#blobPath(digest));
    blobCreated(response, repository, digest);
  }

  async #putManifest({ request, response }: PushRequest, repository: string, reference: string): Promise<void> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of request) {
      size += (chunk as Buffer).length;
      if (size > MAX_MANIFEST) return send(response, 413, problem('SIZE_INVALID'));
      chunks.push(chunk as Buffer);
    }
    const bytes = Buffer.concat(chunks);
    const digest = digestOf(bytes);
    if (reference.includes(':') && reference !== digest) return send(response, 400, problem('DIGEST_INVALID'));
    await writeFile(this.#blobPath(digest), bytes);
    const named = this.#manifests.get(repository) ?? new Map<string, string>();
    this.#manifests.set(repository, named.set(reference, digest).set(digest, digest));
    response.setHeader('location', `/v2/${repository}/manifests/${digest}`).setHeader('docker-content-digest', digest);
    send(response, 201, {});
    const target = { mediaType: request.headers['content-type'], size, length: size, digest, repository };
    const tag = reference.includes(':') ? {} : { tag: reference };
    void this.#notify({
      id: randomUUID(),
      timestamp: new Date().toISOString(),
      action: 'push',
      target: { ...target, ...tag },
      request: {
        id: randomUUID(),
        host: request.headers.host,
        method: 'PUT',
        useragent: request.headers['user-agent'],
      },
    });
  }

  /** Sends one event, again and again for a while; a real registry would keep it longer. */
  async #notify(event: object): Promise<void> {
    const { endpoint } = this;
    if (endpoint === undefined) return;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const answer = await fetch(endpoint.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/vnd.docker.distribution.events.v1+json',
          authorization: endpoint.authorization,
        },
        body: JSON.stringify({ events: [event] }),
      }).catch(() => undefined);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER).unref());
    }
  }

  async #has(digest: string): Promise<boolean> {
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) return false;
    return stat(this.#blobPath(digest)).then(
      () => true,
      () => false,
    );
  }

  #blobPath(digest: string): string {
    return join(this.#folder, 'blobs', digest.replace(':', '/'));
  }

  #uploadPath(id: string): string {
    return join(this.#folder, `upload-${id}`);
  }
}

function blobCreated(response: ServerResponse, repository: string, digest: string): void {
  response.setHeader('location', `/v2/${repository}/blobs/${digest}`).setHeader('docker-content-digest', digest);
  send(response, 201, {});
}

function send(response: ServerResponse, status: number, document: object): void {
  const text = JSON.stringify(document);
  // A refusal may come before the body has been read.
  if (status >= 400) response.setHeader('connection', 'close');
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text);
}

function problem(code: string): object {
  return { errors: [{ code, message: code }] };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
