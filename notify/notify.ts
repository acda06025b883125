/** Notifies a web hook of a finished conversion: signed, retried after temporary failures, limited in time. */
import { createHmac } from 'node:crypto';
import { AccelError } from '../base/error.ts';
import { VERSION } from '../base/version.ts';

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
}

/** Header with the HMAC-SHA256 of the body, `sha256=` and hexadecimal digits, as GitHub's own web hooks have it. */
const SIGNATURE_HEADER = 'x-accel-signature-256';
/** Header with the delivery's identifier, so that receivers can drop duplicates. */
const DELIVERY_HEADER = 'x-accel-delivery';

/** Clock, randomness and time limits. */
export interface NotifyRuntime {
  readonly now: () => number;
  /** A number in [0, 1): spreads retries. */
  readonly random: () => number;
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** Tries, the first included. */
  readonly attempts: number;
  /** Milliseconds for one try. */
  readonly tryTimeout: number;
  /** Milliseconds after which no further try begins. */
  readonly totalTimeout: number;
}

const RUNTIME: NotifyRuntime = {
  now: Date.now,
  random: Math.random,
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  attempts: 5,
  tryTimeout: 10_000,
  totalTimeout: 60_000,
};

/** Milliseconds before the second try; each further one waits twice as long. */
const FIRST_DELAY = 1000;
/** Characters of the answer that an error shows. */
const SHOWN_ANSWER = 300;

/**
 * POSTs the document as JSON. Throws `notify-failed` if the receiver does not accept it: at once after a permanent failure
 * (4xx, a redirect), otherwise when tries or time run out.
 */
export async function notify(
  { url: address, secret }: Receiver,
  { delivery, document }: Notice,
  signal?: AbortSignal,
  runtime: Partial<NotifyRuntime> = {},
): Promise<{ readonly attempts: number }> {
  const parts = { ...RUNTIME, ...runtime };
  const body = JSON.stringify(document);
  const headers = {
    'content-type': 'application/json',
    'user-agent': `accel/${VERSION}`,
    [DELIVERY_HEADER]: delivery,
    ...(secret === undefined ? {} : { [SIGNATURE_HEADER]: signatureOf(body, secret) }),
  };
  const started = parts.now();
  for (let attempt = 1; ; attempt++) {
    const outcome = await post(address, { headers, body, signal, timeout: parts.tryTimeout });
    if (outcome.done) return { attempts: attempt };
    const delay = FIRST_DELAY * 2 ** (attempt - 1) * (0.5 + parts.random());
    const wait = Math.max(delay, outcome.retryAfter ?? 0);
    const isLate = parts.now() - started + wait > parts.totalTimeout;
    if (outcome.final || attempt >= parts.attempts || isLate) throw failed(address, outcome.found, attempt);
    await parts.sleep(wait);
  }
}

/** `sha256=…` of a body. */
function signatureOf(body: string, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

type Outcome =
  | { readonly done: true }
  | { readonly done: false; readonly final: boolean; readonly found: string; readonly retryAfter?: number };

/** One try. */
interface Post {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal | undefined;
  /** Milliseconds. */
  readonly timeout: number;
}

async function post(address: URL, { headers, body, signal, timeout }: Post): Promise<Outcome> {
  const limit = AbortSignal.timeout(timeout);
  try {
    // A redirect would send the signed document to a host that nobody configured.
    const answer = await fetch(address, {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    });
    const text = (await answer.text()).trim().slice(0, SHOWN_ANSWER);
    if (answer.ok) return { done: true };
    const found = `HTTP ${answer.status}${text === '' ? '' : `: ${text}`}`;
    const isTemporary = answer.status === 429 || answer.status === 408 || answer.status >= 500;
    const seconds = Number(answer.headers.get('retry-after') ?? Number.NaN);
    return { done: false, final: !isTemporary, found, ...(seconds > 0 ? { retryAfter: seconds * 1000 } : {}) };
  } catch (error) {
    signal?.throwIfAborted();
    if (limit.aborted) return { done: false, final: false, found: `no answer within ${timeout / 1000} s` };
    // undici's message is only "fetch failed"; the cause has the details.
    const cause = (error as Error).cause;
    return { done: false, final: false, found: cause instanceof Error ? cause.message : String(error) };
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
