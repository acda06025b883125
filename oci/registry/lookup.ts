/**
 * Asks a registry for the content of a name: by HEAD, or by GET if the registry or a proxy refuses HEAD. Of a
 * blob a GET asks for the first byte alone; a manifest is small and read whole.
 */

import type { HttpResponse } from '../../http/transport.ts';
import { collectWithin } from '../content.ts';
import { digestOf } from '../digest.ts';
import { MAX_MANIFEST_SIZE } from '../manifest.ts';
import { bareMediaType } from '../media-types.ts';
import type { Connection, Exchange } from './connection.ts';

/**
 * Statuses by which servers refuse the method itself: not allowed, not implemented, or forbidden, as a store answers a
 * HEAD for an address that was signed for GET. A GET then has the last word.
 */
export const HEAD_REFUSED: readonly number[] = [400, 403, 405, 406, 415, 501];

/** A registry's description of a piece of content; fields that it does not report are undefined. */
export interface ContentHead {
  /** One of the statuses that were expected. */
  readonly status: number;
  /** Bytes. */
  readonly size: number | undefined;
  readonly digest: string | undefined;
  /** Without parameters; empty if not reported. */
  readonly mediaType: string;
}

/** Asks for the heads of manifests and blobs over one connection, and remembers where HEAD does not work. */
export class Lookup {
  readonly #connection: Connection;
  readonly #withoutHead = new Set<'manifests' | 'blobs'>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The head of what `get` would read. Throws the registry's error for a status that is not in `expect`. */
  async ask(get: Exchange, expect: readonly number[]): Promise<ContentHead> {
    const kind = isManifest(get) ? 'manifests' : 'blobs';
    if (!this.#withoutHead.has(kind)) {
      const response = await this.#connection.exchange({
        ...get,
        method: 'HEAD',
        expect: [...expect, ...HEAD_REFUSED],
      });
      await response.discard();
      if (expect.includes(response.status)) return headOf(response);
    }
    const head = kind === 'manifests' ? await this.#manifest(get, expect) : await this.#blob(get, expect);
    if (head.status === 200) this.#withoutHead.add(kind);
    return head;
  }

  async #manifest(get: Exchange, expect: readonly number[]): Promise<ContentHead> {
    const response = await this.#connection.exchange({ ...get, method: 'GET', expect });
    if (response.status !== 200) {
      await response.discard();
      return headOf(response);
    }
    const bytes = await collectWithin(response.body, MAX_MANIFEST_SIZE, { digest: String(get.where?.digest ?? '') });
    const head = headOf(response);
    return { ...head, size: bytes.length, digest: head.digest ?? digestOf(bytes) };
  }

  async #blob(get: Exchange, expect: readonly number[]): Promise<ContentHead> {
    const response = await this.#connection.exchange({
      ...get,
      method: 'GET',
      headers: { ...get.headers, range: 'bytes=0-0' },
      expect: [...expect, 206, 416],
    });
    await response.discard();
    const head = headOf(response);
    if (response.status === 206) return { ...head, status: 200, size: totalOf(response) };
    // No first byte: the blob is there and empty.
    if (response.status === 416) return { ...head, status: 200, size: totalOf(response) ?? 0 };
    return head;
  }
}

function isManifest({ to }: Exchange): boolean {
  return String(to).startsWith('manifests/');
}

function headOf(response: HttpResponse): ContentHead {
  const length = response.header('content-length') ?? '';
  return {
    status: response.status,
    size: /^\d{1,15}$/.test(length) ? Number(length) : undefined,
    digest: response.header('docker-content-digest'),
    mediaType: bareMediaType(response.header('content-type') ?? ''),
  };
}

/** The whole length that a Content-Range names: `bytes 0-0/1234`, or behind a 416 an asterisk and the length. */
function totalOf(response: HttpResponse): number | undefined {
  const total = /^bytes (?:\d+-\d+|\*)\/(\d{1,15})$/i.exec(response.header('content-range')?.trim() ?? '')?.[1];
  return total === undefined ? undefined : Number(total);
}
