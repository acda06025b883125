/** Failures in the log: the message alone rarely says which certificate, name or port it was. */

/** A failure of the queue or an error. */
interface Describable {
  readonly message: string;
  readonly found?: unknown;
}

/** The message with what was found: `the registry could not be reached (certificate has expired)`. */
export function failureText({ message, found }: Describable): string {
  return found === undefined ? message : `${message} (${String(found)})`;
}
