/** Failures of a registry as AccelErrors: the registry's own words are shown, secrets and signed URLs are not. */
import { type Advice, advise, option } from '../../base/advice.ts';
import { AccelError, type ErrorPlace } from '../../base/error.ts';
import { isRecord } from '../../base/is-record.ts';
import { redact } from '../../base/secrets.ts';
import { DeadlineError, errorCode } from '../../http/failure.ts';
import { redactUrl } from '../../http/redact.ts';
import { isTransientStatus, type Patience } from '../../http/retry.ts';
import { formatTime, formatWait, parseRetryAfter } from '../../http/retry-after.ts';
import type { HttpResponse } from '../../http/transport.ts';

/** Largest part of an error body that is read, in bytes. */
const MAX_ERROR_BODY = 16 * 1024;

/** Largest part of an error body that is shown, in characters. */
const MAX_SHOWN = 1000;

/** The part of a response that an error reports. */
export interface FailedResponse {
  readonly status: number;
  readonly body: string;
  /** The wait that its Retry-After asks for, and the limit for one request; both in milliseconds. */
  readonly wait?: { readonly asked: number; readonly until: number; readonly limit: number };
}

/** Reads what an error needs of a response. */
export async function failedResponse(
  response: HttpResponse,
  { now, maxWait }: Pick<Patience, 'now' | 'maxWait'>,
): Promise<FailedResponse> {
  const { status } = response;
  const asked = parseRetryAfter(response.header('retry-after'), now());
  const wait = asked === undefined ? {} : { wait: { asked, until: now() + asked, limit: maxWait } };
  const body = await response.excerpt(MAX_ERROR_BODY).catch((error: unknown) => {
    if (error instanceof Error && error.name === 'AbortError') throw error;
    return `(its explanation could not be read: ${error instanceof Error ? error.message : String(error)})`;
  });
  return { status, body, ...wait };
}

/** A status and the registry's words, without secrets. */
export function describeFailure({ status, body }: FailedResponse): string {
  // Secrets go before the body is shortened: the start of one would be printed otherwise.
  return `HTTP ${status}${describeBody(redact(body))}`;
}

/** The error for a response of an unexpected status. */
export function responseError(action: string, response: FailedResponse, where: ErrorPlace): AccelError {
  const { status } = response;
  const found = describeFailure(response);
  if (status === 401 || status === 403) {
    return new AccelError('unauthorized', `the registry did not allow to ${action}`, {
      where,
      found,
      hint: advise`Log in with docker login, or give ${option('username', 'USER')}; the account needs pull and push for this repository.`,
    });
  }
  if (status === 404) {
    return new AccelError('not-found', `the registry answered "not found" when asked to ${action}`, {
      where,
      found,
      hint: 'Check the reference; some registries want the repository to be created before the first push.',
    });
  }
  const { wait } = response;
  if (wait !== undefined && isTransientStatus(status) && wait.asked > 0) {
    return new AccelError('registry-error', `the registry asks to wait before it can ${action}`, {
      where: { ...where, until: formatTime(wait.until) },
      expected: expectedOf(wait),
      found: `${found}, with Retry-After ${formatWait(wait.asked)}`,
      hint:
        wait.asked > wait.limit
          ? advise`Run it again after ${formatTime(wait.until)}, log in for a higher limit, or raise ${option('maxWait')}.`
          : advise`Run it again after ${formatTime(wait.until)}, log in for a higher limit, or allow more tries, and a larger ${option('maxWait')}.`,
    });
  }
  const hint = HINTS[status];
  return new AccelError('registry-error', `the registry failed to ${action}`, { where, found, ...(hint && { hint }) });
}

/** A wait within the limit ends a request where its tries, or the waits of all of them, are used up. */
function expectedOf({ asked, limit }: NonNullable<FailedResponse['wait']>): string {
  return asked > limit
    ? `a wait of at most ${formatWait(limit)} for one request`
    : `an answer within the tries of a request, which waits at most ${formatWait(limit)}`;
}

const HINTS: Readonly<Record<number, string | Advice>> = {
  413: 'A proxy in front of the registry limits the size of uploads: raise its limit (nginx: client_max_body_size).',
  429: advise`The registry limits the rate of requests: wait, log in, or lower ${option('concurrency')}.`,
};

/** The error for a failure below HTTP: no connection, no TLS, a timeout. */
export function transportError(action: string, error: unknown, url: URL, proxy?: string): AccelError {
  const code = errorCode(error);
  const message = error instanceof Error ? error.message : String(error);
  const hint = transportHint(code ?? '', message, url, proxy);
  return new AccelError('registry-unreachable', `the registry could not be reached to ${action}`, {
    where: { url: redactUrl(url), ...(proxy === undefined ? {} : { proxy }) },
    found:
      code === undefined || error instanceof DeadlineError || message.includes(code)
        ? message
        : `${message || 'no connection'} (${code})`,
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

/** Whether a TLS handshake failed because the other side does not speak TLS. */
export function isPlainServer(error: unknown): boolean {
  const code = errorCode(error) ?? '';
  const message = error instanceof Error ? error.message : '';
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_'))
    return /wrong version number|packet length too long/i.test(message);
  return code === 'ECONNRESET' && message.includes('before secure TLS connection');
}

function transportHint(code: string, message: string, url: URL, proxy?: string): string | Advice | undefined {
  if (url.protocol === 'https:' && /wrong version number|packet length too long/i.test(message)) {
    return advise`The registry seems to speak plain HTTP: use ${option('plain')} if this is intended.`;
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ISSUER/.test(code)) {
    return advise`Give the authority of its certificate by ${option('rootCa', 'FILE')}; ${option('insecure')} trusts any certificate.`;
  }
  if (code === 'TOO_SLOW') return advise`Check the network; a slow one needs a lower ${option('minRate')}.`;
  if (proxy !== undefined)
    return `Check the proxy ${proxy}: HTTP_PROXY, HTTPS_PROXY, and NO_PROXY for hosts that need none.`;
  if (code === 'ENOTFOUND') return 'Check the name of the registry and the DNS of this machine.';
  if (code === 'ECONNREFUSED') return 'Check host and port, and that the registry is running.';
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') return 'Check the network, HTTPS_PROXY and NO_PROXY.';
  return undefined;
}

/** The distribution-spec's error list where the body is one, else the start of the body as text. */
function describeBody(body: string): string {
  const text = printable(errorList(body) ?? body.trim());
  if (text === '') return ' without a body';
  return `: ${text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text}`;
}

/** The codes of the distribution-spec's error list, such as `BLOB_UNKNOWN`; empty if the body is no such list. */
export function errorCodes({ body }: FailedResponse): readonly string[] {
  const value = parsedBody(body);
  if (!isRecord(value) || !Array.isArray(value.errors)) return [];
  return value.errors.filter(isRecord).flatMap(({ code }) => (typeof code === 'string' ? [code] : []));
}

/** The body as JSON; undefined if it is something else, often a proxy's HTML page. */
function parsedBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function errorList(body: string): string | undefined {
  const value = parsedBody(body);
  if (!isRecord(value)) return undefined;
  // Token servers answer {"details": …} or {"error": …, "error_description": …}.
  const single = [value.details, value.error_description, value.error, value.message].find(
    (v) => typeof v === 'string' && v !== '',
  );
  if (!Array.isArray(value.errors)) return single as string | undefined;
  const errors = value.errors.filter(isRecord);
  // A list that says nothing is as good as no body.
  if (errors.length === 0) return (single as string | undefined) ?? '';
  return errors
    .map(({ code, message, detail }) => {
      const extra = detail === undefined || detail === null ? '' : ` (${wordOf(detail, '')})`;
      return `${wordOf(code, 'ERROR')}: ${wordOf(message, 'no message')}${extra}`;
    })
    .join('; ');
}

/** A field of an error, which should be text, as text. */
function wordOf(value: unknown, absent: string): string {
  if (value === undefined || value === null || value === '') return absent;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Control characters become spaces: the body comes from the network and goes to a terminal. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
}
