/** Answers other agents that pass a prefetch on to this node: start, progress and end. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { HEADER } from '../peers/wire.ts';
import { readText } from '../read-text.ts';
import type { PrefetchJobs } from './prefetch-jobs.ts';
import { MAX_PREFETCH_REQUEST, type PrefetchProgress, parsePrefetchRequest } from './prefetch-request.ts';

/** Answers one request about the prefetch with this id. Rejects when the connection breaks. */
export async function answerPrefetch(
  jobs: PrefetchJobs,
  id: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method === 'GET') return send(response, 404, jobs.progress(id));
  if (request.method === 'DELETE') return send(response, 404, jobs.cancel(id));
  if (request.method !== 'POST') return send(response, 405, undefined);
  const asked = parsePrefetchRequest((await readText(request, MAX_PREFETCH_REQUEST)) ?? '');
  if (typeof asked === 'string') {
    // The rest of a body that is too long is not read.
    response.shouldKeepAlive = false;
    return send(response, 400, undefined);
  }
  const authorization = request.headers[HEADER.authorization];
  send(response, 429, jobs.start(id, asked, typeof authorization === 'string' ? authorization : undefined));
}

/** Sends the progress, or a status without one. */
function send(response: ServerResponse, otherwise: number, progress: PrefetchProgress | undefined): void {
  const body = Buffer.from(progress === undefined ? '' : JSON.stringify(progress));
  response
    .writeHead(progress === undefined ? otherwise : 200, {
      'content-type': 'application/json',
      'content-length': body.length,
    })
    .end(body);
}
