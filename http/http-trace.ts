/** A record of each request, to debug the traffic with a server. */
import { redact } from '../base/secrets.ts';
import { errorCode } from './failure.ts';
import { redactUrl } from './redact.ts';

/** One request and its answer; URLs are without user, password and query, secrets are taken out. */
export interface HttpTrace {
  readonly method: string;
  readonly url: string;
  /** Number of the try of this request, from 1. */
  readonly attempt: number;
  /** Of the answer; undefined if there was no answer. */
  readonly status: number | undefined;
  /** Bytes of the request's body that were sent. */
  readonly sent: number;
  /** Bytes of the answer's body that were received. */
  readonly received: number;
  /** Until the answer was read, or the request failed. */
  readonly milliseconds: number;
  /** The server's identifier of the request, for its support. */
  readonly requestId: string | undefined;
  /** The code or message of the failure that ended it. */
  readonly error: string | undefined;
}

/** Headers by which registries, storages and proxies name a request. */
const REQUEST_ID_HEADERS: readonly string[] = [
  'x-request-id',
  'x-github-request-id',
  'x-amzn-requestid',
  'x-amz-request-id',
  'x-ms-request-id',
  'x-ms-correlation-request-id',
  'x-guploader-uploadid',
  'x-correlation-id',
  'x-artifactory-request-id',
  'x-trace-id',
  'cf-ray',
];

/** Input of {@link traceOf}. */
export interface TracedRequest {
  readonly method: string;
  readonly url: URL;
  readonly attempt: number | undefined;
  readonly started: number;
  readonly ended: number;
  readonly sent: number;
  readonly received: number;
  readonly answer: { readonly status: number; header(name: string): string | undefined } | undefined;
  readonly error: unknown;
}

/** The record of a request. */
export function traceOf(request: TracedRequest): HttpTrace {
  const { method, url, attempt = 1, started, ended, sent, received, answer, error } = request;
  const id = REQUEST_ID_HEADERS.map((name) => answer?.header(name)).find((value) => value !== undefined);
  return {
    method,
    url: redact(redactUrl(url)),
    attempt,
    status: answer?.status,
    sent,
    received,
    milliseconds: Math.round(ended - started),
    requestId: id === undefined ? undefined : redact(id.slice(0, 200)),
    error: error === undefined ? undefined : redact(errorCode(error) ?? String(error)),
  };
}
