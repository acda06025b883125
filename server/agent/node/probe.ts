/** Requests of doctor: short, with a deadline, and the clock of whoever answers. */
import { execFile } from 'node:child_process';
import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';
import { promisify } from 'node:util';

const DEADLINE = 5_000;
const MAX_BODY = 8 * 1024 * 1024;

/** An answer. */
export interface ProbeAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** Milliseconds by which the clock of the other side is ahead of this one; undefined without a Date. */
  readonly skew: number | undefined;
}

/** GETs a URL. Rejects without an answer in time. */
export async function probe(url: string, ca?: string): Promise<ProbeAnswer> {
  const start = Date.now();
  const signal = AbortSignal.timeout(DEADLINE);
  return new Promise((resolve, reject) => {
    const options = { signal, agent: false as const, ...(ca === undefined ? {} : { ca }) };
    const request = (url.startsWith('https:') ? https : http).get(url, options, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_BODY) response.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response;
        const date = Date.parse(headers.date ?? '');
        // A Date has whole seconds: its middle.
        const skew = Number.isNaN(date) ? undefined : date + 500 - (start + Date.now()) / 2;
        resolve({ status, headers, body: Buffer.concat(chunks).toString('utf8'), skew });
      });
    });
    request.on('error', (error) => reject(signal.aborted ? new Error(`no answer within ${DEADLINE / 1000} s`) : error));
  });
}

/** Whether somebody takes connections at a Unix socket: a process that was killed leaves its socket behind. */
export async function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const end = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.setTimeout(DEADLINE, () => end(false));
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

/** Runs a program of the node: its output, or why it failed. */
export async function command(
  file: string,
  args: readonly string[],
  timeout = 60_000,
): Promise<{ readonly output: string } | { readonly failure: string }> {
  try {
    const { stdout } = await promisify(execFile)(file, [...args], { timeout, maxBuffer: MAX_BODY });
    return { output: stdout };
  } catch (error) {
    const { message, stderr = '' } = error as Error & { stderr?: string };
    const lines = (stderr.trim() === '' ? message : stderr).trim().split('\n');
    return { failure: lines.slice(-2).join(' ').slice(0, 500) };
  }
}

/** The first line of an error. */
export function reasonOf(error: unknown): string {
  return (
    error instanceof Error ? error.message || ((error as NodeJS.ErrnoException).code ?? error.name) : String(error)
  ).split('\n')[0]!;
}

/** The sum of a counter in an exposition, over the labels that match. */
export function sumOf(exposition: string, metric: string, labels = ''): number {
  return exposition
    .split('\n')
    .filter((line) => (line.startsWith(`${metric}{`) || line.startsWith(`${metric} `)) && line.includes(labels))
    .reduce((sum, line) => sum + (Number(/(?:^[^{ ]+|\}) (\S+)/.exec(line)?.[1]) || 0), 0);
}
