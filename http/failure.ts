/** Failures below HTTP: what kind they are, and whether they may pass. */

/** Why a deadline of this room ended a request. */
export type DeadlineCode = 'HEADERS_DEADLINE' | 'DOCUMENT_DEADLINE' | 'TOO_SLOW';

/** A request that took longer than it may. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly code: DeadlineCode;

  constructor(code: DeadlineCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Codes of failures by time: each try of them takes long. */
const SLOW_CODES: readonly string[] = [
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'HEADERS_DEADLINE',
  'DOCUMENT_DEADLINE',
  'TOO_SLOW',
];

const TRANSIENT_CODES: readonly string[] = [
  ...SLOW_CODES,
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENETDOWN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  // The peer closed the connection before the announced length.
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
];

/** The code of an error of the system, of undici or of this room, also where it is wrapped. */
export function errorCode(error: unknown): string | undefined {
  for (let inner = error, depth = 0; inner instanceof Error && depth < 5; inner = inner.cause, depth += 1) {
    if ('code' in inner && typeof inner.code === 'string') return inner.code;
    // Both address families failed: the errors are alike, the first one speaks.
    if (inner instanceof AggregateError && inner.errors.length > 0) return errorCode(inner.errors[0]);
  }
  return undefined;
}

/** Whether a failure below HTTP may pass by itself: a reset or refused connection, a timeout, a stall. */
export function isTransientError(error: unknown): boolean {
  const code = errorCode(error);
  return code !== undefined && TRANSIENT_CODES.includes(code);
}

/** Whether time ended a request. */
export function isSlowError(error: unknown): boolean {
  const code = errorCode(error);
  return code !== undefined && SLOW_CODES.includes(code);
}
