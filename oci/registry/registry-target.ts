/** A repository of a registry as a target (OCI distribution-spec v1.1; Docker registry HTTP API V2). */

import { type BlobSource, collect } from '../../base/byte-source.ts';
import { AccelError } from '../../base/error.ts';
import { Backoff } from '../../http/retry.ts';
import { assertRange, fetchBytes } from '../content.ts';
import type { Descriptor } from '../descriptor.ts';
import { verified } from '../digest.ts';
import { MAX_MANIFEST_SIZE } from '../manifest.ts';
import { isManifestContent } from '../media-types.ts';
import type { Authorizer } from '../powers.ts';
import { assertRepositoryName, assertTag, formatReference, type RegistryReference } from '../reference.ts';
import { linkByTag, ofType, readReferrer, referrersByTag } from '../referrers.ts';
import type {
  BlobSizer,
  Confirmer,
  InRegistry,
  ManifestRemover,
  Mounter,
  NamedContent,
  NamedFetcher,
  PushProber,
  ReadOptions,
  ReferrerLink,
  ReferrerStore,
  TagLister,
  TagMover,
  Target,
} from '../storage.ts';
import { Connection } from './connection.ts';
import { download, type Part } from './download.ts';
import { type ContentState, findContent, notMended } from './existing-content.ts';
import { Lookup } from './lookup.ts';
import { CONFIRMATIONS, ManifestClient } from './manifest-client.ts';
import { mountBlob } from './mount.ts';
import { listTags } from './name-lists.ts';
import { explainRefusal, listReferrers } from './referrers-api.ts';
import type { RegistryOptions } from './registry-options.ts';
import { Uploader } from './upload.ts';
import { probeUpload } from './upload-session.ts';

/** Least milliseconds after which a moved tag is looked at again. */
const LEAST_SETTLING = 100;

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
  implements
    Target,
    InRegistry,
    Mounter,
    BlobSizer,
    ReferrerStore,
    NamedFetcher,
    PushProber,
    Confirmer,
    TagMover,
    TagLister,
    ManifestRemover,
    Authorizer
{
  readonly name: string;
  readonly registry: string;
  readonly repository: string;
  readonly #uploader: Uploader;
  readonly #connection: Connection;
  readonly #lookup: Lookup;
  readonly #manifests: ManifestClient;

  constructor(registry: string, repository: string, connection: Connection, uploader: Uploader) {
    this.name = formatReference({ kind: 'registry', registry, repository });
    this.registry = registry;
    this.repository = repository;
    this.#connection = connection;
    this.#lookup = new Lookup(connection);
    this.#manifests = new ManifestClient(connection, this.#lookup, this.name);
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
      await this.#manifests.put(descriptor, bytes, descriptor.digest, options);
    } else {
      await this.#uploader.upload(descriptor, content, exists, options);
      if (found === 'damaged' && !(await exists())) throw notMended(descriptor, this.name);
    }
    return 'pushed';
  }

  async resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor> {
    return this.#manifests.resolve(tagOrDigest, options);
  }

  async fetchNamed(tagOrDigest: string, options?: ReadOptions): Promise<NamedContent> {
    return this.#manifests.fetchNamed(tagOrDigest, options);
  }

  async pullAuthorization(options?: ReadOptions): Promise<string | undefined> {
    return this.#connection.authorization(options?.signal);
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
    if (await this.#manifests.hasTag(descriptor, tag, options)) return;
    // Read back what the registry holds under the digest: that, and nothing else, gets the name.
    const bytes = await fetchBytes(this, descriptor, MAX_MANIFEST_SIZE, options);
    await this.#manifests.put(descriptor, bytes, tag, options);
    const { digest } = await this.resolve(tag, options);
    this.#manifests.assertSame(descriptor.digest, digest, tag);
  }

  async moveTag(
    descriptor: Descriptor,
    { tag, previous }: Parameters<TagMover['moveTag']>[1],
    options?: ReadOptions,
  ): Promise<boolean> {
    assertTag(tag);
    const bytes = await fetchBytes(this, descriptor, MAX_MANIFEST_SIZE, options);
    const { now, random, sleep } = this.#connection.patience;
    const begun = now();
    if ((await this.#manifests.digestOfTag(tag, options)) !== previous) return false;
    await this.#manifests.put(descriptor, bytes, tag, options);
    // Whoever compared before this push has pushed by then, unless its way to the registry is far slower.
    await sleep(Math.max(LEAST_SETTLING, 3 * (now() - begun)) * (1 + random()), options?.signal);
    return (await this.#manifests.digestOfTag(tag, options)) === descriptor.digest;
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
    const stored = await this.#manifests.put(descriptor, bytes, descriptor.digest, options).catch((error: unknown) => {
      throw explainRefusal(error, this.name);
    });
    // Only this header shows that a registry maintains the list itself.
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
    const blob = this.#manifests.request({ mediaType: 'application/octet-stream', digest, size: 0 });
    const { size } = await this.#lookup.ask({ ...blob, signal: options?.signal }, [200]);
    if (size !== undefined) return size;
    throw new AccelError('registry-error', 'the registry does not say how large the blob is', {
      where: { target: this.name, digest },
      expected: 'a Content-Length',
      found: 'no Content-Length',
    });
  }

  async tags(options?: ReadOptions): Promise<readonly string[]> {
    return listTags(this.#connection, options);
  }

  async removeManifest(digest: string, options?: ReadOptions): Promise<'removed' | 'absent'> {
    return this.#manifests.remove(digest, options);
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }

  #download(descriptor: Descriptor, part: Part, options?: ReadOptions): Promise<AsyncIterable<Uint8Array>> {
    const exchange = this.#manifests.request(descriptor);
    return download({ connection: this.#connection, exchange, descriptor, part, signal: options?.signal });
  }

  async #exists(descriptor: Descriptor, write: boolean, options?: ReadOptions): Promise<boolean> {
    return (await this.#find(descriptor, write, options)) === 'whole';
  }

  #find(descriptor: Descriptor, write: boolean, options?: ReadOptions): Promise<ContentState> {
    const get = { ...this.#manifests.request(descriptor), write, signal: options?.signal };
    return findContent({ connection: this.#connection, lookup: this.#lookup }, get, descriptor);
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
}
