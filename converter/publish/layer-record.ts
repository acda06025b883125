/**
 * The record of converted layers, stored in the target itself: it serves runners without persistent state, and images that
 * share a base share its converted layers. The record is a hint: a missing blob is made again, and an invalid record counts
 * as empty.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { bytesSource } from '../../base/byte-source.ts';
import { AccelError, asAccelError } from '../../base/error.ts';
import { isRecord } from '../../base/is-record.ts';
import { awaitAll } from '../../base/limiter.ts';
import { VERSION } from '../../base/version.ts';
import { LAYER_RECORD } from '../../formats/overlaybd/annotations.ts';
import { fetchBytes } from '../../oci/content.ts';
import { type Descriptor, isStringMap } from '../../oci/descriptor.ts';
import { assertDigest, digestOf } from '../../oci/digest.ts';
import { loadManifest } from '../../oci/document.ts';
import { encodeJson, parseObject } from '../../oci/manifest.ts';
import { OCI } from '../../oci/media-types.ts';
import { canMergeTags, canMoveTags } from '../../oci/powers.ts';
import type { MergedManifest, Target } from '../../oci/storage.ts';
import type { LayerKind } from '../events.ts';
import type { LayerBlob } from '../layer/engines/engine.ts';
import { LayerClaims } from '../layer/layer-claims.ts';
import type { ArtifactOptions } from '../options.ts';
import { assertComplete, contentOf } from './assert-complete.ts';
import { levelOf } from './record-annotations.ts';
import { canonical, type RecordKey } from './record-key.ts';

/** Tag of the record. */
export const CACHE_TAG = LAYER_RECORD.tag;
/** Media type of the record. */
export const CACHE_MEDIA_TYPE = LAYER_RECORD.mediaType;
const EMPTY_CONFIG = 'application/vnd.oci.empty.v1+json';
/** Most entries of the record; the least recently used are dropped first. */
const MAX_LAYERS = 4000;
const MAX_RECORD_SIZE = 8 << 20;
/** Tries to write the record while others write it too. */
const MAX_ROUNDS = 40;
/** Milliseconds of the longest pause after the first lost race; it grows with the tries. */
const PAUSE = 40;

/** A recorded blob: everything that manifest and config need. */
export type CachedBlob = Omit<LayerBlob, 'content' | 'path' | 'pieceList'>;

/** Reason why a layer has no index-only blob. */
export interface NotIndexable {
  readonly notIndexable: string;
}

/** The record's entry for a layer and a kind of blob. */
export type CacheEntry = (CachedBlob | NotIndexable) & {
  /** Code of the entry under a key of the record (record-key.ts). */
  readonly mac?: string;
};

/** Options of a record. */
export interface RecordOptions {
  /** Use only entries with a code of this key, and add one to new entries. */
  readonly key?: RecordKey | undefined;
  readonly onWarning?: (message: string) => void;
  /** Blobs that were found or pushed once are not looked for again: for the many images of one run. */
  readonly remembers?: boolean;
}

/** Settings of {@link LayerCache.dropMissing}. */
export interface DropOptions {
  readonly dryRun: boolean;
  /** Waits before each blob that is looked for. */
  readonly pace: () => Promise<void>;
}

/** Entries of the record, and those whose blobs are gone. */
export interface DroppedEntries {
  readonly entries: number;
  readonly missing: number;
}

/** Everything that a layer's blob depends on. */
export interface LayerKey {
  readonly chainId: string;
  readonly virtualSize: number;
  readonly artifact: ArtifactOptions;
  /** Digest of the source blob: an index-only layer is an index of it. */
  readonly sourceDigest: string;
  /** Stands for what decides the order of its data; undefined for the order of the source. */
  readonly layout?: string | undefined;
}

/** The recorded layers of one target. */
export class LayerCache {
  readonly #target: Target;
  readonly #signal: AbortSignal;
  readonly #known: StoredRecord | undefined;
  #record: Promise<StoredRecord> | undefined;
  readonly #used = new Map<string, CacheEntry>();
  readonly #options: RecordOptions;
  #warned = false;
  /** Layers that conversions of this process make now. */
  readonly claims = new LayerClaims();

  private constructor(target: Target, signal: AbortSignal, known: StoredRecord | undefined, options: RecordOptions) {
    this.#target = target;
    this.#signal = signal;
    this.#known = known;
    this.#options = options;
  }

  /** Reads the record at the first lookup; a target without a record has an empty one. */
  static open(target: Target, signal: AbortSignal, options: RecordOptions = {}): LayerCache {
    return new LayerCache(target, signal, undefined, options);
  }

  /** A cache without the entries of earlier runs, for a run that converts everything again. */
  static disabled(target: Target, signal: AbortSignal, options: RecordOptions = {}): LayerCache {
    return new LayerCache(target, signal, NO_RECORD, options);
  }

  /** Finds the blob of a layer: recorded, and present in the target. */
  async find(kind: LayerKind, key: LayerKey): Promise<CacheEntry | undefined> {
    const name = nameOf(kind, key);
    // Entries of this run count too: platforms of an image may share layers.
    const own = this.#used.get(name);
    if (own !== undefined && this.#options.remembers === true) return own;
    const entry = own ?? this.#proven(name, (await this.#read()).entries.get(name));
    if (entry === undefined) return undefined;
    if (!('notIndexable' in entry)) {
      const descriptor = { mediaType: OCI.layer, digest: entry.digest, size: entry.size };
      if (!(await this.#target.exists(descriptor, { signal: this.#signal }))) return undefined;
    }
    this.#used.set(name, entry);
    return entry;
  }

  /** Adds the result of a layer. */
  add(kind: LayerKind, key: LayerKey, entry: CacheEntry): void {
    const name = nameOf(kind, key);
    const made = 'notIndexable' in entry ? { notIndexable: entry.notIndexable } : remembered(entry);
    const mac = this.#options.key?.codeOfEntry(name, made);
    this.#used.set(name, { ...made, ...(mac === undefined ? {} : { mac }) });
  }

  /** Removes an entry that {@link find} returned and that turned out not to be the layer. */
  forget(kind: LayerKind, key: LayerKey): void {
    this.#used.delete(nameOf(kind, key));
  }

  /** Returns the entry if it may be used: with a key, only one that carries its code. */
  #proven(name: string, entry: CacheEntry | undefined): CacheEntry | undefined {
    const { key, onWarning } = this.#options;
    if (entry === undefined || key === undefined || key.provesEntry(name, entry)) return entry;
    if (!this.#warned) {
      onWarning?.(
        'the record of layers has entries without a valid code of the record key: these layers are converted again',
      );
    }
    this.#warned = true;
    return undefined;
  }

  /**
   * Writes the record with the entries that this run used and made as the newest, and keeps those that other runs have
   * written. Where others write at the same time it merges and writes again. Throws `registry-error` if they never pause.
   */
  async save(): Promise<void> {
    if (this.#used.size === 0) return;
    let stored = await this.#read();
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      stored = await readRecord(this.#target, this.#signal, stored);
      if (await this.#write(stored, (entries) => this.#merged(entries))) return;
      await delay(Math.random() * PAUSE * Math.min(round, 8), undefined, { signal: this.#signal });
    }
    throw tooManyRounds(this.#target);
  }

  /** Drops the entries whose blobs are gone from the target; with `dryRun` it only counts them. Throws as {@link save}. */
  async dropMissing({ dryRun, pace }: DropOptions): Promise<DroppedEntries> {
    let stored = await this.#read();
    const { size } = stored.entries;
    const missing = new Map<string, CacheEntry>();
    for (const [name, entry] of stored.entries) {
      if ('notIndexable' in entry) continue;
      await pace();
      const descriptor = { mediaType: OCI.layer, digest: entry.digest, size: entry.size };
      if (!(await this.#target.exists(descriptor, { signal: this.#signal }))) missing.set(name, entry);
    }
    const result = { entries: size, missing: missing.size };
    if (dryRun || missing.size === 0) return result;
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      stored = await readRecord(this.#target, this.#signal, stored);
      if (await this.#write(stored, (entries) => without(entries, missing))) return result;
      await delay(Math.random() * PAUSE * Math.min(round, 8), undefined, { signal: this.#signal });
    }
    throw tooManyRounds(this.#target);
  }

  /** The stored entries and those of this run; undefined if the record has them already. */
  #merged(stored: Entries): Record<string, CacheEntry> | undefined {
    const merged = new Map(stored);
    // Layers are done in another order on another machine; the record is the same.
    for (const [name, entry] of [...this.#used].sort(([one], [other]) => (one < other ? -1 : 1))) {
      merged.delete(name);
      merged.set(name, entry);
    }
    const newest = [...merged].slice(-MAX_LAYERS);
    const isKnown = ([name, entry]: [string, CacheEntry]) => canonical(entry) === canonical(stored.get(name));
    return newest.length === stored.size && newest.every(isKnown) ? undefined : Object.fromEntries(newest);
  }

  /** Writes what `change` makes of the record in place of `stored`. False: another process was faster. */
  async #write(stored: StoredRecord, change: Change): Promise<boolean> {
    const entries = change(stored.entries);
    if (entries === undefined) return true;
    const { layer, config, manifest, content } = documentsOf(entries);
    await awaitAll([layer, config].map((document) => this.#put(document)));
    const named = await this.#put(manifest);
    await assertComplete(this.#target, contentOf(content), { signal: this.#signal });
    const options = { signal: this.#signal };
    if (canMoveTags(this.#target))
      return this.#target.moveTag(named, { tag: CACHE_TAG, previous: stored.digest }, options);
    if (canMergeTags(this.#target)) {
      const merge = (other: Descriptor): Promise<MergedManifest> => this.#merge(other, change);
      await this.#target.tagMerged(named, { tag: CACHE_TAG, merge }, options);
      return true;
    }
    await this.#target.tag(named, CACHE_TAG, options);
    return true;
  }

  /** The record with what `change` makes of another process's. */
  async #merge(other: Descriptor, change: Change): Promise<MergedManifest> {
    const changed = change(await entriesOrNone(() => readEntries(this.#target, other, this.#signal)));
    if (changed === undefined) return { descriptor: other, content: new Map() };
    const { layer, config, manifest } = documentsOf(changed);
    return {
      descriptor: descriptorOf(manifest),
      content: new Map([layer, config, manifest].map(({ bytes }) => [digestOf(bytes), bytes])),
    };
  }

  #read(): Promise<StoredRecord> {
    this.#record ??= this.#known === undefined ? readRecord(this.#target, this.#signal) : Promise.resolve(this.#known);
    return this.#record;
  }

  async #put(document: Document): Promise<Descriptor> {
    const descriptor = descriptorOf(document);
    await this.#target.push(descriptor, bytesSource(document.bytes), { signal: this.#signal });
    return descriptor;
  }
}

interface Document {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

type Entries = ReadonlyMap<string, CacheEntry>;
/** Answers the entries that a record is to have instead of some; undefined: it stays as it is. */
type Change = (entries: Entries) => Record<string, CacheEntry> | undefined;

function descriptorOf({ mediaType, bytes }: Document): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

/** The documents of a record, and the content of its manifest. */
function documentsOf(entries: Record<string, CacheEntry>) {
  const layer = { mediaType: CACHE_MEDIA_TYPE, bytes: encodeJson({ version: 1, layers: entries }) };
  const config = { mediaType: EMPTY_CONFIG, bytes: encodeJson({}) };
  const content = {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    artifactType: CACHE_MEDIA_TYPE,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
  };
  return { layer, config, manifest: { mediaType: OCI.manifest, bytes: encodeJson(content) }, content };
}

/** The entries without those that are missing, unless another run made the layer again meanwhile. */
function without(entries: Entries, missing: Entries): Record<string, CacheEntry> | undefined {
  const left = [...entries].filter(
    ([name, entry]) => !missing.has(name) || canonical(entry) !== canonical(missing.get(name)),
  );
  return left.length === entries.size ? undefined : Object.fromEntries(left);
}

function tooManyRounds(target: Target): AccelError {
  return new AccelError('registry-error', 'other processes keep changing the record of layers', {
    where: { target: target.name, reference: CACHE_TAG },
    expected: `a pause within ${MAX_ROUNDS} tries`,
    found: 'another record each time',
  });
}

/** Form of the blobs of index-only layers: 3 is deflated by accel's own kernel (docs/decisions/0033-own-deflate.md). */
const INDEX_FORM = 3;

/** Hashes everything that determines the bytes: any change makes another layer. */
export function nameOf(kind: LayerKind, { chainId, virtualSize, artifact, sourceDigest, layout }: LayerKey): string {
  const special =
    kind === 'full'
      ? [artifact.algorithm, artifact.blockSize, levelOf(artifact)]
      : [artifact.span, sourceDigest, INDEX_FORM];
  const order = layout === undefined ? [] : [{ layout }];
  return `${kind}:${digestOf(encodeJson([VERSION, chainId, virtualSize, ...special, ...order]))}`;
}

function remembered({ kind, digest, size, diffId, compression, annotations, segments }: CachedBlob): CachedBlob {
  return { kind, digest, size, diffId, compression, annotations, segments };
}

/** The record that a target has. */
interface StoredRecord {
  /** Digest of its manifest; undefined without a record. */
  readonly digest: string | undefined;
  readonly entries: ReadonlyMap<string, CacheEntry>;
}

const NO_RECORD: StoredRecord = { digest: undefined, entries: new Map() };

/** Reads the record, unless it is still `known`. A damaged one has no entries, and keeps its digest: it can be replaced. */
async function readRecord(target: Target, signal: AbortSignal, known = NO_RECORD): Promise<StoredRecord> {
  let found: Descriptor | undefined;
  const entries = await entriesOrNone(async () => {
    found = await target.resolve(CACHE_TAG, { signal });
    return found.digest === known.digest ? known.entries : readEntries(target, found, signal);
  });
  return { digest: found?.digest, entries };
}

/** Reads the entries; a record that is damaged or not there has none. */
async function entriesOrNone(read: () => Promise<Entries>): Promise<Entries> {
  try {
    return await read();
  } catch (error) {
    // Without a record more layers are converted; an unreachable registry fails the next request anyway.
    if (error instanceof AccelError && UNUSABLE.has(error.code)) return new Map();
    throw asAccelError(error);
  }
}

async function readEntries(
  target: Target,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, CacheEntry>> {
  const manifest = await loadManifest(target, descriptor, { signal });
  const [layer] = manifest.layers;
  if (layer?.mediaType !== CACHE_MEDIA_TYPE) return new Map();
  const record = parseObject(await fetchBytes(target, layer, MAX_RECORD_SIZE, { signal }), MAX_RECORD_SIZE, {});
  const entries = isRecord(record.layers) ? Object.entries(record.layers) : [];
  return new Map(entries.flatMap(([name, value]) => (isEntry(value) ? [[name, value] as const] : [])));
}

const UNUSABLE = new Set([
  'not-found',
  'manifest-invalid',
  'limit-exceeded',
  'digest-mismatch',
  'size-mismatch',
  'image-unsupported',
]);

function isEntry(value: unknown): value is CacheEntry {
  if (!isRecord(value) || (value.mac !== undefined && typeof value.mac !== 'string')) return false;
  if (typeof value.notIndexable === 'string') return true;
  const { kind, digest, size, diffId, compression, annotations, segments } = value;
  if (kind !== 'full' && kind !== 'index-only') return false;
  if (compression !== 'none' && compression !== 'gzip') return false;
  if (!isCount(size) || !isCount(segments) || !isStringMap(annotations)) return false;
  return isDigest(digest) && isDigest(diffId);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isDigest(value: unknown): boolean {
  if (typeof value !== 'string') return false;
  try {
    assertDigest(value);
    return true;
  } catch (error) {
    if (error instanceof AccelError) return false;
    throw error;
  }
}
