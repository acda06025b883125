/**
 * The mirror that container runtimes pull through: `/v2/…` (OCI distribution specification, pull). Tags are asked of the registry
 * each time, blobs come from the piece store and its peers, and every answer is for a caller whom the registry lets read.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpResponse } from '../../http/transport.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { Access, AccessQuestion } from './access.ts';
import type { BlobServer } from './blob-server.ts';
import { ClientRecord, placeOf, unknownPathname } from './client-record.ts';
import { drained } from './drained.ts';
import { unlessAborted } from './limits.ts';
import { MAX_MANIFEST, type Manifests } from './manifests.ts';
import { type MirrorRequest, parseMirrorRequest } from './mirror-request.ts';
import { isPieceDigest } from './peers/wire.ts';
import { type Origin, OriginFailure, withStallLimit } from './pieces/origin.ts';
import { baseUrl, type Upstreams } from './pieces/upstreams.ts';
import { clientStatus, sendRegistryError } from './registry-error.ts';

/** Parts and settings of {@link Mirror}. */
export interface MirrorOptions {
  readonly upstreams: Upstreams;
  readonly origin: Origin;
  readonly access: Access;
  readonly manifests: Manifests;
  readonly blobs: BlobServer;
  readonly metrics: AgentMetrics;
  /** A tag that the registry cannot be asked about is answered from memory. */
  readonly staleTags: boolean;
}

type ContentRequest = Exclude<MirrorRequest, { kind: 'ping' }>;

/** Headers of a registry's answer that are passed on. */
const PASSED = [
  'content-type',
  'content-length',
  'content-range',
  'docker-content-digest',
  'docker-distribution-api-version',
  'etag',
  'link',
  'oci-filters-applied',
  'oci-subject',
  'retry-after',
  'www-authenticate',
] as const;

/** Milliseconds between two chunks of a registry's answer. */
const STALL = 5_000;
/** Tags kept for `staleTags`. */
const MOST_TAGS = 10_000;

/** See the head of the file. */
export class Mirror {
  readonly #o: MirrorOptions;
  readonly #tags = new Map<string, string>();

  constructor(options: MirrorOptions) {
    this.#o = options;
  }

  /** Answers one request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const { method = 'GET' } = request;
    const record = new ClientRecord(this.#o.metrics.activity, response, unknownPathname(request.url ?? ''));
    if (method !== 'GET' && method !== 'HEAD')
      return sendRegistryError(response, 405, 'the mirror is read-only', { allow: 'GET, HEAD' });
    const asked = parseMirrorRequest(request.url ?? '', request.headers.host, this.#o.upstreams);
    if (asked === 'not-found') return sendRegistryError(response, 404, 'no such path');
    if (asked === 'unknown-registry')
      return sendRegistryError(response, 404, 'the registry is not in the agent\u2019s configuration');
    const { authorization } = request.headers;
    if (asked.kind !== 'ping') record.pathname = placeOf(asked.url);
    // Clients ask for it to learn how to log in.
    else record.expected = 401;
    try {
      if (asked.kind === 'ping') return await this.#ping(asked, authorization, response, signal);
      const target = { url: asked.url, authorization };
      const question = { target, host: asked.upstream.host, repository: asked.repository, signal };
      if (asked.kind === 'blob' && isPieceDigest(asked.reference)) {
        return await this.#o.blobs.serve({
          request,
          response,
          question,
          digest: asked.reference,
          kind: 'mirror',
          signal,
          record,
        });
      }
      if (asked.kind === 'manifest')
        return await this.#manifest(asked, { method, request, response, question, record });
      return await this.#pass({ method, request, response, question, record }, signal);
    } catch (error) {
      this.#fail(response, error, signal);
    }
  }

  #fail(response: ServerResponse, error: unknown, signal: AbortSignal): void {
    if (signal.aborted || response.headersSent) return void response.destroy();
    const failure = error instanceof OriginFailure ? error : undefined;
    const headers = failure?.challenge === undefined ? {} : { 'www-authenticate': failure.challenge };
    const status = failure === undefined ? 500 : clientStatus(failure.status);
    sendRegistryError(response, status, failure?.message ?? 'the agent failed', headers);
  }

  /** Clients learn here how to log in: it is the registry's own answer. */
  async #ping(
    { upstream }: Extract<MirrorRequest, { kind: 'ping' }>,
    authorization: string | undefined,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    if (upstream === undefined) {
      response
        .writeHead(200, { 'content-type': 'application/json', 'docker-distribution-api-version': 'registry/2.0' })
        .end('{}');
      return;
    }
    const target = { url: new URL('/v2/', baseUrl(upstream)), authorization };
    await send(await this.#o.origin.request('GET', target, {}, signal), response, signal);
  }

  async #manifest(asked: ContentRequest, context: ManifestContext): Promise<void> {
    const { method, request, response, question, record } = context;
    const started = performance.now();
    const isDigest = asked.reference.includes(':');
    const kept = isDigest ? this.#o.manifests.get(asked.reference) : undefined;
    if (kept !== undefined) {
      const answer = await this.#o.access.check(question);
      if (answer.allowed) return sendManifest(context, asked.reference, kept);
      const headers = answer.challenge === undefined ? {} : { 'www-authenticate': answer.challenge };
      return sendRegistryError(
        response,
        clientStatus(answer.status),
        'the registry does not let this caller read',
        headers,
      );
    }
    let got: HttpResponse;
    try {
      got = await this.#o.origin.request(method as 'GET' | 'HEAD', question.target, accepted(request), question.signal);
    } catch (error) {
      if (!isDigest && (await this.#stale(asked, context))) return;
      throw error;
    }
    if ((got.status >= 500 || got.status === 429) && !isDigest && (await this.#stale(asked, context)))
      return void (await got.discard());
    if (got.status === 401 || got.status === 403) this.#o.access.refused(question);
    const digestThere = got.header('docker-content-digest');
    // Some runtimes ask for the tag with HEAD, and then for the manifest by its digest.
    if (method === 'HEAD' && got.status === 200 && !isDigest && digestThere !== undefined && isPieceDigest(digestThere))
      this.#noteTag(asked, digestThere);
    if (method === 'HEAD' || got.status !== 200) return send(got, response, question.signal);
    this.#o.access.accepted(question);
    const bytes = await readAll(got);
    const mediaType = got.header('content-type') ?? 'application/octet-stream';
    const digest = this.#o.manifests.take(bytes, {
      mediaType,
      repository: `${question.host}/${question.repository}`,
      expected: isDigest && isPieceDigest(asked.reference) ? asked.reference : undefined,
    });
    if (digest === undefined)
      throw new OriginFailure(502, 'the registry\u2019s manifest is not the one that was asked for');
    if (!isDigest) this.#noteTag(asked, digest);
    const { pathname } = record;
    this.#o.metrics.activity.noteRequest('from-origin', { pathname, offset: 0, bytes: bytes.length, started });
    sendManifest(context, digest, { mediaType, bytes });
  }

  /** Answers with the tag's last known manifest, where the configuration allows it and the caller may read. */
  async #stale(asked: ContentRequest, context: ManifestContext): Promise<boolean> {
    if (!this.#o.staleTags) return false;
    const { response, question } = context;
    const digest = this.#tags.get(tagKey(asked));
    const kept = digest === undefined ? undefined : this.#o.manifests.get(digest);
    if (digest === undefined || kept === undefined || !(await this.#o.access.check(question)).allowed) return false;
    response.setHeader('warning', '110 - "the registry does not answer: the tag may have moved"');
    sendManifest(context, digest, kept);
    return true;
  }

  #noteTag(asked: ContentRequest, digest: string): void {
    this.#tags.delete(tagKey(asked));
    this.#tags.set(tagKey(asked), digest);
    if (this.#tags.size > MOST_TAGS) this.#tags.delete(this.#tags.keys().next().value!);
  }

  /** The registry's own answer, whatever it is. */
  async #pass({ method, request, response, question, record }: ManifestContext, signal: AbortSignal): Promise<void> {
    const { target } = question;
    const headers = accepted(request);
    for (const name of ['range', 'if-range'] as const) {
      const value = request.headers[name];
      if (typeof value === 'string') headers[name] = value;
    }
    const got = await this.#o.origin.request(method as 'GET' | 'HEAD', target, headers, signal);
    const start = /^bytes (\d+)-/.exec(got.header('content-range') ?? '')?.[1];
    record.offset = Number(start ?? 0);
    await send(got, response, signal, method === 'GET' ? record : undefined);
  }
}

interface ManifestContext {
  readonly method: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly question: AccessQuestion;
  readonly record: ClientRecord;
}

function tagKey({ upstream, repository, reference }: ContentRequest): string {
  return `${upstream.host}/${repository}:${reference}`;
}

function accepted({ headers }: IncomingMessage): Record<string, string> {
  return headers.accept === undefined ? {} : { accept: headers.accept };
}

function sendManifest(
  { method, response, record }: ManifestContext,
  digest: string,
  { mediaType, bytes }: { readonly mediaType: string; readonly bytes: Buffer },
): void {
  const headers = { 'content-type': mediaType, 'content-length': bytes.length, 'docker-content-digest': digest };
  if (method === 'GET') record.document = bytes.length;
  response.writeHead(200, headers).end(bytes);
}

/** Passes an answer on, with backpressure, and notes in `record` what the client gets. */
async function send(
  got: HttpResponse,
  response: ServerResponse,
  signal?: AbortSignal,
  record?: ClientRecord,
): Promise<void> {
  const headers: Record<string, string> = {};
  for (const name of PASSED) {
    const value = got.header(name);
    if (value !== undefined) headers[name] = value;
  }
  response.writeHead(got.status, headers);
  let sent = 0;
  for await (const chunk of withStallLimit(got.body, STALL)) {
    if (response.destroyed) return;
    sent += chunk.length;
    if (!response.write(chunk)) await unlessAborted(drained(response), signal);
  }
  if (record !== undefined) record.document = sent;
  response.end();
}

async function readAll(got: HttpResponse): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of withStallLimit(got.body, STALL)) {
    size += chunk.length;
    if (size > MAX_MANIFEST)
      throw new OriginFailure(502, `the registry\u2019s manifest is larger than ${MAX_MANIFEST} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
