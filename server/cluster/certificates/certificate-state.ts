/**
 * The certificates that the webhook makes for itself, as its Secret keeps them: an authority with its key, the certificate that it
 * signed, and the bundle of all authorities that may have signed one that is still served. Says what is due; pure but for the keys.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createAuthority, issueCertificate, type PemPair } from '../../certificates/authority.ts';

/** Certificates that belong together. */
export interface CertificateState {
  /** Signs; the first of the bundle. */
  readonly authority: PemPair;
  /** The certificate that the webhook serves. */
  readonly leaf: PemPair;
  /** Authorities that API servers trust, PEM, the present one first. */
  readonly bundle: readonly string[];
}

/** Names and lifetimes that certificates are to have. */
export interface CertificateWishes {
  /** DNS names and addresses by which API servers call the webhook. */
  readonly hosts: readonly string[];
  /** Milliseconds for which a certificate, and an authority, holds. */
  readonly lifetime: number;
  readonly authorityLifetime: number;
}

/** Data of a Secret: base64 by key. */
export type SecretData = Readonly<Record<string, string>>;

/** Share of its life after which a certificate is replaced. */
const RENEWAL_SHARE = 2 / 3;
/** Milliseconds by which clocks may differ, at most; a share of a short life. */
const EARLIER = 600_000;
const EARLIER_SHARE = 0.05;
/** Most authorities of a bundle: past it the oldest goes. */
const MAX_BUNDLE = 8;

/** The certificates of a Secret; undefined for one without, or with parts that do not belong together. */
export function readState(data: SecretData | undefined): CertificateState | undefined {
  const text = (key: string) => Buffer.from(data?.[key] ?? '', 'base64').toString('utf8');
  const bundle = text('ca.crt').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const [own] = bundle;
  if (own === undefined) return undefined;
  const state = {
    authority: { cert: own, key: text('ca.key') },
    leaf: { cert: text('tls.crt'), key: text('tls.key') },
    bundle,
  };
  try {
    const authority = new X509Certificate(own);
    const leaf = new X509Certificate(state.leaf.cert);
    const belongs =
      authority.checkPrivateKey(createPrivateKey(state.authority.key)) &&
      leaf.checkPrivateKey(createPrivateKey(state.leaf.key)) &&
      leaf.verify(authority.publicKey);
    return belongs ? state : undefined;
  } catch {
    // Damaged PEM: all is made again.
    return undefined;
  }
}

/** The data of a Secret that keeps certificates. */
export function writeState({ authority, leaf, bundle }: CertificateState): SecretData {
  const encoded = (text: string) => Buffer.from(text).toString('base64');
  return {
    'ca.crt': encoded(bundleText(bundle)),
    'ca.key': encoded(authority.key),
    'tls.crt': encoded(leaf.cert),
    'tls.key': encoded(leaf.key),
  };
}

/** A bundle as one PEM text. */
export function bundleText(bundle: readonly string[]): string {
  return bundle.map((one) => `${one.trim()}\n`).join('');
}

/**
 * The certificates that should take the place of others at a time in milliseconds since 1970; undefined while those are right. A new
 * authority leaves the old ones in the bundle until they end, so that whoever still serves a certificate of theirs is trusted.
 */
export async function renewed(
  state: CertificateState | undefined,
  wishes: CertificateWishes,
  now: number,
): Promise<CertificateState | undefined> {
  const lasting = (state?.bundle ?? []).filter((cert) => endOf(cert) > now);
  if (state === undefined || now >= renewalOf(state.authority.cert) || !lasting.includes(state.authority.cert)) {
    const authority = await createAuthority('accel webhook authority', validity(now, wishes.authorityLifetime));
    const bundle = [authority.cert, ...lasting].slice(0, MAX_BUNDLE);
    return { authority, leaf: await leafOf(authority, wishes, now), bundle };
  }
  if (now >= renewalOf(state.leaf.cert) || !isForAll(state.leaf.cert, wishes.hosts)) {
    return { ...state, bundle: lasting, leaf: await leafOf(state.authority, wishes, now) };
  }
  return lasting.length < state.bundle.length ? { ...state, bundle: lasting } : undefined;
}

/** When something is due next, in milliseconds since 1970. */
export function nextRenewal({ authority, leaf, bundle }: CertificateState): number {
  return Math.min(renewalOf(authority.cert), renewalOf(leaf.cert), ...bundle.map(endOf));
}

/** When a certificate ends, in milliseconds since 1970. */
export function endOf(cert: string): number {
  return Date.parse(new X509Certificate(cert).validTo);
}

function renewalOf(cert: string): number {
  const from = Date.parse(new X509Certificate(cert).validFrom);
  return from + (endOf(cert) - from) * RENEWAL_SHARE;
}

function validity(now: number, lifetime: number) {
  return { from: new Date(now - Math.min(EARLIER, lifetime * EARLIER_SHARE)), to: new Date(now + lifetime) };
}

function leafOf(authority: PemPair, { hosts, lifetime }: CertificateWishes, now: number): Promise<PemPair> {
  const { from, to } = validity(now, lifetime);
  const last = new Date(Math.min(to.getTime(), endOf(authority.cert)));
  return issueCertificate(authority, { name: 'accel webhook', hosts, validity: { from, to: last } });
}

function isForAll(cert: string, hosts: readonly string[]): boolean {
  const leaf = new X509Certificate(cert);
  return hosts.every((host) => (isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host)) !== undefined);
}
