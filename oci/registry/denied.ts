/**
 * Refusals of a registry: no password, a wrong one, or an account that may not do this. Each names the source of the
 * login.
 */
import { type Advice, advise, option } from '../../base/advice.ts';
import { AccelError, type ErrorPlace } from '../../base/error.ts';
import type { FoundCredentials } from './credential-kinds.ts';

/**
 * The state of a login: nobody gave one, the registry did not ask for it (or asked for an unknown kind), it was refused, it
 * may have been refused, or it was accepted.
 */
export type Login = 'none' | 'unsent' | 'refused' | 'doubtful' | 'accepted';

/** A refusal, and the login that was refused. */
export interface Refused {
  /** Completes "the registry did not allow to …". */
  readonly action: string;
  readonly registry: string;
  readonly login: Login;
  readonly credentials: FoundCredentials | undefined;
  /** The registry's words, with its status. */
  readonly found: string;
  readonly where: ErrorPlace;
}

/** The `unauthorized` error of a refusal. */
export function deniedError({ action, registry, login, credentials, found, where }: Refused): AccelError {
  const { message, hint } = credentials === undefined ? anonymous(action, registry) : known(action, login, credentials);
  const user = credentials?.username;
  return new AccelError('unauthorized', message, {
    where: {
      registry,
      ...(user === undefined ? {} : { user }),
      credentials: credentials === undefined ? 'none' : credentials.from,
      ...where,
    },
    found,
    hint,
  });
}

interface Explanation {
  readonly message: string;
  readonly hint: string | Advice;
}

function anonymous(action: string, registry: string): Explanation {
  return {
    message: `the registry did not allow to ${action} without a login, and no password for it was found`,
    hint: advise`Log in with docker login ${registry}, set DOCKER_AUTH_CONFIG, or give ${option('username', 'USER')} with a password.`,
  };
}

function known(action: string, login: Login, { kind, username, from }: FoundCredentials): Explanation {
  const secret = kind === 'basic' ? 'password' : 'token';
  const whose = username === undefined ? `the ${secret}` : `the ${secret} of ${username}`;
  const who = username ?? 'this login';
  if (login === 'unsent') {
    return {
      message: `the registry did not allow to ${action}, and did not ask for a password or token`,
      hint: `Check the name of the registry, and the proxies in front of it: ${whose} was not sent, because nothing asked for it by Basic or Bearer.`,
    };
  }
  if (login === 'refused') {
    return { message: `the registry did not accept ${whose}`, hint: `Correct it where it comes from: ${from}.` };
  }
  if (login === 'doubtful') {
    return {
      message: `the registry did not accept ${whose}, or does not allow ${who} to ${action}`,
      hint: `Check the login where it comes from, ${from}, and that the account may pull and push in this repository.`,
    };
  }
  return {
    message: `the registry accepted ${whose} and did not allow ${who} to ${action}`,
    hint: 'The account needs pull and push for this repository.',
  };
}
