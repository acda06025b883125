/**
 * The contract of everything that holds images: a repository of a registry, a layout on disk, an archive, a map in memory.
 * A function takes the smallest of these interfaces that it needs. An ability of some targets is an optional power, and
 * powers.ts tests for it; content.ts and document.ts build on Fetcher, copy.ts on Target.
 */
import type { BlobSource } from '../base/byte-source.ts';
import type { Descriptor } from './descriptor.ts';

/** Options of every call; `signal` ends the call, and the stream that it returned, with its reason. */
export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
}
/** `transient`: the caller is done with a piece when it asks for the next, so its memory may be reused. */
export interface FetchOptions extends ReadOptions {
  readonly transient?: boolean | undefined;
}
/** Whether a push stored the content, or found it. */
export type PushOutcome = 'pushed' | 'existed';

/** Fetches content as a stream that fails at its end if size or digest differ. Rejects with `not-found`. */
export interface Fetcher {
  fetch(descriptor: Descriptor, options?: FetchOptions): Promise<AsyncIterable<Uint8Array>>;
}
/** Fetches exactly `length` bytes from `offset`, or rejects. A part cannot be verified against the digest. */
export interface RangeFetcher {
  fetchRange(descriptor: Descriptor, offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
}
/** Stores a manifest or blob, by its media type, unless it exists. Verifies it first: wrong content is not stored. */
export interface Pusher {
  push(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<PushOutcome>;
}
/** Content addressed by descriptor. Content of another size than the descriptor's does not count as existing. */
export interface Storage extends Fetcher, RangeFetcher, Pusher {
  exists(descriptor: Descriptor, options?: ReadOptions): Promise<boolean>;
}
/** Resolves a tag or digest to a manifest or index. Rejects with `not-found`, naming the reference. */
export interface Resolver {
  resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor>;
}
/** Points a tag at a manifest or index that was pushed before; an existing tag moves. */
export interface Tagger {
  tag(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<void>;
}
/**
 * Optional power: moves a tag only if it still names `previous` (a digest; undefined: nothing). False: somebody else has
 * changed it, before or right after, and the caller reads it again. Registries have no such operation: there it is a
 * comparison before and one some time after.
 */
export interface TagMover {
  moveTag(
    descriptor: Descriptor,
    change: { readonly tag: string; readonly previous: string | undefined },
    options?: ReadOptions,
  ): Promise<boolean>;
}

/** A manifest that takes the place of two, and the content that is new with it: its own bytes and those it refers to. */
export interface MergedManifest {
  readonly descriptor: Descriptor;
  /** By digest. */
  readonly content: ReadonlyMap<string, Uint8Array>;
}

/**
 * Optional power of a target that becomes visible as a whole, and is merged then with what another process wrote: a tag that
 * both set gets what `merge` makes of the other's.
 */
export interface TagMerger {
  /** Sets a tag as {@link Target.tag} does. `merge` runs while the target is locked, and may only read from it. */
  tagMerged(
    descriptor: Descriptor,
    named: { readonly tag: string; readonly merge: (other: Descriptor) => Promise<MergedManifest> },
    options?: ReadOptions,
  ): Promise<void>;
}
/** A place to convert images from and to. `name` is its reference in messages, without tag and secrets. */
export interface Target extends Storage, Resolver, Tagger {
  readonly name: string;
  /** Publishes the tags set so far; a target without it publishes each at once. */
  commit?(options?: ReadOptions): Promise<void>;
  /** Commits, and closes files and connections; the target is not used afterwards. */
  close?(): Promise<void>;
}

/** Optional power: mounts a blob from another repository of the registry. False: it has to be uploaded. */
export interface Mounter {
  mount(descriptor: Descriptor, fromRepository: string, options?: ReadOptions): Promise<boolean>;
}
/** Optional power: stores a finished file by moving it; its digest is the caller's word. Undefined: push it instead. */
export interface FileTaker {
  /** Directory on the target's file system in which to create such files. */
  readonly scratch: string;
  takeFile(descriptor: Descriptor, path: string): Promise<PushOutcome | undefined>;
}
/** Optional power: is a repository of the registry at `host[:port]`. */
export interface InRegistry {
  readonly registry: string;
  readonly repository: string;
}
/** Optional power: lists all tags, sorted by code unit. */
export interface TagLister {
  tags(options?: ReadOptions): Promise<readonly string[]>;
}
/** Optional power: removes a manifest or index, and with it every tag that names its digest. */
export interface ManifestRemover {
  removeManifest(digest: string, options?: ReadOptions): Promise<'removed' | 'absent'>;
}
/** Optional power: lists the entries of its index in order; annotations hold their names (image-names.ts). */
export interface ImageLister {
  images(options?: ReadOptions): Promise<readonly Descriptor[]>;
}
/** Optional power: knows the stored size of a blob by its digest alone. Rejects with `not-found`. */
export interface BlobSizer {
  blobSize(digest: string, options?: ReadOptions): Promise<number>;
}
/** The listing of a referrer: by the registry itself, or in an index under a tag. */
export type ReferrerLink = { readonly outcome: PushOutcome; readonly via: 'api' | 'tag' };
/** Optional power: stores manifests with a `subject`, which need not exist, and lists them by it (referrers.ts). */
export interface ReferrerStore {
  pushReferrer(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<ReferrerLink>;
  referrers(subject: { digest: string }, artifactType?: string, options?: ReadOptions): Promise<readonly Descriptor[]>;
}
/** A manifest or index, verified, with its descriptor. */
export type NamedContent = { readonly descriptor: Descriptor; readonly bytes: Uint8Array };
/** Optional power: resolves and fetches in one request. */
export interface NamedFetcher {
  fetchNamed(tagOrDigest: string, options?: ReadOptions): Promise<NamedContent>;
}
/** Optional power: begins an upload and cancels it; rejects as a denied push would. */
export interface PushProber {
  probePush(options?: ReadOptions): Promise<void>;
}
/** Optional power: {@link Storage.exists} that asks again for some seconds, for registries over several machines. */
export interface Confirmer {
  confirm(descriptor: Descriptor, options?: ReadOptions): Promise<boolean>;
}
