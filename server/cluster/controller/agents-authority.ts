/**
 * The authority of the agents, as the controller keeps it in a Secret that no node reads. A new authority signs only after a whole life of a
 * certificate: by then each agent has renewed its own and got the new authority with it, so none meets a certificate that it does not trust.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { AccelError } from '../../../base/error.ts';
import { hideSecret } from '../../../base/secrets.ts';
import { createAuthority, type PemPair } from '../../certificates/authority.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { KubeClient } from '../kube.ts';

/** Authorities, the newest first. */
export type Authorities = readonly PemPair[];

/** Milliseconds for which a certificate of an agent, and an authority, holds. */
export interface Lifetimes {
  readonly leaf: number;
  readonly authority: number;
}

/** Settings of {@link AgentsAuthority}. */
export interface AuthorityOptions {
  readonly namespace: string;
  readonly secret: string;
  /** Makes authorities; otherwise the Secret is only read. */
  readonly renews: boolean;
  readonly lifetimes: Lifetimes;
  readonly log: (line: string) => void;
}

interface StoredSecret extends KubeObject {
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

/** Keys of the Secret: certificates one after another, and their keys in the same order. */
const [CERTIFICATES, KEYS] = ['ca.pem', 'ca-key.pem'];
const RENEWAL_SHARE = 2 / 3;
/** Milliseconds by which clocks may differ, at most; a share of a short life. */
const EARLIER = 600_000;
const EARLIER_SHARE = 0.05;
/** Most authorities that are kept. */
const MOST = 4;
/** Milliseconds after which the Secret is read again. */
const FRESH = 60_000;

/** See the head of the file. */
export class AgentsAuthority {
  readonly #client: KubeClient;
  readonly #o: AuthorityOptions;
  #known: { readonly authorities: Authorities; readonly at: number } | undefined;

  constructor(client: KubeClient, options: AuthorityOptions) {
    this.#client = client;
    this.#o = options;
  }

  /** When the authority that signs ends, in milliseconds since 1970; 0 while it is not known. */
  get end(): number {
    const signer = this.#known && signerOf(this.#known.authorities, this.#o.lifetimes, Date.now());
    return signer === undefined ? 0 : lifeOf(signer).to;
  }

  /** The authorities, after what is due was made. Throws `cluster-error` where the Secret is not there or holds none. */
  async current(signal: AbortSignal): Promise<Authorities> {
    if (this.#known !== undefined && performance.now() - this.#known.at < FRESH) return this.#known.authorities;
    const { namespace, secret: name, renews, lifetimes, log } = this.#o;
    const where = { secret: `${namespace}/${name}` };
    const secret = await this.#client.find<StoredSecret>(RESOURCES.secrets, { namespace, name }, { signal });
    if (secret === undefined)
      throw new AccelError('cluster-error', 'the Secret with the authority of the agents does not exist', { where });
    let authorities = readAuthorities(secret.data);
    if (authorities.length === 0 && (!renews || Object.keys(secret.data ?? {}).length > 0)) {
      // Never overwritten: nodes trust what it held, and a person can put it back.
      throw new AccelError('cluster-error', 'the Secret has no authority of agents that can be used', {
        where,
        expected: `${CERTIFICATES} and ${KEYS} that belong together, and hold now`,
        found: Object.keys(secret.data ?? {}).join(', ') || 'nothing',
      });
    }
    const due = renews ? await renewedAuthorities(authorities, lifetimes, Date.now()) : undefined;
    if (due !== undefined) {
      for (const { key } of due) hideSecret(key);
      // With the resourceVersion that was read: of two that lead for a moment, one wins.
      await this.#client.replace(RESOURCES.secrets, { ...secret, data: writeAuthorities(due) }, { signal });
      log(`an authority of the agents was made; ${due.length === 1 ? 'it is the first' : `${due.length} are trusted`}`);
      authorities = due;
    }
    this.#known = { authorities, at: performance.now() };
    return authorities;
  }
}

/** The authorities of a Secret that hold now; empty where they cannot be read or do not belong together. */
export function readAuthorities(data: Readonly<Record<string, string>> | undefined, now = Date.now()): Authorities {
  const blocks = (name: string, label: string) =>
    Buffer.from(data?.[name] ?? '', 'base64')
      .toString('utf8')
      .match(new RegExp(`-----BEGIN [A-Z ]*${label}-----[^-]+-----END [A-Z ]*${label}-----`, 'g')) ?? [];
  const [certs, keys] = [blocks(CERTIFICATES!, 'CERTIFICATE'), blocks(KEYS!, 'PRIVATE KEY')];
  for (const key of keys) hideSecret(key);
  try {
    const pairs = certs.flatMap((cert, index) => (keys[index] === undefined ? [] : [{ cert, key: keys[index] }]));
    const fit = pairs.every(({ cert, key }) => new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)));
    return fit ? pairs.filter((pair) => lifeOf(pair).to > now) : [];
  } catch {
    // Damaged PEM.
    return [];
  }
}

/** The data of a Secret that keeps authorities. */
export function writeAuthorities(authorities: Authorities): Readonly<Record<string, string>> {
  const joined = (part: keyof PemPair) =>
    Buffer.from(authorities.map((one) => `${one[part].trim()}\n`).join('')).toString('base64');
  return { [CERTIFICATES!]: joined('cert'), [KEYS!]: joined('key') };
}

/** The authorities with a new one before the others, where the newest is past two thirds of its life; undefined where nothing is due. */
export async function renewedAuthorities(
  authorities: Authorities,
  { authority }: Lifetimes,
  now: number,
): Promise<Authorities | undefined> {
  const [newest] = authorities;
  if (newest !== undefined) {
    const { from, to } = lifeOf(newest);
    if (now < from + (to - from) * RENEWAL_SHARE) return undefined;
  }
  const earlier = Math.min(EARLIER, authority * EARLIER_SHARE);
  const validity = { from: new Date(now - earlier), to: new Date(now + authority) };
  return [await createAuthority('accel agents', validity), ...authorities].slice(0, MOST);
}

/** The authority that signs: the newest that all agents know, or the oldest. */
export function signerOf(authorities: Authorities, { leaf }: Lifetimes, now: number): PemPair | undefined {
  return authorities.find((one) => now >= lifeOf(one).from + leaf) ?? authorities.at(-1);
}

/** From when to when a certificate of an authority holds, if it is signed now. */
export function leafLife(
  signer: PemPair,
  { leaf }: Lifetimes,
  now: number,
): { readonly from: Date; readonly to: Date } {
  const { from, to } = lifeOf(signer);
  const earlier = Math.min(EARLIER, leaf * EARLIER_SHARE);
  return { from: new Date(Math.max(now - earlier, from)), to: new Date(Math.min(now + leaf, to)) };
}

function lifeOf({ cert }: PemPair): { readonly from: number; readonly to: number } {
  const { validFrom, validTo } = new X509Certificate(cert);
  return { from: Date.parse(validFrom), to: Date.parse(validTo) };
}
