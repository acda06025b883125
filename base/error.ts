import { type Advice, advise, libraryWord, option, renderAdvice } from './advice.ts';
import { redact } from './secrets.ts';

/**
 * Every way accel can fail, as one literal union. The command line maps a code to an exit code (cli/error-report.ts), and
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
  // of many images, some
  | 'partly-failed'
  | 'timed-out'
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
  | 'cluster-error'
  | 'io-error'
  | 'internal';

/** The place of an error: whatever of image, platform, layer, tar path, byte offset … is known where it is thrown. */
export type ErrorPlace = Readonly<Record<string, string | number>>;

/** Details of an {@link AccelError} beside its code and message; every field is optional. */
export interface AccelErrorDetails {
  /** Where it happened; outer callers add to it with {@link withPlace}. */
  readonly where?: ErrorPlace;
  /** The value that was expected. */
  readonly expected?: string | number;
  /** The value that was found. */
  readonly found?: string | number;
  /** One sentence of advice; options in it are named with `advise` and `option` of advice.ts, never by a flag. */
  readonly hint?: string | Advice;
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
  /** The advice in the words of the library. */
  readonly hint: string | undefined;
  /** The advice with its options apart, for a front end that has words of its own. */
  readonly advice: Advice | undefined;

  constructor(code: AccelErrorCode, message: string, details: AccelErrorDetails = {}) {
    super(redact(message), details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.where = Object.fromEntries(Object.entries(details.where ?? {}).map(([key, value]) => [key, clean(value)]));
    this.expected = clean(details.expected);
    this.found = clean(details.found);
    this.advice = cleanAdvice(details.hint);
    this.hint = this.advice && renderAdvice(this.advice, libraryWord);
  }

  /** Everything but code and message: what a copy of this error, or its way to another thread, needs. */
  get details(): AccelErrorDetails {
    return {
      where: this.where,
      ...(this.expected === undefined ? {} : { expected: this.expected }),
      ...(this.found === undefined ? {} : { found: this.found }),
      ...(this.advice === undefined ? {} : { hint: this.advice }),
      ...(this.cause === undefined ? {} : { cause: this.cause }),
    };
  }
}

/** Takes secrets out of a value; numbers stay as they are. */
function clean<T extends string | number | undefined>(value: T): T {
  return typeof value === 'string' ? (redact(value) as T) : value;
}

function cleanAdvice(hint: AccelErrorDetails['hint']): Advice | undefined {
  if (hint === undefined || typeof hint === 'string') return hint === undefined ? undefined : [redact(hint)];
  return hint.map((part) => {
    if (typeof part === 'string') return redact(part);
    return part.value === undefined ? part : { ...part, value: redact(part.value) };
  });
}

/**
 * The same error with more of its place filled in, outermost first; what the error itself knew wins. Anything that is
 * not an {@link AccelError} is a defect of accel or of the machine: it becomes code `internal` (or `io-error` for a
 * system error, `aborted` for an abort) and keeps the original as its cause.
 */
export function withPlace(error: unknown, place: ErrorPlace): AccelError {
  const known = asAccelError(error);
  const located = new AccelError(known.code, known.message, {
    ...known.details,
    where: { ...place, ...known.where },
  });
  if (known.stack !== undefined) located.stack = known.stack;
  return located;
}

/** Any thrown value as an {@link AccelError}; see {@link withPlace} for the mapping. */
export function asAccelError(error: unknown): AccelError {
  if (error instanceof AccelError) return error;
  if (!(error instanceof Error)) return new AccelError('internal', String(error), { cause: error });
  if (error.name === 'AbortError') return new AccelError('aborted', 'interrupted', { cause: error });
  if (isOutOfMemory(error)) return outOfMemory(error);
  const system = error as NodeJS.ErrnoException;
  if (typeof system.code === 'string' && typeof system.syscall === 'string') {
    const where = system.path === undefined ? {} : { path: system.path };
    return new AccelError('io-error', error.message, { where, cause: error });
  }
  return new AccelError('internal', error.message || error.name, { cause: error });
}

/** Codes of Node and the system for memory that could not be had: of buffers, threads and processes. */
const MEMORY_CODES: ReadonlySet<string | undefined> = new Set([
  'ENOMEM',
  'ERR_MEMORY_ALLOCATION_FAILED',
  'ERR_WORKER_OUT_OF_MEMORY',
  'ERR_WORKER_INIT_FAILED',
]);

/** V8 has no codes: its errors of memory are a RangeError with one of these texts. */
const MEMORY_TEXT = /could not allocate memory|allocation failed|out of memory|memory allocation|cannot allocate/i;

/** Whether an error of Node or V8 says that memory could not be had. */
export function isOutOfMemory(error: Error): boolean {
  return (
    MEMORY_CODES.has((error as NodeJS.ErrnoException).code) ||
    (error instanceof RangeError && MEMORY_TEXT.test(error.message))
  );
}

function outOfMemory(cause: Error): AccelError {
  return new AccelError('limit-exceeded', 'this process may not have as much memory as it needs', {
    expected: 'memory for buffers and threads, and some 10 GiB of addresses for each memory of WebAssembly',
    found: cause.message,
    hint: advise`Raise the limit (ulimit -v, a container's limit) or make ${option('maxMemory')} and ${option('workers')} smaller.`,
    cause,
  });
}
