/**
 * The proxy that overlaybd's devices read through: `/<prefix>/<whole URL>` with a Range, answered from the same pieces as the
 * mirror's (overlaybd, p2pConfig). The URL is taken as it was sent, and leads to configured hosts alone.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Activity } from '../telemetry/activity.ts';
import type { BlobServer } from './blob-server.ts';
import { ClientRecord, placeOf } from './client-record.ts';
import { OriginFailure } from './pieces/origin.ts';
import { blobDigest, repositoryIn, type Upstreams } from './pieces/upstreams.ts';
import { clientStatus, sendRegistryError } from './registry-error.ts';

/** Parts and settings of {@link BlockProxy}. */
export interface BlockProxyOptions {
  /** First part of the path, without slashes. */
  readonly prefix: string;
  readonly upstreams: Upstreams;
  readonly blobs: BlobServer;
  readonly activity: Activity;
}

/** Longest URL, in characters; signed ones take about 1,500. */
const MAX_URL = 8192;

/** See the head of the file. */
export class BlockProxy {
  readonly #o: BlockProxyOptions;

  constructor(options: BlockProxyOptions) {
    this.#o = options;
  }

  /** Whether a request is for this proxy. */
  matches(rawUrl: string): boolean {
    return rawUrl.startsWith(`/${this.#o.prefix}/`);
  }

  /** Answers one request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const { method = 'GET' } = request;
    const record = new ClientRecord(this.#o.activity, response, this.#o.prefix);
    if (method !== 'GET' && method !== 'HEAD')
      return sendRegistryError(response, 405, 'the proxy is read-only', { allow: 'GET, HEAD' });
    const url = parseTarget((request.url ?? '').slice(this.#o.prefix.length + 2));
    if (url === undefined) return sendRegistryError(response, 400, 'the path does not hold a whole URL');
    record.pathname = placeOf(url);
    const upstream = this.#o.upstreams.byUrl(url);
    if (upstream === undefined)
      return sendRegistryError(response, 403, 'the host is not in the agent\u2019s configuration');
    const digest = blobDigest(url);
    if (digest === undefined) return sendRegistryError(response, 400, 'the URL does not name a blob by its digest');
    const { authorization } = request.headers;
    const repository = repositoryIn(url) ?? url.pathname;
    const question = { target: { url, authorization }, host: upstream.host, repository, signal };
    try {
      await this.#o.blobs.serve({ request, response, question, digest, kind: 'block', signal, record });
    } catch (error) {
      if (signal.aborted || response.headersSent) return void response.destroy();
      const failure = error instanceof OriginFailure ? error : undefined;
      const headers = failure?.challenge === undefined ? {} : { 'www-authenticate': failure.challenge };
      sendRegistryError(
        response,
        failure === undefined ? 500 : clientStatus(failure.status),
        failure?.message ?? 'the agent failed',
        headers,
      );
    }
  }
}

/** The URL after the prefix, as it was sent; some clients fold `//` into `/`. */
function parseTarget(text: string): URL | undefined {
  const whole = text.replace(/^(https?):\/+/i, '$1://');
  if (whole.length > MAX_URL || !/^https?:\/\//i.test(whole)) return undefined;
  return URL.canParse(whole) ? new URL(whole) : undefined;
}
