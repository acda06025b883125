/** Sends one request and reads its answer, within the deadlines of both. */
import { type Dispatcher, request } from 'undici';
import { Deadline, RateWatch } from './deadline.ts';
import { DEFAULT_MIN_RATE, type HttpOptions, type HttpRuntime } from './http-options.ts';
import { traceOf } from './http-trace.ts';
import type { HttpBody, HttpRequest, HttpResponse } from './messages.ts';

/** Largest part of an unwanted body that is read to keep a connection, in bytes; beyond it the connection is closed. */
const DISCARD_LIMIT = 64 * 1024;
/** Milliseconds for that. */
const DISCARD_TIMEOUT = 1_000;
/** Milliseconds to read the explanation of a failure. */
const EXCERPT_TIMEOUT = 5_000;

/** A request from its start to the end of its answer. */
export class Flight {
  readonly #outgoing: HttpRequest;
  readonly #options: HttpOptions;
  readonly #runtime: HttpRuntime;
  readonly #controller = new AbortController();
  readonly #deadline = new Deadline((error) => this.#controller.abort(error));
  readonly #onAbort = () => this.#controller.abort(this.#outgoing.signal?.reason);
  readonly #started = performance.now();
  #watch: RateWatch | undefined;
  #answer: { readonly status: number; header(name: string): string | undefined } | undefined;
  #sent = 0;
  #received = 0;
  #landed = false;

  constructor(outgoing: HttpRequest, options: HttpOptions, runtime: HttpRuntime) {
    this.#outgoing = outgoing;
    this.#options = options;
    this.#runtime = runtime;
  }

  /** Sends it. Rejects with undici's or the system's error, a `DeadlineError`, or the signal's reason. */
  async send(dispatcher: Dispatcher): Promise<HttpResponse> {
    const { method, url, headers, body, signal } = this.#outgoing;
    const { connectTimeout, stallTimeout, commitTimeout } = this.#runtime;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    const hasBody = body !== undefined && body.size > 0;
    if (!hasBody) this.#deadline.set(connectTimeout + stallTimeout, 'HEADERS_DEADLINE', 'no complete answer');
    try {
      const answer = await request(url, {
        dispatcher,
        method,
        headers: {
          'user-agent': 'accel-image',
          'accept-encoding': 'identity',
          ...headers,
          ...(body === undefined ? {} : { 'content-length': String(body.size) }),
        },
        // undici takes any async iterable, though its types name streams alone.
        ...(body === undefined ? {} : { body: (hasBody ? this.#outgoingBody(body) : new Uint8Array(0)) as Uint8Array }),
        ...(body === undefined ? {} : { headersTimeout: commitTimeout }),
        signal: this.#controller.signal,
      });
      return this.#response(answer);
    } catch (error) {
      this.#land(error);
      throw error;
    }
  }

  /** The outgoing body; requests each further piece after the network has taken the previous one. */
  async *#outgoingBody({ source }: HttpBody): AsyncGenerator<Uint8Array, void, undefined> {
    const watch = this.#watchRate();
    for await (const chunk of source.open()) {
      for (const part of this.#options.throttle?.parts(chunk) ?? [chunk]) {
        await this.#turn(part);
        watch.waiting();
        yield part;
        watch.moved(part.length);
        this.#sent += part.length;
      }
    }
    watch.stop();
    if (this.#answer === undefined && !this.#landed) {
      this.#deadline.set(this.#runtime.commitTimeout, 'HEADERS_DEADLINE', 'no complete answer to an upload');
    }
  }

  #response(answer: Dispatcher.ResponseData): HttpResponse {
    this.#deadline.clear();
    this.#watch?.stop();
    const { method, url, stream } = this.#outgoing;
    const header = (name: string) => {
      const value = answer.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    };
    this.#answer = { status: answer.statusCode, header };
    if (stream !== true && method !== 'HEAD')
      this.#deadline.set(this.#runtime.documentTimeout, 'DOCUMENT_DEADLINE', 'no complete document');
    const body = { [Symbol.asyncIterator]: () => this.#incomingBody(answer.body) };
    return {
      status: answer.statusCode,
      url,
      header,
      body,
      text: (limit) => readText(body, limit),
      excerpt: (limit) => {
        const chunks: Uint8Array[] = [];
        this.#deadline.set(EXCERPT_TIMEOUT, 'DOCUMENT_DEADLINE', 'no complete document');
        return readText(body, limit, chunks).catch((error: unknown) => {
          this.#outgoing.signal?.throwIfAborted();
          if (chunks.length === 0) throw error;
          return decode(chunks);
        });
      },
      discard: async () => {
        const signal = AbortSignal.timeout(DISCARD_TIMEOUT);
        // Reading on only serves to keep the connection: a body that does not end is cut off.
        await answer.body.dump({ limit: DISCARD_LIMIT, signal }).catch(() => undefined);
        this.#land(undefined);
      },
    };
  }

  async *#incomingBody(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    const watch = this.#outgoing.stream === true ? this.#watchRate() : undefined;
    let failure: unknown;
    try {
      watch?.waiting();
      for await (const chunk of body) {
        watch?.moved(chunk.length);
        this.#received += chunk.length;
        await this.#turn(chunk);
        yield chunk;
        watch?.waiting();
      }
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      this.#land(failure);
    }
  }

  /** Waits until the bytes may move; this is no time that the network takes. */
  async #turn({ length }: Uint8Array): Promise<void> {
    await this.#options.throttle?.bytes(length, this.#controller.signal);
  }

  #watchRate(): RateWatch {
    const { minRate = DEFAULT_MIN_RATE } = this.#options;
    const rule = { minRate, window: this.#runtime.rateWindow };
    this.#watch = new RateWatch(rule, (error) => this.#controller.abort(error));
    return this.#watch;
  }

  /** Ends the clocks and reports the request. */
  #land(error: unknown): void {
    this.#deadline.clear();
    this.#watch?.stop();
    this.#outgoing.signal?.removeEventListener('abort', this.#onAbort);
    if (this.#landed) return;
    this.#landed = true;
    const { method, url, attempt } = this.#outgoing;
    this.#options.trace?.(
      traceOf({
        method,
        url,
        attempt,
        started: this.#started,
        ended: performance.now(),
        sent: this.#sent,
        received: this.#received,
        answer: this.#answer,
        error,
      }),
    );
  }
}

async function readText(body: AsyncIterable<Uint8Array>, limit: number, chunks: Uint8Array[] = []): Promise<string> {
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk.subarray(0, limit - size));
    size += chunk.length;
    if (size >= limit) break;
  }
  return decode(chunks);
}

function decode(chunks: readonly Uint8Array[]): string {
  return new TextDecoder().decode(Buffer.concat(chunks));
}
