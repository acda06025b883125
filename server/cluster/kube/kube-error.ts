/** Failures of the API of Kubernetes, as its documents of kind Status describe them. */
import { AccelError } from '../../../base/error.ts';

/** Reasons of a Status that callers act on (k8s.io/apimachinery, StatusReason); others are text. */
export type KubeReason =
  | 'NotFound'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Invalid'
  | 'Expired'
  | 'Forbidden'
  | 'Unauthorized'
  | 'TooManyRequests'
  | 'Timeout'
  | 'unreachable'
  | 'endless'
  | (string & {});

/** A failure with the reason that the API gave. Its code is `cluster-error`. */
export class KubeError extends AccelError {
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  readonly reason: KubeReason;
  /** Milliseconds after which the server wants to be asked again; undefined where it does not say. */
  readonly retryAfter: number | undefined;

  constructor(
    message: string,
    {
      status,
      reason,
      where,
      retryAfter,
      cause,
    }: {
      readonly status: number;
      readonly reason: KubeReason;
      readonly where: Readonly<Record<string, string | number>>;
      readonly retryAfter?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super('cluster-error', message, {
      where,
      found: status === 0 ? reason : `HTTP ${status} ${reason}`,
      ...(hintOf(reason) === undefined ? {} : { hint: hintOf(reason)! }),
      ...(cause === undefined ? {} : { cause }),
    });
    this.status = status;
    this.reason = reason;
    this.retryAfter = retryAfter;
  }
}

/** Whether an error is of the API and has one of these reasons. */
export function isKubeError(error: unknown, ...reasons: readonly KubeReason[]): error is KubeError {
  return error instanceof KubeError && (reasons.length === 0 || reasons.includes(error.reason));
}

function hintOf(reason: KubeReason): string | undefined {
  if (reason === 'Forbidden') return 'Grant this permission to the service account (RBAC).';
  if (reason === 'Unauthorized') return 'Check the token of the service account or the kubeconfig.';
  if (reason === 'unreachable') return 'Check that the API server runs and that its address and certificate are right.';
  if (reason === 'endless')
    return 'Check what answers at the address of the API server: a proxy that drops the query of a URL sends the same page again.';
  return undefined;
}
