/** Notifies a web hook of a finished conversion: signed, retried after temporary failures, limited in time. */
import { createHmac } from 'node:crypto';
import { bytesSource } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import { VERSION } from '../base/version.ts';
import { DEFAULT_RUNTIME, type Environment, type HttpRuntime } from '../http/http-options.ts';
import { Backoff, isTransientStatus, type RetryAnswer } from '../http/retry.ts';
import { type HttpRequest, Transport } from '../http/transport.ts';

/** Where to POST, and what to sign with. */
export interface Receiver {
  /** Checked by {@link receiverUrl}. */
  readonly url: URL;
  readonly secret: string | undefined;
}

/** The message to send. */
export interface Notice {
  /** Identifies the news: the same however often it is sent. */
  readonly delivery: string;
  readonly document: Readonly<Record<string, unknown>>;
  /** Header fields beside those of {@link notify}; they win over its own. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Header with the HMAC-SHA256 of the body, `sha256=` and hexadecimal digits, as GitHub's own web hooks have it. */
const SIGNATURE_HEADER = 'x-accel-signature-256';
/** Header with the delivery's identifier, so that receivers can drop duplicates. */
const DELIVERY_HEADER = 'x-accel-delivery';

/** Surroundings of a message, and its limits. */
export interface NotifyRuntime extends Pick<HttpRuntime, 'now' | 'random' | 'sleep' | 'attempts'> {
  /** Proxies and certificates. */
  readonly env: Environment;
  /** Milliseconds for one try. */
  readonly tryTimeout: number;
  /** Milliseconds that the receiver may ask to wait (`Retry-After`). */
  readonly maxWait: number;
}

const { now, random, sleep, attempts } = DEFAULT_RUNTIME;
const RUNTIME: NotifyRuntime = {
  now,
  random,
  sleep,
  attempts,
  env: process.env,
  tryTimeout: 10_000,
  maxWait: 60_000,
};

/** Characters of the answer that an error shows. */
const SHOWN_ANSWER = 300;

/**
 * POSTs the document as JSON. Throws `notify-failed` if the receiver does not accept it: at once after a permanent failure
 * (4xx, a redirect), otherwise when tries or time run out.
 */
export async function notify(
  receiver: Receiver,
  notice: Notice,
  signal?: AbortSignal,
  runtime: Partial<NotifyRuntime> = {},
): Promise<{ readonly attempts: number }> {
  const parts = { ...RUNTIME, ...runtime };
  const request = requestOf(receiver, notice);
  const transport = await Transport.open({ env: parts.env });
  const backoff = new Backoff({ ...parts, slowAttempts: parts.attempts }, signal);
  try {
    for (;;) {
      const { attempt } = backoff;
      const outcome = await post(transport, { ...request, attempt }, parts.tryTimeout, signal);
      if (outcome.done) return { attempts: attempt };
      const again = !outcome.final && backoff.failed(undefined, outcome.answer);
      if (!again) throw failed(receiver.url, outcome.found, attempt);
      await backoff.wait(outcome.answer);
    }
  } finally {
    await transport.close();
  }
}

/**
 * POSTs the document once; for senders that keep their messages and decide themselves when to send them again. Resolves also where the
 * receiver does not accept it.
 */
export async function notifyOnce(receiver: Receiver, notice: Notice, signal: AbortSignal): Promise<NotifyAttempt> {
  const transport = await Transport.open({ env: RUNTIME.env });
  try {
    return await post(transport, requestOf(receiver, notice), RUNTIME.tryTimeout, signal);
  } finally {
    await transport.close();
  }
}

function requestOf({ url, secret }: Receiver, { delivery, document, headers = {} }: Notice): HttpRequest {
  const body = new TextEncoder().encode(JSON.stringify(document));
  return {
    method: 'POST',
    url,
    headers: {
      'content-type': 'application/json',
      'user-agent': `accel/${VERSION}`,
      [DELIVERY_HEADER]: delivery,
      ...(secret === undefined ? {} : { [SIGNATURE_HEADER]: signatureOf(body, secret) }),
      ...headers,
    },
    body: { source: bytesSource(body), size: body.length },
  };
}

/** `sha256=…` of a body. */
function signatureOf(body: Uint8Array, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

/** One try: done, or why not. `final`: the same message will never be accepted. `answer` has the receiver's `Retry-After`. */
export type NotifyAttempt =
  | { readonly done: true }
  | { readonly done: false; readonly final: boolean; readonly found: string; readonly answer?: RetryAnswer };

/** One try. A redirect is not followed: it would send the signed document to a host that nobody configured. */
async function post(
  transport: Transport,
  request: HttpRequest,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<NotifyAttempt> {
  const limit = AbortSignal.timeout(timeout);
  try {
    const within = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    const answer = await transport.send({ ...request, signal: within });
    if (answer.status >= 200 && answer.status < 300) {
      await answer.discard();
      return { done: true };
    }
    const text = (await answer.excerpt(SHOWN_ANSWER)).trim();
    const found = `HTTP ${answer.status}${text === '' ? '' : `: ${text}`}`;
    return { done: false, final: !isTransientStatus(answer.status), found, answer };
  } catch (error) {
    signal?.throwIfAborted();
    if (limit.aborted) return { done: false, final: false, found: `no answer within ${timeout / 1000} s` };
    if (error instanceof AccelError) throw error;
    return { done: false, final: false, found: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Parses the URL of a receiver: HTTPS, or HTTP to this machine, or with `plain` HTTP to any host. Throws `usage`. Its path
 * may contain a token: messages show only the host.
 */
export function receiverUrl(text: string, plain: boolean): URL {
  const address = URL.canParse(text) ? new URL(text) : null;
  if (address === null || !['http:', 'https:'].includes(address.protocol)) {
    throw new AccelError('usage', 'notify-url cannot be used', {
      expected: 'https://HOST/…',
      found: address === null ? 'no URL' : address.protocol,
    });
  }
  if (address.username !== '' || address.password !== '') {
    throw new AccelError('usage', 'notify-url holds a user name', {
      hint: 'Sign the document with notify-secret instead.',
    });
  }
  if (address.protocol === 'https:' || plain || isLoopback(address.hostname)) return address;
  throw new AccelError('usage', 'notify-url would send the document in the clear', {
    where: { host: address.host },
    expected: 'https',
    found: 'http',
    hint: 'Use https, or set notify-plain to true where the network is your own.',
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function failed(address: URL, found: string, attempts: number): AccelError {
  return new AccelError('notify-failed', 'the receiver of notify-url did not take the message', {
    where: { host: address.host, attempts },
    expected: 'HTTP 2xx',
    found,
    hint: 'The image itself is complete; run the job again to send the message again.',
  });
}
