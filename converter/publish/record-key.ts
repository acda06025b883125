/**
 * The key of the record: authentication codes (HMAC-SHA-256) identify results of runs with the same key. Without them
 * everyone who may push to a repository can write anything into the record of layers, or claim in annotations that an image
 * was made from another one.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { AccelError } from '../../base/error.ts';
import { RECORD_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import type { ImageIndex, ImageManifest } from '../../oci/manifest.ts';

/** Shorter keys can be guessed. */
const SHORTEST_KEY = 16;
const LINE_END = /[\r\n]+$/;

/** Makes and checks the codes of one key. */
export class RecordKey {
  readonly #key: Buffer;

  /** Line ends after the key are ignored. Throws `usage` for a key of less than 16 bytes. */
  constructor(bytes: Uint8Array) {
    this.#key = Buffer.from(Buffer.from(bytes).toString('latin1').replace(LINE_END, ''), 'latin1');
    if (this.#key.length >= SHORTEST_KEY) return;
    throw new AccelError('usage', 'the key of the record is too short', {
      expected: `at least ${SHORTEST_KEY} bytes`,
      found: `${this.#key.length} bytes`,
      hint: 'Make one, for example with openssl rand -hex 32.',
    });
  }

  /** The code of an entry of the record of layers. */
  codeOfEntry(name: string, entry: object): string {
    return this.#code('layer', { name, entry });
  }

  /** Whether an entry carries its code of this key. */
  provesEntry(name: string, { mac, ...entry }: { readonly mac?: unknown }): boolean {
    return isEqual(mac, this.codeOfEntry(name, entry));
  }

  /** The manifest or index with its code among its annotations. */
  sign<T extends ImageManifest | ImageIndex>(document: T): T {
    const bare = withoutCode(document);
    return { ...bare, annotations: { ...bare.annotations, [RECORD_ANNOTATION.mac]: this.#codeOf(bare) } };
  }

  /** Whether a manifest or index, and through its digests everything below, carries its code of this key. */
  proves(document: ImageManifest | ImageIndex): boolean {
    return isEqual(document.annotations?.[RECORD_ANNOTATION.mac], this.#codeOf(withoutCode(document)));
  }

  #codeOf(bare: ImageManifest | ImageIndex): string {
    return this.#code('document', { ...bare, annotations: bare.annotations ?? {} });
  }

  #code(kind: string, value: unknown): string {
    return createHmac('sha256', this.#key)
      .update(`accel ${kind} v1\n${canonical(value)}`)
      .digest('hex');
  }
}

/** The document without its code, which is invalid after any change. */
export function withoutCode<T extends ImageManifest | ImageIndex>(document: T): T {
  if (document.annotations?.[RECORD_ANNOTATION.mac] === undefined) return document;
  const { [RECORD_ANNOTATION.mac]: _, ...annotations } = document.annotations;
  return { ...document, annotations };
}

/** Encodes a value as canonical text, independent of the order of its fields. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`);
  return `{${fields.join(',')}}`;
}

function isEqual(found: unknown, expected: string): boolean {
  if (typeof found !== 'string' || found.length !== expected.length) return false;
  return timingSafeEqual(Buffer.from(found, 'latin1'), Buffer.from(expected, 'latin1'));
}
