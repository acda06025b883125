/** A repository of a registry as a target (OCI distribution-spec v1.1; Docker registry HTTP API V2). */

import { type BlobSource, bytesSource, collect } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { isTransientError } from '../../http/failure.ts';
import { Backoff, retrying } from '../../http/retry.ts';
import type { HttpResponse } from '../../http/transport.ts';
import { assertRange, collectWithin, fetchBytes } from '../content.ts';
import type { Descriptor } from '../descriptor.ts';
import { assertDigest, Digester, verified } from '../digest.ts';
import { MAX_MANIFEST_SIZE, parseDocument } from '../manifest.ts';
import { bareMediaType, DOCKER, DOCKER_SCHEMA1, isManifestContent, OCI } from '../media-types.ts';
import { assertRepositoryName, assertTag, formatReference, type RegistryReference } from '../reference.ts';
import { linkByTag, ofType, readReferrer, referrersByTag } from '../referrers.ts';
import type {
  BlobSizer,
  Confirmer,
  InRegistry,
  Mounter,
  NamedContent,
  NamedFetcher,
  PushProber,
  ReadOptions,
  ReferrerLink,
  ReferrerStore,
  Target,
} from '../storage.ts';
import { Connection, type Exchange } from './connection.ts';
import { download, type Part } from './download.ts';
import { findContent, notMended, STANDS_OR_NOT, type Standing } from './existing-content.ts';
import { Lookup } from './lookup.ts';
import { mountBlob } from './mount.ts';
import { explainRefusal, listReferrers } from './referrers-api.ts';
import type { RegistryOptions } from './registry-options.ts';
import { Uploader } from './upload.ts';
import { probeUpload } from './upload-session.ts';

/** Every type that a tag may name: a registry without the right one would convert or refuse. */
const ACCEPT = [OCI.index, OCI.manifest, DOCKER.index, DOCKER.manifest, ...DOCKER_SCHEMA1].join(', ');

/** Times that content is asked for which should be there: some seconds, for registries over several machines. */
const CONFIRMATIONS = 5;

/** Opens a repository; nothing is sent yet. Throws `usage` for certificates that cannot be read. */
export async function openRegistry(
  reference: Pick<RegistryReference, 'registry' | 'repository'>,
  options: RegistryOptions = {},
): Promise<RegistryTarget> {
  const { registry, repository } = reference;
  const connection = await Connection.open(registry, repository, options);
  return new RegistryTarget(registry, repository, connection, new Uploader(connection, options));
}

/** See {@link openRegistry}. */
export class RegistryTarget
  implements Target, InRegistry, Mounter, BlobSizer, ReferrerStore, NamedFetcher, PushProber, Confirmer
{
  readonly name: string;
  readonly registry: string;
  readonly repository: string;
  readonly #uploader: Uploader;
  readonly #connection: Connection;
  readonly #lookup: Lookup;

  constructor(registry: string, repository: string, connection: Connection, uploader: Uploader) {
    this.name = formatReference({ kind: 'registry', registry, repository });
    this.registry = registry;
    this.repository = repository;
    this.#connection = connection;
    this.#lookup = new Lookup(connection);
    this.#uploader = uploader;
  }

  async exists(descriptor: Descriptor, options?: ReadOptions): Promise<boolean> {
    return this.#exists(descriptor, false, options);
  }

  async fetch(descriptor: Descriptor, options?: ReadOptions): Promise<AsyncIterable<Uint8Array>> {
    const stream = await this.#download(descriptor, { start: 0, end: descriptor.size }, options);
    return verified(stream, descriptor, { target: this.name });
  }

  async fetchRange(descriptor: Descriptor, offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    assertRange(descriptor, offset, length);
    if (length === 0) return new Uint8Array(0);
    return collect(await this.#download(descriptor, { start: offset, end: offset + length }, options), length);
  }

  async push(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<'pushed' | 'existed'> {
    const found = await this.#find(descriptor, true, options);
    if (found === 'whole') return 'existed';
    const exists = () => this.#exists(descriptor, true, options);
    if (isManifestContent(descriptor.mediaType)) {
      const bytes = await this.#manifestBytes(descriptor, content);
      await this.#putManifest(descriptor, bytes, descriptor.digest, options);
    } else {
      await this.#uploader.upload(descriptor, content, exists, options);
      if (found === 'damaged' && !(await exists())) throw notMended(descriptor, this.name);
    }
    return 'pushed';
  }

  async resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor> {
    const exchange = this.#getNamed(tagOrDigest, options);
    const byDigest = tagOrDigest.includes(':');
    const head = await this.#lookup.ask(exchange, [200, 404]);
    const digest = head.digest ?? (byDigest ? tagOrDigest : undefined);
    const { size = 0, mediaType } = head;
    const complete = head.status === 200 && digest !== undefined && size > 0 && isManifestContent(mediaType);
    // Some registries answer HEAD poorly; and the body of a failed GET tells more than a failed HEAD can.
    if (!complete) return (await this.fetchNamed(tagOrDigest, options)).descriptor;
    assertDigest(digest, 'registry-error', { target: this.name, reference: tagOrDigest });
    if (byDigest) this.#assertSame(tagOrDigest, digest, tagOrDigest);
    return { mediaType, digest, size };
  }

  async fetchNamed(tagOrDigest: string, options?: ReadOptions): Promise<NamedContent> {
    const { response, bytes } = await this.#readNamed(tagOrDigest, options);
    const named = [tagOrDigest, response.header('docker-content-digest')].find((text) => text?.includes(':'));
    const digest = digestLike(named, bytes);
    if (named !== undefined) this.#assertSame(named, digest, tagOrDigest);
    const mediaType = bareMediaType(response.header('content-type') ?? '');
    const descriptor: Descriptor = { mediaType, digest, size: bytes.length };
    if (isManifestContent(mediaType)) return { descriptor, bytes };
    const document = parseDocument(bytes, descriptor);
    const own = document.kind === 'index' ? document.index : document.manifest;
    return { descriptor: { ...descriptor, mediaType: own.mediaType }, bytes };
  }

  async probePush(options?: ReadOptions): Promise<void> {
    await probeUpload(this.#connection, options?.signal);
  }

  async confirm(descriptor: Descriptor, options?: ReadOptions): Promise<boolean> {
    const backoff = new Backoff(this.#connection.patience, options?.signal);
    while (!(await this.#exists(descriptor, true, options))) {
      if (backoff.attempt >= CONFIRMATIONS || !backoff.failed()) return false;
      await backoff.wait();
    }
    return true;
  }

  async tag(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<void> {
    assertTag(tag);
    // Registries with immutable tags refuse to write even the same again.
    if (await this.#tagStands(descriptor, tag, options)) return;
    // Read back what the registry holds under the digest: that, and nothing else, gets the name.
    const bytes = await fetchBytes(this, descriptor, MAX_MANIFEST_SIZE, options);
    await this.#putManifest(descriptor, bytes, tag, options);
    const { digest } = await this.resolve(tag, options);
    this.#assertSame(descriptor.digest, digest, tag);
  }

  async mount(descriptor: Descriptor, fromRepository: string, options?: ReadOptions): Promise<boolean> {
    assertRepositoryName(fromRepository);
    return mountBlob(this.#connection, descriptor, fromRepository, options);
  }

  async pushReferrer(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<ReferrerLink> {
    const { bytes, subject, entry } = await readReferrer(descriptor, content);
    const stands = await this.#exists(descriptor, true, options);
    const outcome = stands ? 'existed' : 'pushed';
    if (stands && (await this.#isListed(subject, descriptor, options))) return { outcome, via: 'api' };
    const stored = await this.#putManifest(descriptor, bytes, descriptor.digest, options).catch((error: unknown) => {
      throw explainRefusal(error, this.name);
    });
    // Only by this header does a registry say that it keeps the list itself.
    if (stored.header('oci-subject') !== subject.digest) {
      await linkByTag(this, subject, entry, options);
      return { outcome, via: 'tag' };
    }
    const backoff = new Backoff(this.#connection.patience, options?.signal);
    while (!(await this.#isListed(subject, descriptor, options))) {
      if (!backoff.failed()) throw this.#notListed(subject, descriptor);
      await backoff.wait();
    }
    return { outcome, via: 'api' };
  }

  async referrers(
    subject: Pick<Descriptor, 'digest'>,
    artifactType?: string,
    options?: ReadOptions,
  ): Promise<readonly Descriptor[]> {
    const listed = await listReferrers(this.#connection, subject.digest, artifactType, options);
    // Not every registry filters; and where the API came later, older links are under the tag alone.
    if (listed !== undefined && listed.length > 0) return ofType(listed, artifactType);
    return referrersByTag(this, subject.digest, artifactType, options);
  }

  async blobSize(digest: string, options?: ReadOptions): Promise<number> {
    const blob = this.#get({ mediaType: 'application/octet-stream', digest, size: 0 });
    const { size } = await this.#lookup.ask({ ...blob, signal: options?.signal }, [200]);
    if (size !== undefined) return size;
    throw new AccelError('registry-error', 'the registry does not say how large the blob is', {
      where: { target: this.name, digest },
      expected: 'a Content-Length',
      found: 'none',
    });
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }

  #download(descriptor: Descriptor, part: Part, options?: ReadOptions): Promise<AsyncIterable<Uint8Array>> {
    const exchange = this.#get(descriptor);
    return download({ connection: this.#connection, exchange, descriptor, part, signal: options?.signal });
  }

  #get(descriptor: Descriptor): Exchange {
    const manifest = isManifestContent(descriptor.mediaType);
    return {
      action: `read ${manifest ? 'a manifest' : 'a blob'} of ${this.name}`,
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
    const where = { target: this.name, reference: tagOrDigest };
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
      action: `read ${this.name}${byDigest ? '@' : ':'}${tagOrDigest}`,
      method: 'GET',
      to: `manifests/${tagOrDigest}`,
      expect: [200],
      headers: { accept: ACCEPT },
      signal: options?.signal,
      where: { reference: tagOrDigest },
    };
  }

  async #exists(descriptor: Descriptor, write: boolean, options?: ReadOptions): Promise<boolean> {
    return (await this.#find(descriptor, write, options)) === 'whole';
  }

  #find(descriptor: Descriptor, write: boolean, options?: ReadOptions): Promise<Standing> {
    const get = { ...this.#get(descriptor), write, signal: options?.signal };
    return findContent({ connection: this.#connection, lookup: this.#lookup }, get, descriptor);
  }

  async #tagStands(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<boolean> {
    const head = await this.#lookup.ask(
      {
        action: `read ${this.name}:${tag}`,
        method: 'GET',
        to: `manifests/${tag}`,
        expect: [200],
        write: true,
        headers: { accept: ACCEPT },
        signal: options?.signal,
        where: { reference: tag },
      },
      STANDS_OR_NOT,
    );
    return head.status === 200 && head.digest === descriptor.digest;
  }

  async #manifestBytes(descriptor: Descriptor, content: BlobSource): Promise<Uint8Array> {
    if (descriptor.size > MAX_MANIFEST_SIZE) {
      throw new AccelError('limit-exceeded', 'the manifest is larger than registries take', {
        where: { target: this.name, digest: descriptor.digest },
        expected: `at most ${MAX_MANIFEST_SIZE} bytes`,
        found: `${descriptor.size} bytes`,
      });
    }
    return collect(verified(content.open(), descriptor, { target: this.name }), descriptor.size);
  }

  async #putManifest(
    descriptor: Descriptor,
    bytes: Uint8Array,
    name: string,
    options?: ReadOptions,
  ): Promise<HttpResponse> {
    const response = await this.#connection.exchange({
      action: `store the manifest ${this.name}${name.includes(':') ? '@' : ':'}${name}`,
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
    if (stored !== undefined) this.#assertSame(descriptor.digest, stored, name);
    await this.#readBack(descriptor, options);
    return response;
  }

  /** What was accepted is not always what is served: the manifest is read and its digest compared. */
  async #readBack(descriptor: Descriptor, options?: ReadOptions): Promise<void> {
    const read = async () => {
      const get: Exchange = { ...this.#get(descriptor), expect: [200, 404], write: true, signal: options?.signal };
      const response = await this.#connection.exchange(get);
      if (response.status === 404) return response;
      const stream = verified(response.body, descriptor, { target: this.name });
      await collect(stream, descriptor.size);
      return undefined;
    };
    // Registries over several machines may need a moment until all of them know.
    const missing = await retrying(read, this.#connection.patience, {
      signal: options?.signal,
      passingStatus: (status) => status === 404,
    }).catch((error: unknown) => {
      throw this.#connection.asError(this.#get(descriptor), error);
    });
    if (missing === undefined) return;
    await missing.discard();
    throw new AccelError('registry-error', 'the registry took a manifest and does not have it', {
      where: { target: this.name, digest: descriptor.digest },
      expected: 'the manifest that was just stored',
      found: 'HTTP 404',
    });
  }

  async #isListed(subject: Descriptor, referrer: Descriptor, options?: ReadOptions): Promise<boolean> {
    const listed = await listReferrers(this.#connection, subject.digest, undefined, options);
    return listed?.some(({ digest }) => digest === referrer.digest) ?? false;
  }

  #notListed(subject: Descriptor, referrer: Descriptor): AccelError {
    return new AccelError('registry-error', 'the registry took a referrer and does not list it', {
      where: { target: this.name, subject: subject.digest },
      expected: `${referrer.digest} among the referrers`,
      found: 'a list without it',
    });
  }

  #assertSame(expected: string, found: string, reference: string): void {
    if (expected === found) return;
    throw new AccelError('digest-mismatch', 'the registry holds something else under this name', {
      where: { target: this.name, reference },
      expected,
      found,
      hint: 'Someone else may have pushed at the same time; run it again.',
    });
  }
}

/** The digest of bytes in the algorithm of another one; SHA-256 where there is none. */
function digestLike(named: string | undefined, bytes: Uint8Array): string {
  const digester = new Digester(named?.startsWith('sha512:') ? 'sha512' : 'sha256');
  digester.update(bytes);
  return digester.digest();
}
