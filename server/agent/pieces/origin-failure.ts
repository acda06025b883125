/** The failure of an origin, as the parts of the agent pass it on. */

/** The origin answered with an error, or with something that is not what was asked for (`status` 0: not at all). */
export class OriginFailure extends Error {
  override readonly name = 'OriginFailure';
  /** HTTP status of the origin; 0 where it did not answer, 502 where its answer was no good. */
  readonly status: number;
  /** Its WWW-Authenticate header. */
  readonly challenge: string | undefined;

  constructor(
    status: number,
    message: string,
    details: { readonly challenge?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = status;
    this.challenge = details.challenge;
  }
}
