/** The answer of a token server. */
import { AccelError, type ErrorPlace } from '../../base/error.ts';
import { isRecord } from '../../base/is-record.ts';

/** A bearer token and when it ends, in milliseconds since the epoch. */
export interface Token {
  readonly value: string;
  readonly expires: number;
}

/** Seconds that a token lives when the server does not say (token specification). */
const DEFAULT_LIFETIME = 60;

/** Reads `token` or `access_token` and `expires_in`. Throws `unauthorized` if there is no token in it. */
export function parseTokenAnswer(text: string, now: number, where: ErrorPlace): Token {
  const answer = parse(text);
  const value = [answer.token, answer.access_token].find((item) => typeof item === 'string' && item !== '');
  // The value goes into a header: a line break in it could begin another one.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new AccelError('unauthorized', 'the token server answered without a token', {
      where,
      expected: 'JSON with token or access_token',
      found: `fields ${Object.keys(answer).slice(0, 10).join(', ') || '(none)'}`,
    });
  }
  const lifetime =
    typeof answer.expires_in === 'number' && answer.expires_in > 0 ? answer.expires_in : DEFAULT_LIFETIME;
  // From now, not from issued_at: the clocks of server and client need not agree.
  return { value, expires: now + lifetime * 1000 };
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : {};
  } catch {
    return {}; // Reported by the caller as an answer without a token; the text itself may hold one.
  }
}
