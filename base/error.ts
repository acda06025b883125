import { redact } from './secrets.ts';

/**
 * Every way accel can fail, as one literal union. The command line maps a code to an exit code (cli/report.ts), and
 * docs/troubleshooting.md explains each.
 */
export type AccelErrorCode =
  // the caller
  | 'usage'
  | 'reference-invalid'
  | 'tag-too-long'
  | 'tag-conflict'
  | 'already-accelerated'
  | 'aborted'
  // the registry and its content
  | 'not-found'
  | 'unauthorized'
  | 'registry-unreachable'
  | 'registry-error'
  | 'digest-mismatch'
  | 'size-mismatch'
  | 'diff-id-mismatch'
  | 'manifest-invalid'
  | 'layout-invalid'
  // the image cannot be converted (in this mode)
  | 'image-unsupported'
  | 'layer-unsupported'
  | 'limit-exceeded'
  | 'filesystem-full'
  // bytes that break their format
  | 'tar-invalid'
  | 'gzip-invalid'
  | 'zstd-invalid'
  | 'ext4-invalid'
  | 'lsmt-invalid'
  | 'zfile-invalid'
  | 'turbo-invalid'
  | 'prefetch-invalid'
  // the rest
  | 'verification-failed'
  | 'notify-failed'
  | 'io-error'
  | 'internal';

/** The place of an error: whatever of image, platform, layer, tar path, byte offset … is known where it is thrown. */
export type ErrorPlace = Readonly<Record<string, string | number>>;

/** What an {@link AccelError} carries beside its code and message; every field is optional. */
export interface AccelErrorDetails {
  /** Where it happened; outer callers add to it with {@link withPlace}. */
  readonly where?: ErrorPlace;
  /** What a correct input would have held. */
  readonly expected?: string | number;
  /** What was there instead. */
  readonly found?: string | number;
  /** What the user can do about it, as one sentence. */
  readonly hint?: string;
  /** The error below this one. */
  readonly cause?: unknown;
}

/**
 * The one error of accel: what happened (message), where, what was expected, what was found, what to do.
 * Secrets that the process used (base/secrets.ts) are taken out of every field.
 */
export class AccelError extends Error {
  override readonly name = 'AccelError';
  readonly code: AccelErrorCode;
  readonly where: ErrorPlace;
  readonly expected: string | number | undefined;
  readonly found: string | number | undefined;
  readonly hint: string | undefined;

  constructor(code: AccelErrorCode, message: string, details: AccelErrorDetails = {}) {
    super(redact(message), details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.where = Object.fromEntries(Object.entries(details.where ?? {}).map(([key, value]) => [key, clean(value)]));
    this.expected = clean(details.expected);
    this.found = clean(details.found);
    this.hint = clean(details.hint);
  }
}

/** A value without secrets; a number is none. */
function clean<T extends string | number | undefined>(value: T): T {
  return typeof value === 'string' ? (redact(value) as T) : value;
}

/**
 * The same error with more of its place filled in, outermost first; what the error itself knew wins. Anything that is
 * not an {@link AccelError} is a defect of accel or of the machine: it becomes code `internal` (or `io-error` for a
 * system error, `aborted` for an abort) and keeps the original as its cause.
 */
export function withPlace(error: unknown, place: ErrorPlace): AccelError {
  const known = asAccelError(error);
  const located = new AccelError(known.code, known.message, {
    where: { ...place, ...known.where },
    ...(known.expected === undefined ? {} : { expected: known.expected }),
    ...(known.found === undefined ? {} : { found: known.found }),
    ...(known.hint === undefined ? {} : { hint: known.hint }),
    ...(known.cause === undefined ? {} : { cause: known.cause }),
  });
  if (known.stack !== undefined) located.stack = known.stack;
  return located;
}

/** Any thrown value as an {@link AccelError}; see {@link withPlace} for the mapping. */
export function asAccelError(error: unknown): AccelError {
  if (error instanceof AccelError) return error;
  if (!(error instanceof Error)) return new AccelError('internal', String(error), { cause: error });
  if (error.name === 'AbortError') return new AccelError('aborted', 'interrupted', { cause: error });
  const system = error as NodeJS.ErrnoException;
  if (typeof system.code === 'string' && typeof system.syscall === 'string') {
    const where = system.path === undefined ? {} : { path: system.path };
    return new AccelError('io-error', error.message, { where, cause: error });
  }
  return new AccelError('internal', error.message || error.name, { cause: error });
}
