/**
 * Signed statements about pieces: an owner or a holder says which SHA-256 a piece has, with the key of its certificate.
 * Whoever relays the piece passes the statement on, so a wrong one leads back to its maker.
 */
import { createPrivateKey, type KeyObject, sign, verify, X509Certificate } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { atMost } from '../at-most.ts';
import { certificatesIn } from '../pem-file.ts';

/** A statement about a piece. */
export interface Statement {
  readonly digest: string;
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly index: number;
  /** SHA-256 of the piece, lower-case hexadecimal. */
  readonly sha256: string;
}

/** Whether the maker fetched the piece as its owner, or read it from a whole blob whose digest it had checked. */
export type Voucher = 'owner' | 'holder';

/** A statement whose signature is good. */
export interface Attested extends Statement {
  /** Id of the node that signed. */
  readonly signer: string;
  readonly as: Voucher;
}

/** The certificate of this node and of its authority, in PEM. */
export interface Identity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Longest attestation that is looked at, in characters. */
const MAX_LENGTH = 8192;
/** Certificates whose chain was checked lately. */
const CERTIFICATES_KEPT = 10_000;
/** A URI among the names of a certificate that says which node it is for: `accel-agent:10.0.0.1:65002`. */
const NODE_URI = 'URI:accel-agent:';

/** Makes and checks attestations. */
export class Attestations {
  #key: KeyObject;
  #certificate: X509Certificate;
  /** Several while one takes the place of another. */
  #authorities: readonly X509Certificate[];
  readonly #now: () => number;
  readonly #checked = new LRUCache<string, X509Certificate>(atMost(CERTIFICATES_KEPT));

  /** Throws the system's error for PEM that cannot be read. `now` in milliseconds since the epoch. */
  constructor(identity: Identity, now: () => number = Date.now) {
    this.#key = createPrivateKey(identity.key);
    this.#certificate = new X509Certificate(identity.cert);
    this.#authorities = certificatesIn(identity.ca);
    this.#now = now;
  }

  /** Signs with another certificate of this node from now on, and believes its authorities. Throws the system's error for damaged PEM. */
  use(identity: Identity): void {
    this.#key = createPrivateKey(identity.key);
    this.#certificate = new X509Certificate(identity.cert);
    this.#authorities = certificatesIn(identity.ca);
    this.#checked.clear();
  }

  /** Whether others believe who made an attestation: the certificate in it holds, and is of this network. Its signature is not looked at. */
  isBelieved(attestation: string): boolean {
    return this.#certificateOf(attestation.split('.', 4)[3] ?? '') !== undefined;
  }

  /**
   * The attestation of a piece that this node has checked and kept: the one that came with it while that is believed; a new one where this
   * node had made it, whose certificate has ended since; undefined where nobody would believe it.
   */
  renew(kept: string, statement: Statement | undefined, self: string): string | undefined {
    if (this.isBelieved(kept)) return kept;
    const [, as, signer] = kept.split('.', 3);
    const isOwn = signer === encode(self) && (as === 'owner' || as === 'holder');
    return isOwn && statement !== undefined ? this.sign(statement, as, self) : undefined;
  }

  /** Signs a statement. */
  sign(statement: Statement, as: Voucher, self: string): string {
    const signature = sign(algorithmOf(this.#key), payload(statement, as, self), this.#key).toString('base64url');
    return ['1', as, encode(self), this.#certificate.raw.toString('base64url'), signature].join('.');
  }

  /** The statement that `attestation` makes about a piece; undefined unless it was signed by a node of this network. */
  check(attestation: string, statement: Statement): Attested | undefined {
    if (attestation.length > MAX_LENGTH) return undefined;
    const [version, as, node, certificate, signature, ...more] = attestation.split('.');
    if (version !== '1' || (as !== 'owner' && as !== 'holder') || more.length > 0) return undefined;
    if (node === undefined || certificate === undefined || signature === undefined) return undefined;
    const signer = Buffer.from(node, 'base64url').toString('utf8');
    const known = this.#certificateOf(certificate);
    if (known === undefined || !isFor(known, signer)) return undefined;
    const good = verify(
      algorithmOf(known.publicKey),
      payload(statement, as, signer),
      known.publicKey,
      Buffer.from(signature, 'base64url'),
    );
    return good ? { ...statement, signer, as } : undefined;
  }

  #certificateOf(encoded: string): X509Certificate | undefined {
    let certificate = this.#checked.get(encoded);
    if (certificate === undefined) {
      try {
        certificate = new X509Certificate(Buffer.from(encoded, 'base64url'));
      } catch {
        // A stranger's bytes: no certificate, no statement.
        return undefined;
      }
      if (!isIssuedBy(certificate, this.#authorities)) return undefined;
      this.#checked.set(encoded, certificate);
    }
    const now = this.#now();
    const valid = Date.parse(certificate.validFrom) <= now && now <= Date.parse(certificate.validTo);
    return valid ? certificate : undefined;
  }
}

/** Whether one of the authorities has signed a certificate. */
export function isIssuedBy(certificate: X509Certificate, authorities: readonly X509Certificate[]): boolean {
  return authorities.some((one) => certificate.checkIssued(one) && certificate.verify(one.publicKey));
}

/** Whether a certificate speaks for a node: it names the node, or, where it names none, the node's address. */
export function isFor(certificate: X509Certificate, node: string): boolean {
  const text = certificate.subjectAltName ?? '';
  // Node quotes a name that holds a comma: no name of a node does, and one inside could pass for another.
  if (text.includes('"')) return false;
  const names = text.split(', ');
  const nodes = names.filter((name) => name.startsWith(NODE_URI));
  if (nodes.length > 0) return nodes.includes(NODE_URI + node);
  const address = node.slice(0, node.lastIndexOf(':')).replace(/^\[|\]$/g, '');
  return certificate.checkIP(address) !== undefined || certificate.checkHost(address) !== undefined;
}

/** Bytes that are signed; their first word keeps them apart from anything else the key may sign. */
function payload({ digest, size, index, sha256 }: Statement, as: Voucher, signer: string): Buffer {
  return Buffer.from(`accel-piece-v1\n${as}\n${signer}\n${digest}\n${size}\n${index}\n${sha256}`);
}

function algorithmOf(key: KeyObject): string | null {
  return key.asymmetricKeyType === 'ed25519' || key.asymmetricKeyType === 'ed448' ? null : 'sha256';
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64url');
}
