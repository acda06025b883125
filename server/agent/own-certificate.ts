/**
 * This node's certificate, where the agent asks for it itself: makes a key that never leaves the node, asks an issuer, keeps both in a file
 * for the process that comes next, and renews them after two thirds of their life while everything goes on. Without a certificate, or
 * with one that has ended, the agent serves its node alone and goes on asking.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { bytesSource } from '../../base/byte-source.ts';
import { AccelError, asAccelError } from '../../base/error.ts';
import { hideSecret } from '../../base/secrets.ts';
import { writeAtomically } from '../../disk/write-atomically.ts';
import { createAuthority } from '../certificates/authority.ts';
import { createSigningRequest } from '../certificates/signing-request.ts';
import { issueNodeCertificate } from './certificates.ts';
import type { CertificateIssuer } from './cluster-parts.ts';
import { certificatesIn } from './pem-file.ts';
import { type Identity, isFor, isIssuedBy } from './pieces/attestation.ts';

/** Parts and settings of {@link OwnCertificate}. */
export interface OwnCertificateOptions {
  /** This node, `ip:port`. */
  readonly self: string;
  readonly issuer: CertificateIssuer;
  /** File of key, certificate and authorities, mode 0600; not kept unless given. */
  readonly file: string | undefined;
  readonly log: (line: string) => void;
  /** Hears of each end of a question. */
  readonly onOutcome?: (outcome: 'renewed' | 'failed') => void;
  /** Milliseconds: the first wait after a failure, and the longest. */
  readonly waits?: { readonly first: number; readonly longest: number };
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Shares of its life after which a certificate is renewed: between these two, so that those of many nodes are not renewed together. */
const EARLIEST_SHARE = 0.6;
const LATEST_SHARE = 2 / 3;
/** Milliseconds: the first wait after a failure, and the longest. */
const WAITS = { first: 1_000, longest: 300_000 };
/** Milliseconds between two looks at the clock, which may be set. */
const LOOK_EVERY = 600_000;
/** Milliseconds without an answer after which that is a problem. */
const PATIENCE = 30_000;
const MAX_FILE = 1 << 20;
const DAY = 86_400_000;

/** See the head of the file. */
export class OwnCertificate {
  readonly #o: OwnCertificateOptions;
  readonly #now: () => number;
  readonly #listeners: ((identity: Identity) => void)[] = [];
  #current: Identity;
  #life: { readonly from: number; readonly to: number } | undefined;
  #share = LATEST_SHARE;
  #asking: number | undefined;
  #failure: string | undefined;

  private constructor(options: OwnCertificateOptions, placeholder: Identity) {
    this.#o = options;
    this.#now = options.now ?? Date.now;
    this.#current = placeholder;
  }

  /** Reads the file. Its certificate is used if it is this node's, also when it has ended; otherwise one has to be asked for. */
  static async open(options: OwnCertificateOptions): Promise<OwnCertificate> {
    const own = new OwnCertificate(options, await placeholderFor(options.self));
    const kept = options.file === undefined ? undefined : await readIdentityFile(options.file, options.self);
    if (kept !== undefined) own.#use(kept);
    return own;
  }

  /** The certificate; one that nobody trusts while there is no other. */
  get current(): Identity {
    return this.#current;
  }

  /** Whether other agents believe the certificate now. */
  get isUsable(): boolean {
    const now = this.#now();
    return this.#life !== undefined && this.#life.from <= now && now < this.#life.to;
  }

  /** When it ends, in milliseconds since 1970; 0 without one. */
  get end(): number {
    return this.#life?.to ?? 0;
  }

  /** Why there is no certificate, or why it is not renewed; undefined while all is well. */
  get problem(): string | undefined {
    const { name } = this.#o.issuer;
    const isLate = this.#asking !== undefined && performance.now() - this.#asking > PATIENCE;
    const reason = this.#failure ?? (isLate ? `${name} does not answer` : undefined);
    if (this.#life === undefined) return `none yet: ${reason ?? `${name} was asked`}`;
    if (!this.isUsable) return `it ended at ${new Date(this.end).toISOString()}: ${reason ?? `${name} was asked`}`;
    return reason === undefined ? undefined : `not renewed, it ends at ${new Date(this.end).toISOString()}: ${reason}`;
  }

  /** Registers a function that is called with each new certificate. */
  onChange(listener: (identity: Identity) => void): void {
    this.#listeners.push(listener);
  }

  /** Asks once, where that is due; whether there is a usable certificate then. Never throws. */
  async ready(signal: AbortSignal): Promise<boolean> {
    if (!this.isUsable) await this.#ask(signal);
    return this.isUsable;
  }

  /** Renews until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { first, longest } = this.#o.waits ?? WAITS;
    let failures = 0;
    const pause = (wait: number) => sleep(wait, undefined, { signal, ref: false }).catch(() => undefined);
    while (!signal.aborted) {
      const due = this.#due - this.#now();
      if (due > 0) {
        await pause(Math.min(due, LOOK_EVERY));
      } else if (await this.#ask(signal)) {
        failures = 0;
      } else {
        failures += 1;
        const wait = Math.min(first * 2 ** (failures - 1), longest);
        await pause(wait / 2 + (Math.random() * wait) / 2);
      }
    }
  }

  /** Ends the issuer's connections. */
  close(): Promise<void> {
    return this.#o.issuer.close();
  }

  /** When the next certificate is asked for, in milliseconds since 1970. */
  get #due(): number {
    return this.#life === undefined ? 0 : this.#life.from + (this.#life.to - this.#life.from) * this.#share;
  }

  async #ask(signal: AbortSignal): Promise<boolean> {
    const { self, issuer, file, log, onOutcome } = this.#o;
    this.#asking ??= performance.now();
    try {
      const { request, key } = await createSigningRequest(`accel agent ${self}`, `accel-agent:${self}`);
      hideSecret(key);
      const identity = { key, ...(await issuer.issue(request, signal)) };
      const problem = faultOf(identity, self);
      if (problem !== undefined)
        throw new AccelError('cluster-error', `${issuer.name} gave a certificate that ${problem}`);
      if (file !== undefined) await keep(file, identity);
      this.#use(identity);
      log(`${issuer.name} gave a certificate; it ends at ${new Date(this.end).toISOString()}`);
      onOutcome?.('renewed');
    } catch (error) {
      if (signal.aborted) return false;
      const { message } = asAccelError(error);
      if (message !== this.#failure) log(`no certificate from ${issuer.name}, which is asked again: ${message}`);
      this.#failure = message;
      onOutcome?.('failed');
      return false;
    }
    this.#asking = undefined;
    this.#failure = undefined;
    return true;
  }

  #use(identity: Identity): void {
    hideSecret(identity.key);
    const { validFrom, validTo } = new X509Certificate(identity.cert);
    this.#current = identity;
    this.#life = { from: Date.parse(validFrom), to: Date.parse(validTo) };
    this.#share = EARLIEST_SHARE + Math.random() * (LATEST_SHARE - EARLIEST_SHARE);
    for (const listener of this.#listeners) listener(identity);
  }
}

/** A certificate of an authority that exists nowhere else: a server can start with it, and nobody trusts it. */
async function placeholderFor(self: string): Promise<Identity> {
  const validity = { from: new Date(Date.now() - DAY), to: new Date(Date.now() + DAY) };
  const authority = await createAuthority('accel agent without a certificate', validity);
  return { ca: authority.cert, ...(await issueNodeCertificate(authority, self, validity)) };
}

/** Why an identity is not a node's; undefined for one that is. */
function faultOf({ ca, cert, key }: Identity, self: string): string | undefined {
  const own = new X509Certificate(cert);
  if (!own.checkPrivateKey(createPrivateKey(key))) return 'is for another key';
  if (!isFor(own, self)) return `is not for ${self}`;
  return isIssuedBy(own, certificatesIn(ca)) ? undefined : 'is of no authority that came with it';
}

async function keep(file: string, { key, cert, ca }: Identity): Promise<void> {
  const text = [key, cert, ca].map((part) => `${part.trim()}\n`).join('');
  await writeAtomically(file, bytesSource(Buffer.from(text)).open(), { mode: 0o600 });
}

/** The identity of a file that {@link keep} wrote; undefined for none, a damaged one, or one of another node: a new one is asked for. */
async function readIdentityFile(file: string, self: string): Promise<Identity | undefined> {
  try {
    const text = await readFile(file, 'utf8');
    if (text.length > MAX_FILE) return undefined;
    const [key = ''] = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/.exec(text) ?? [];
    const [cert = '', ...authorities] = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const identity = { key: `${key}\n`, cert: `${cert}\n`, ca: authorities.map((one) => `${one}\n`).join('') };
    return faultOf(identity, self) === undefined ? identity : undefined;
  } catch {
    return undefined;
  }
}
