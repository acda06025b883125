/** Reads and stores the manifests of one repository, and verifies what the registry stored. */
import { bytesSource, collect } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { isTransientError } from '../../http/failure.ts';
import { Backoff, retrying } from '../../http/retry.ts';
import type { HttpResponse } from '../../http/transport.ts';
import { collectWithin } from '../content.ts';
import type { Descriptor } from '../descriptor.ts';
import { assertDigest, Digester, verified } from '../digest.ts';
import { MAX_MANIFEST_SIZE, parseDocument } from '../manifest.ts';
import { bareMediaType, DOCKER, DOCKER_SCHEMA1, isManifestContent, OCI } from '../media-types.ts';
import { assertTag } from '../reference.ts';
import type { NamedContent, ReadOptions } from '../storage.ts';
import type { Connection, Exchange } from './connection.ts';
import { errorCodes } from './errors.ts';
import { EXISTS_OR_NOT } from './existing-content.ts';
import type { Lookup } from './lookup.ts';

/** Every type that a tag may name: without the right one in the list a registry converts the manifest or refuses. */
const ACCEPT = [OCI.index, OCI.manifest, DOCKER.index, DOCKER.manifest, ...DOCKER_SCHEMA1].join(', ');

/** Tries to find content that should exist: some seconds, for registries on several machines. */
export const CONFIRMATIONS = 5;

/** Codes by which a registry says that it misses what a manifest refers to (distribution-spec, "Error Codes"). */
const MISSING_CONTENT: readonly string[] = ['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN'];

/** Statuses by which registries refuse every removal. */
const NO_REMOVAL: readonly number[] = [405, 501];

/** Manifests of one repository; `name` is the repository in messages. */
export class ManifestClient {
  readonly #connection: Connection;
  readonly #lookup: Lookup;
  readonly #name: string;

  constructor(connection: Connection, lookup: Lookup, name: string) {
    this.#connection = connection;
    this.#lookup = lookup;
    this.#name = name;
  }

  /** See Resolver.resolve. */
  async resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor> {
    const exchange = this.#getNamed(tagOrDigest, options);
    const byDigest = tagOrDigest.includes(':');
    const head = await this.#lookup.ask(exchange, [200, 404]);
    const digest = head.digest ?? (byDigest ? tagOrDigest : undefined);
    const { size = 0, mediaType } = head;
    const complete = head.status === 200 && digest !== undefined && size > 0 && isManifestContent(mediaType);
    // Some registries answer HEAD incompletely, and a failed GET has a body that explains the failure.
    if (!complete) return (await this.fetchNamed(tagOrDigest, options)).descriptor;
    assertDigest(digest, 'registry-error', { target: this.#name, reference: tagOrDigest });
    if (byDigest) this.assertSame(tagOrDigest, digest, tagOrDigest);
    return { mediaType, digest, size };
  }

  /** See NamedFetcher.fetchNamed. */
  async fetchNamed(tagOrDigest: string, options?: ReadOptions): Promise<NamedContent> {
    const { response, bytes } = await this.#readNamed(tagOrDigest, options);
    const named = [tagOrDigest, response.header('docker-content-digest')].find((text) => text?.includes(':'));
    const digest = digestLike(named, bytes);
    if (named !== undefined) this.assertSame(named, digest, tagOrDigest);
    const mediaType = bareMediaType(response.header('content-type') ?? '');
    const descriptor: Descriptor = { mediaType, digest, size: bytes.length };
    if (isManifestContent(mediaType)) return { descriptor, bytes };
    const document = parseDocument(bytes, descriptor);
    const own = document.kind === 'index' ? document.index : document.manifest;
    return { descriptor: { ...descriptor, mediaType: own.mediaType }, bytes };
  }

  /** Whether the tag already names the descriptor. */
  async hasTag(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<boolean> {
    return (await this.digestOfTag(tag, options)) === descriptor.digest;
  }

  /** The digest of what a tag names; undefined if there is no such tag. */
  async digestOfTag(tag: string, options?: ReadOptions): Promise<string | undefined> {
    const head = await this.#lookup.ask(
      {
        action: `read ${this.#name}:${tag}`,
        method: 'GET',
        to: `manifests/${tag}`,
        expect: [200],
        write: true,
        headers: { accept: ACCEPT },
        signal: options?.signal,
        where: { reference: tag },
      },
      EXISTS_OR_NOT,
    );
    if (head.status !== 200) return undefined;
    return head.digest ?? (await this.fetchNamed(tag, options)).descriptor.digest;
  }

  /** Stores a manifest under its digest or a tag, and verifies that the registry serves the same bytes. */
  async put(descriptor: Descriptor, bytes: Uint8Array, name: string, options?: ReadOptions): Promise<HttpResponse> {
    const response = await this.#store({
      action: `store the manifest ${this.#name}${name.includes(':') ? '@' : ':'}${name}`,
      method: 'PUT',
      to: `manifests/${name}`,
      expect: [201, 200, 202],
      write: true,
      headers: { 'content-type': descriptor.mediaType },
      body: { source: bytesSource(bytes), size: bytes.length },
      signal: options?.signal,
      where: { reference: name },
    });
    await response.discard();
    const stored = response.header('docker-content-digest');
    if (stored !== undefined) this.assertSame(descriptor.digest, stored, name);
    await this.#readBack(descriptor, options);
    return response;
  }

  /**
   * Sends a manifest. Where the registry misses content that the manifest refers to, it is sent again for some seconds:
   * a registry on several machines may not have the content on each of them yet, and docker-registry 2.8 loses sight of a
   * blob for a moment while another client pushes the same one.
   */
  async #store(put: Exchange): Promise<HttpResponse> {
    const backoff = new Backoff(this.#connection.patience, put.signal);
    for (;;) {
      const response = await this.#connection.exchange({ ...put, expect: [...put.expect, 400, 404] });
      if (put.expect.includes(response.status)) return response;
      const { failed, error } = await this.#connection.failure(put, response);
      const isMissing = errorCodes(failed).some((code) => MISSING_CONTENT.includes(code));
      if (!isMissing || backoff.attempt >= CONFIRMATIONS || !backoff.failed()) throw error;
      await backoff.wait();
    }
  }

  /** Reads the manifest back and verifies its digest: registries do not always serve what they accepted. */
  async #readBack(descriptor: Descriptor, options?: ReadOptions): Promise<void> {
    const read = async () => {
      const get: Exchange = { ...this.request(descriptor), expect: [200, 404], write: true, signal: options?.signal };
      const response = await this.#connection.exchange(get);
      if (response.status === 404) return response;
      const stream = verified(response.body, descriptor, { target: this.#name });
      await collect(stream, descriptor.size);
      return undefined;
    };
    // A registry on several machines may need a moment until all of them have it.
    const missing = await retrying(read, this.#connection.patience, {
      signal: options?.signal,
      passingStatus: (status) => status === 404,
    }).catch((error: unknown) => {
      throw this.#connection.asError(this.request(descriptor), error);
    });
    if (missing === undefined) return;
    await missing.discard();
    throw new AccelError('registry-error', 'the registry took a manifest and does not have it', {
      where: { target: this.#name, digest: descriptor.digest },
      expected: 'the manifest that was just stored',
      found: 'HTTP 404',
    });
  }

  /** See ManifestRemover.removeManifest. Distribution-spec v1.1, "Deleting Manifests". */
  async remove(digest: string, options?: ReadOptions): Promise<'removed' | 'absent'> {
    const response = await this.#connection.exchange({
      action: `remove the manifest ${this.#name}@${digest}`,
      method: 'DELETE',
      to: `manifests/${assertDigest(digest)}`,
      expect: [202, 200, 204, 404, ...NO_REMOVAL],
      write: true,
      scopes: this.#connection.deleteScopes,
      signal: options?.signal,
      where: { digest },
    });
    await response.discard();
    if (response.status === 404) return 'absent';
    if (!NO_REMOVAL.includes(response.status)) return 'removed';
    throw new AccelError('registry-error', 'the registry does not let manifests be removed', {
      where: { target: this.#name },
      expected: 'a registry whose settings allow deletion (docker-registry: storage.delete.enabled)',
      found: `HTTP ${response.status}`,
    });
  }

  /** Throws `digest-mismatch` unless both digests are equal. */
  assertSame(expected: string, found: string, reference: string): void {
    if (expected === found) return;
    throw new AccelError('digest-mismatch', 'the registry holds something else under this name', {
      where: { target: this.#name, reference },
      expected,
      found,
      hint: 'Someone else may have pushed at the same time; run it again.',
    });
  }

  /** The request for a manifest or blob. */
  request(descriptor: Descriptor): Exchange {
    const manifest = isManifestContent(descriptor.mediaType);
    return {
      action: `read ${manifest ? 'a manifest' : 'a blob'} of ${this.#name}`,
      method: 'GET',
      to: `${manifest ? 'manifests' : 'blobs'}/${assertDigest(descriptor.digest)}`,
      expect: [200],
      headers: manifest ? { accept: ACCEPT } : {},
      stream: !manifest,
      where: { digest: descriptor.digest },
    };
  }

  /** Reads what a tag or digest names; a body that breaks off is asked for again. */
  async #readNamed(tagOrDigest: string, options?: ReadOptions) {
    const exchange = this.#getNamed(tagOrDigest, options);
    const where = { target: this.#name, reference: tagOrDigest };
    const backoff = new Backoff(this.#connection.patience, options?.signal);
    for (;;) {
      const response = await this.#connection.exchange(exchange);
      try {
        return { response, bytes: await collectWithin(response.body, MAX_MANIFEST_SIZE, where) };
      } catch (error) {
        if (options?.signal?.aborted) throw error;
        if (!isTransientError(error) || !backoff.failed(error)) throw this.#connection.asError(exchange, error);
        await backoff.wait();
      }
    }
  }

  /** The request for what a tag or digest names. */
  #getNamed(tagOrDigest: string, options?: ReadOptions): Exchange {
    const byDigest = tagOrDigest.includes(':');
    if (byDigest) assertDigest(tagOrDigest);
    else assertTag(tagOrDigest);
    return {
      action: `read ${this.#name}${byDigest ? '@' : ':'}${tagOrDigest}`,
      method: 'GET',
      to: `manifests/${tagOrDigest}`,
      expect: [200],
      headers: { accept: ACCEPT },
      signal: options?.signal,
      where: { reference: tagOrDigest },
    };
  }
}

/** The digest of bytes in the algorithm of another digest; SHA-256 if there is no other. */
function digestLike(named: string | undefined, bytes: Uint8Array): string {
  const digester = new Digester(named?.startsWith('sha512:') ? 'sha512' : 'sha256');
  digester.update(bytes);
  return digester.digest();
}
