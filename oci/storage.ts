/**
 * The contract of everything that holds images: a registry's repository, a layout on disk, a map in memory. A module
 * takes the smallest of these interfaces that it needs; what only some backends can do is an interface of its own.
 */
import type { BlobSource } from '../base/byte-source.ts';
import type { Descriptor } from './descriptor.ts';

/** Options of every call that waits on a disk or a network. */
export interface ReadOptions {
  /** Ends the call, and the stream that it returned, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link Fetcher.fetch}. */
export interface FetchOptions extends ReadOptions {
  /** The caller is done with a piece when it asks for the next: what comes from a disk then uses its memory again. */
  readonly transient?: boolean | undefined;
}

/** Gives content by descriptor. */
export interface Fetcher {
  /**
   * The content as a stream that is verified while it is read: it ends with `digest-mismatch` or `size-mismatch` if the
   * bytes are not what the descriptor says. Rejects with `not-found` if there is no such content.
   */
  fetch(descriptor: Descriptor, options?: FetchOptions): Promise<AsyncIterable<Uint8Array>>;
}

/** Gives parts of content. */
export interface RangeFetcher {
  /** Exactly `length` bytes from `offset`, or an error. A part cannot be verified against the digest. */
  fetchRange(descriptor: Descriptor, offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
}

/** Takes content. */
export interface Pusher {
  /**
   * Stores the content unless it stands already. It is verified against the descriptor while it streams, and nothing
   * is stored if it differs. Whether it is a manifest or a blob, the media type says.
   */
  push(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<'pushed' | 'existed'>;
}

/** Content addressed by descriptor. */
export interface Storage extends Fetcher, RangeFetcher, Pusher {
  /** Whether the content stands here with the descriptor's size. */
  exists(descriptor: Descriptor, options?: ReadOptions): Promise<boolean>;
}

/** Finds what a name stands for. */
export interface Resolver {
  /** The descriptor of a manifest or index by tag or digest. Rejects with `not-found`, naming the reference. */
  resolve(tagOrDigest: string, options?: ReadOptions): Promise<Descriptor>;
}

/** Gives names to content. */
export interface Tagger {
  /** Lets `tag` name a manifest or index that was pushed before; a tag that names something else moves. */
  tag(descriptor: Descriptor, tag: string, options?: ReadOptions): Promise<void>;
}

/** A place to convert images from and to. */
export interface Target extends Storage, Resolver, Tagger {
  /** How messages call it: a reference without tag and without secrets. */
  readonly name: string;
  /** Lets the tags that were given so far stand for everyone; a target without it does so at once. */
  commit?(options?: ReadOptions): Promise<void>;
  /** Commits, and lets go of files and connections; the target is not used afterwards. */
  close?(): Promise<void>;
}

/** Optional power: takes a blob over from another repository of the same registry without moving its bytes. */
export interface Mounter {
  /** True if the blob stands here now; false if the registry would rather have it uploaded. */
  mount(descriptor: Descriptor, fromRepository: string, options?: ReadOptions): Promise<boolean>;
}

/** Optional power: takes over a finished file, so that its bytes are not written a second time. */
export interface FileTaker {
  /** A directory on the file system of the target; files to be taken over are best made in a folder of their own here. */
  readonly scratch: string;
  /**
   * Stores the file at `path`, whose digest the caller has computed, by moving it. Undefined if it lies on another file
   * system: then it has to be pushed.
   */
  takeFile(descriptor: Descriptor, path: string): Promise<'pushed' | 'existed' | undefined>;
}

/** Optional power: is a repository of a registry, and says which. */
export interface InRegistry {
  /** `host[:port]` that serves the API. */
  readonly registry: string;
  readonly repository: string;
}

/** Optional power: says which tags there are. */
export interface TagLister {
  /** All tags, sorted by code unit. */
  tags(options?: ReadOptions): Promise<readonly string[]>;
}

/** Optional power: lists the images that it holds, with and without a name. */
export interface ImageLister {
  /** The entries of its index, in their order; annotations carry their names (image-names.ts). */
  images(options?: ReadOptions): Promise<readonly Descriptor[]>;
}

/** Optional power: knows the size of a blob that only its digest is known of. */
export interface BlobSizer {
  /** Bytes of the blob as it is stored. Rejects with `not-found`. */
  blobSize(digest: string, options?: ReadOptions): Promise<number>;
}

/** How a referrer was stored, and where it is listed: by the registry itself, or in an index under a tag. */
export interface ReferrerLink {
  readonly outcome: 'pushed' | 'existed';
  readonly via: 'api' | 'tag';
}

/** Optional power: keeps manifests that refer to another one by their `subject`, and finds them from there. */
export interface ReferrerStore {
  /**
   * Stores an OCI manifest or index whose `subject` is media type, digest and size alone (the subject need not stand
   * here), and reads back that it is listed. Throws `manifest-invalid` for another subject, `registry-error` where the
   * registry refuses subjects.
   */
  pushReferrer(descriptor: Descriptor, content: BlobSource, options?: ReadOptions): Promise<ReferrerLink>;
  /** What refers to `subject`, of one artifact type or of all; nothing refers to what is not there. */
  referrers(
    subject: Pick<Descriptor, 'digest'>,
    artifactType?: string,
    options?: ReadOptions,
  ): Promise<readonly Descriptor[]>;
}

/** Optional power: reads what a name stands for without resolving it first. */
export interface NamedFetcher {
  /** The manifest or index of a tag or digest, verified, with its descriptor. Rejects as {@link Resolver.resolve} does. */
  fetchNamed(
    tagOrDigest: string,
    options?: ReadOptions,
  ): Promise<{ readonly descriptor: Descriptor; readonly bytes: Uint8Array }>;
}

/** Optional power: knows before any work whether content will be taken. */
export interface PushProber {
  /** Begins an upload and cancels it. Rejects as a push would that is not allowed. */
  probePush(options?: ReadOptions): Promise<void>;
}

/** Optional power: content that was stored may show up a moment later. */
export interface Confirmer {
  /** As {@link Storage.exists}, but what is absent is asked for again for a few seconds. */
  confirm(descriptor: Descriptor, options?: ReadOptions): Promise<boolean>;
}
