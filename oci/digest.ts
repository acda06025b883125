/** Digests (OCI image-spec, descriptor.md#digests) and the check of content while it streams. */
import { createHash, type Hash } from 'node:crypto';
import { AccelError, type AccelErrorCode, type ErrorPlace } from '../base/error.ts';

/** The hash functions that a digest may name, with the length of their hex form. */
const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** A digest algorithm that accel computes. */
export type DigestAlgorithm = 'sha256' | 'sha512';

/** The expected content of a stream: a descriptor, or any record with its digest and size. */
export interface ExpectedContent {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/** Returns `text` if it is a sha256 or sha512 digest in lower-case hex; throws `code` otherwise. */
export function assertDigest(text: string, code: AccelErrorCode = 'reference-invalid', where: ErrorPlace = {}): string {
  const colon = text.indexOf(':');
  const length = HEX_LENGTH[text.slice(0, Math.max(colon, 0))];
  const hex = text.slice(colon + 1);
  if (length === undefined && /^[a-z0-9]+([+._-][a-z0-9]+)*:[A-Za-z0-9=_-]{32,}$/.test(text)) {
    throw new AccelError(code, `accel does not compute the digest algorithm ${text.slice(0, colon)}`, {
      where,
      expected: 'sha256 or sha512',
      found: text.length > 160 ? `${text.slice(0, 157)}...` : text,
    });
  }
  if (length === undefined || hex.length !== length || !/^[0-9a-f]+$/.test(hex)) {
    throw new AccelError(code, 'this is not a digest', {
      where,
      expected: 'sha256: and 64 lower-case hex digits, or sha512: and 128',
      found: text.length > 160 ? `${text.slice(0, 157)}...` : text,
    });
  }
  return text;
}

/** True for text that is meant as a digest, valid or not: names of images never begin like that. */
export function isDigestLike(text: string): boolean {
  return /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9A-Fa-f]{32,}$/.test(text) || /^sha\d+:/.test(text);
}

/** The two parts of a digest; throws as {@link assertDigest} does. */
export function splitDigest(digest: string): { readonly algorithm: DigestAlgorithm; readonly hex: string } {
  const colon = assertDigest(digest).indexOf(':');
  return { algorithm: digest.slice(0, colon) as DigestAlgorithm, hex: digest.slice(colon + 1) };
}

/** The sha256 digest of `bytes`. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Digest and size of bytes that arrive piece by piece. */
export class Digester {
  readonly #algorithm: DigestAlgorithm;
  readonly #hash: Hash;
  #size = 0;
  #digest: string | undefined;

  constructor(algorithm: DigestAlgorithm = 'sha256') {
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  /** Bytes taken so far. */
  get size(): number {
    return this.#size;
  }

  /** Takes the next bytes; they may be reused afterwards. */
  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#size += bytes.length;
  }

  /** The digest of everything taken. Ends the digester: no update may follow. */
  digest(): string {
    this.#digest ??= `${this.#algorithm}:${this.#hash.digest('hex')}`;
    return this.#digest;
  }
}

/**
 * Passes `stream` on and throws `size-mismatch` or `digest-mismatch` if it is not the content that `expected` names.
 * Holds the last piece back until all of it is verified, so that a reader, such as a registry, never receives wrong
 * content completely. Chunks must not be reused by the producer.
 */
export async function* verified(
  stream: AsyncIterable<Uint8Array>,
  expected: ExpectedContent,
  where: ErrorPlace = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const place = { ...where, digest: expected.digest };
  const digester = new Digester(splitDigest(expected.digest).algorithm);
  let held: Uint8Array | undefined;
  for await (const chunk of stream) {
    if (chunk.length === 0) continue;
    digester.update(chunk);
    if (digester.size > expected.size) throw sizeMismatch(place, expected.size, `more than ${expected.size} bytes`);
    if (held !== undefined) yield held;
    held = chunk;
  }
  if (digester.size !== expected.size) throw sizeMismatch(place, expected.size, `${digester.size} bytes`);
  const found = digester.digest();
  if (found !== expected.digest) {
    throw new AccelError('digest-mismatch', 'the content does not have the digest that its descriptor names', {
      where: place,
      expected: expected.digest,
      found,
      hint: 'The content was damaged where it is stored or on the way; push the image again and retry.',
    });
  }
  if (held !== undefined) yield held;
}

function sizeMismatch(where: ErrorPlace, expected: number, found: string): AccelError {
  return new AccelError('size-mismatch', 'the content does not have the size that its descriptor names', {
    where,
    expected: `${expected} bytes`,
    found,
  });
}
