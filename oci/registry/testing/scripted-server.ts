/** An HTTP server that answers from a table, to play the registries that misbehave. Tests only. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listen } from '../../../tests/support/loopback.ts';

/** One request as it came in. */
export interface SeenRequest {
  readonly method: string;
  /** Path with query. */
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** One answer. `cut` closes the socket after the body's bytes, before what Content-Length announced. */
export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly cut?: boolean;
  /** Sends the body in chunks, without announcing its length. */
  readonly chunked?: boolean;
  /** Destroys the socket without any answer. */
  readonly reset?: boolean;
  /** Sends so many bytes of the body, and then nothing for ever. */
  readonly hangAfter?: number;
  /** Never answers. */
  readonly hang?: boolean;
}

/** Computes the answer; the requests so far, this one included, allow a different answer each time. */
export type Script = (request: SeenRequest, seen: readonly SeenRequest[]) => Answer;

/** A running server. */
export interface ScriptedServer {
  /** `127.0.0.1:port`. */
  readonly host: string;
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  /** The requests as `METHOD path`, for comparison. */
  log(): string[];
  stop(): Promise<void>;
}

/** Starts a server on a free port of 127.0.0.1. */
export async function startScripted(script: Script): Promise<ScriptedServer> {
  const seen: SeenRequest[] = [];
  const server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('error', () => undefined);
    try {
      for await (const chunk of incoming) chunks.push(chunk);
    } catch {
      return; // The client went away in the middle of its body: there is nobody to answer.
    }
    const { method = '', url = '', headers } = incoming;
    const request = { method, url, headers, body: Buffer.concat(chunks) };
    seen.push(request);
    reply(script(request, seen), request, response);
  });
  const { host, stop } = await listen(server);
  return {
    host,
    url: `http://${host}`,
    seen,
    log: () => seen.map(({ method, url }) => `${method} ${url}`),
    stop,
  };
}

function reply(answer: Answer, request: SeenRequest, response: ServerResponse): void {
  if (answer.hang) return;
  if (answer.reset) {
    response.socket?.resetAndDestroy();
    return;
  }
  const body = Buffer.from(answer.body ?? '');
  const length = answer.chunked ? {} : { 'content-length': String(body.length) };
  response.writeHead(answer.status ?? 200, { ...length, ...answer.headers });
  if (request.method === 'HEAD') response.end();
  else if (answer.hangAfter !== undefined) response.write(body.subarray(0, answer.hangAfter));
  else if (answer.cut) response.write(body, () => response.socket?.destroy());
  else response.end(body);
}
