/**
 * Passes requests on to a registry on this machine and breaks its answers: `node faulty-origin.js PORT UPSTREAM-PORT FILE`. The file
 * says how, by one word that is read again with each request; requests for anything but blobs pass as they are. FILE.sent gets
 * a line of JSON for each answer with bytes of a blob.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';

/** The faults of a registry. */
export type OriginFault = 'none' | '429' | '500' | '429-often' | '500-often' | 'slow' | 'reset';

/** A request for a blob that has ended. */
export interface SentBlob {
  /** Address of the one who asked. */
  readonly address: string;
  /** Whether a runtime asked the registry itself. */
  readonly runtime: boolean;
  readonly path: string;
  readonly range: string | undefined;
  readonly bytes: number;
}

/** Bytes of a body before its connection is cut. */
const CUT_AFTER = 1_500_000;
/** Bytes a second of one connection that is slow. */
const SLOW_RATE = 1_000_000;
const SLOW_STEP = 50;

const [, , port, upstream, file] = process.argv;
/** Requests for each blob, to fail every other one. */
const asked = new Map<string, number>();

http
  .createServer((request, response) => {
    response.on('error', () => undefined);
    const fault = request.url!.includes('/blobs/') ? (readFileSync(file!, 'utf8').trim() as OriginFault) : 'none';
    const count = (asked.get(request.url!) ?? 0) + 1;
    asked.set(request.url!, count);
    const status = Number.parseInt(fault, 10);
    if (status > 0 && (!fault.endsWith('often') || count % 2 === 1)) {
      response.writeHead(status, { 'content-length': 0 }).end();
      return;
    }
    pass(request, response, fault);
  })
  .listen(Number(port), '0.0.0.0');

function pass(request: IncomingMessage, response: ServerResponse, fault: OriginFault): void {
  const { method, url: path, headers } = request;
  let bytes = 0;
  const sent = http.request({ host: '127.0.0.1', port: Number(upstream), method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode!, answer.headers);
    answer.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    if (fault === 'slow') void slowly(answer, response);
    else if (fault === 'reset') cut(answer, response);
    else answer.pipe(response);
  });
  sent.on('error', () => response.destroy());
  response.on('close', () => {
    sent.destroy();
    if (!path!.includes('/blobs/') || bytes === 0) return;
    const { range, 'user-agent': program = '' } = headers;
    const address = request.socket.remoteAddress ?? '';
    const line: SentBlob = { address, runtime: program.startsWith('containerd'), path: path!, range, bytes };
    appendFileSync(`${file}.sent`, `${JSON.stringify(line)}\n`);
  });
  request.pipe(sent);
}

/** Passes the start of a body on, and breaks the connection. */
function cut(answer: IncomingMessage, response: ServerResponse): void {
  let left = CUT_AFTER;
  answer.on('data', (chunk: Buffer) => {
    const part = chunk.subarray(0, left);
    left -= part.length;
    // The bytes that were written reach the client before the end of the connection does.
    if (left > 0) response.write(part);
    else response.write(part, () => response.socket?.destroy());
  });
  answer.on('end', () => response.end());
  answer.on('error', () => response.destroy());
}

async function slowly(answer: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += SLOW_RATE / (1000 / SLOW_STEP)) {
        response.write(chunk.subarray(at, at + SLOW_RATE / (1000 / SLOW_STEP)));
        await new Promise((resolve) => setTimeout(resolve, SLOW_STEP));
        if (response.destroyed) return;
      }
    }
    response.end();
  } catch {
    response.destroy();
  }
}
