/**
 * Checks who sent a notification, before its body is read. Every secret is compared by the SHA-256 of both sides with
 * `timingSafeEqual`: neither its length nor its bytes show in the time that it takes.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { type HookKind, type HookRequest, textOf } from './hook.ts';

/** The secrets of one receiver; each that is there must match. */
export interface HookSecrets {
  /** The whole header field `Authorization`. */
  readonly authorization?: string;
  /** `USER:PASSWORD` of HTTP basic authentication. */
  readonly basic?: string;
  /** A shared secret, in the form that the kind of registry can send ({@link SECRET_FORM}). */
  readonly secret?: string;
}

/**
 * Form in which a kind proves that it knows a shared secret. `signature`: HMAC-SHA256 of the body, `X-Hub-Signature-256: sha256=HEX`. `jfrog`:
 * `X-JFrog-Event-Auth` with the secret, or with the HMAC-SHA256 of the body where payloads are signed. `token`: the query parameter
 * `token`, for senders that can be given nothing but a URL, or a signature as above.
 */
type SecretForm = 'signature' | 'jfrog' | 'token';

/** The form of each kind. */
const SECRET_FORM: Readonly<Record<HookKind, SecretForm>> = {
  distribution: 'token',
  harbor: 'token',
  github: 'signature',
  acr: 'token',
  'acr-azure': 'token',
  dockerhub: 'token',
  quay: 'token',
  artifactory: 'jfrog',
  ecr: 'token',
  gar: 'token',
  zot: 'token',
  cloudevents: 'token',
};

/** Reports whether the sender knows all secrets of the receiver; true for a receiver without secrets. */
export function isAuthentic(kind: HookKind, request: HookRequest, secrets: HookSecrets): boolean {
  const given = textOf(request.headers.authorization) ?? '';
  const { authorization, basic, secret } = secrets;
  // All are compared, whatever the first one says.
  const checks = [
    authorization === undefined || isSame(given, authorization),
    basic === undefined || isSame(given, `Basic ${Buffer.from(basic).toString('base64')}`),
    secret === undefined || knowsSecret(SECRET_FORM[kind], request, secret),
  ];
  return checks.every(Boolean);
}

function knowsSecret(form: SecretForm, { headers, query, body }: HookRequest, secret: string): boolean {
  const mac = createHmac('sha256', secret).update(body).digest('hex');
  if (form === 'jfrog') {
    const sent = textOf(headers['x-jfrog-event-auth']) ?? '';
    return [isSame(sent, secret), isSame(sent, mac)].some(Boolean);
  }
  const signed = isSame(textOf(headers['x-hub-signature-256']) ?? '', `sha256=${mac}`);
  return form === 'signature' ? signed : [signed, isSame(query.get('token') ?? '', secret)].some(Boolean);
}

function isSame(found: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(found), digest(expected));
}
