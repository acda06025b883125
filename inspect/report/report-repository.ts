/** Reports the bytes that a repository stores, that starts fetch, and that a fleet saves. Figures that are unknown are left out. */
import { asAccelError } from '../../base/error.ts';
import { mapBounded } from '../../base/limiter.ts';
import { LAYER_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import { unlessMissing } from '../../oci/document.ts';
import { canSizeBlobs } from '../../oci/powers.ts';
import type { Target } from '../../oci/storage.ts';
import { readCarriedPrefetch } from '../../prefetch/carried.ts';
import { describePrefetch } from '../../prefetch/describe.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { pieceListOf } from '../../reader/layer-piece-list.ts';
import { layerKindOf } from '../../reader/stack.ts';
import { BlobLedger } from './blob-ledger.ts';
import { type ReadManifest, type ReadRepositoryOptions, readRepository, readUntagged } from './read-repository.ts';
import type { FleetFacts, ReportedImage, RepositoryReport, StartFacts } from './report-facts.ts';

/** Choices for {@link reportRepository}. */
export interface ReportOptions extends ReadRepositoryOptions {
  /** Nodes of the fleet; without it nothing is computed for one. */
  readonly nodes?: number | undefined;
}

/** Images whose lists are followed at a time: each has the indexes of its layers in memory. */
const STARTS_AT_ONCE = 2;

/** Reports a repository, or a layout on disk. Throws what the target throws; what is wrong with one image is a problem. */
export async function reportRepository(target: Target, options: ReportOptions): Promise<RepositoryReport> {
  const { concurrency, signal, nodes } = options;
  const { tags, manifests, indexes, problems } = await readRepository(target, options);
  const all = [...manifests.values()];
  const ledger = new BlobLedger();
  for (const [digest, size] of indexes) ledger.add('document', { digest, size });
  for (const { digest, documentSize, kind, blobs, layers } of all) {
    ledger.add('document', { digest, size: documentSize });
    for (const blob of blobs) ledger.add(kind, blob);
    for (const list of layers.map(pieceListOf)) if (list !== undefined) ledger.add('pieceList', list);
  }
  const accelerated = all.filter(({ kind }) => kind === 'accelerated');
  const more: string[] = [];
  await addSources(accelerated, { target, ledger, options, problems: more });
  const bases = await mapBounded(accelerated, concurrency, async ({ sourceDigest }) => {
    if (sourceDigest === undefined) return undefined;
    return manifests.get(sourceDigest) ?? readUntagged(target, sourceDigest, { signal });
  });
  const starts = await mapBounded(accelerated, STARTS_AT_ONCE, (image) => startOf(target, image, options));
  const images = accelerated
    .map((image, index) => describe(image, { base: bases[index], start: starts[index]!, ledger }))
    .sort((a, b) => compare(a.tags[0] ?? '', b.tags[0] ?? '') || compare(a.digest, b.digest));
  const countOf = (kind: ReadManifest['kind']): number => all.filter((one) => one.kind === kind).length;
  return {
    repository: target.name,
    tags,
    manifests: { base: countOf('base'), accelerated: accelerated.length, other: countOf('other') },
    stored: ledger.stored(),
    images,
    ...(nodes === undefined ? {} : { fleet: fleetOf(images, nodes) }),
    problems: [...problems, ...more],
  };
}

/**
 * Computes the saving of a fleet. The tags of one conversion have one source, which a node starts once: the image counts that fetches least.
 */
export function fleetOf(images: readonly ReportedImage[], nodes: number): FleetFacts {
  const sources = new Map<string, { readonly base: number; readonly start: number } | undefined>();
  for (const { digest, sourceDigest = digest, baseBytes, start } of images) {
    const known = sources.get(sourceDigest);
    const isKnown = baseBytes !== undefined && start !== undefined;
    if (isKnown && (known === undefined || start.bytes < known.start))
      sources.set(sourceDigest, { base: baseBytes, start: start.bytes });
    else if (!sources.has(sourceDigest)) sources.set(sourceDigest, undefined);
  }
  const counted = [...sources.values()].filter((one) => one !== undefined);
  const pulled = nodes * counted.reduce((sum, { base }) => sum + base, 0);
  const started = nodes * counted.reduce((sum, { start }) => sum + start, 0);
  const unknown = sources.size - counted.length;
  return { nodes, images: counted.length, unknown, pulled, started, saved: pulled - started };
}

interface SourceWork {
  readonly target: Target;
  readonly ledger: BlobLedger;
  readonly options: ReadRepositoryOptions;
  readonly problems: string[];
}

/** Counts the layers of bases that index-only layers read, which keep a base alive; asks for the size of one that no manifest gives. */
async function addSources(images: readonly ReadManifest[], { target, ledger, options, problems }: SourceWork) {
  const { concurrency, signal } = options;
  const digests = [...new Set(images.flatMap(sourcesOf))];
  await mapBounded(digests, concurrency, async (digest) => {
    const known = ledger.sizeOf(digest);
    const size =
      known ?? (canSizeBlobs(target) ? await unlessMissing(() => target.blobSize(digest, { signal })) : undefined);
    if (size !== undefined) ledger.add('accelerated', { digest, size });
    else problems.push(`${digest}: an index-only layer reads this layer of a base, which is gone`);
  });
}

function sourcesOf({ layers }: ReadManifest): string[] {
  return layers.flatMap(({ annotations }) => annotations?.[LAYER_ANNOTATION.targetDigest] ?? []);
}

/** The start of an image by its list or trace, or the reason why it is unknown. */
async function startOf(
  target: Target,
  { digest, layers, blobs }: ReadManifest,
  { signal }: ReadRepositoryOptions,
): Promise<StartFacts | string> {
  const top = layers.at(-1);
  if (top === undefined || layerKindOf(top) !== 'acceleration') return 'it carries no prefetch list';
  try {
    const image = await openImage(target, digest, { signal });
    const carried = await readCarriedPrefetch(target, layers, { signal });
    const facts = await describePrefetch(image, carried!.content, signal);
    if (!facts.read) return 'its prefetch list is too large for a node to read';
    const bytes = facts.fetched + top.size + blobs[0]!.size;
    return { form: facts.form, bytes, entries: facts.entries };
  } catch (error) {
    const { code, message } = asAccelError(error);
    if (signal?.aborted || code === 'unauthorized' || code === 'internal') throw error;
    return `its prefetch list cannot be followed: ${message}`;
  }
}

function describe(
  image: ReadManifest,
  { base, start, ledger }: { base: ReadManifest | undefined; start: StartFacts | string; ledger: BlobLedger },
): ReportedImage {
  const { digest, tags, platform, layers, blobs, sourceDigest } = image;
  const kinds = new Set(layers.map(layerKindOf).filter((kind) => kind !== 'acceleration'));
  const own = distinctBytes(blobs);
  const sources = [...new Set(sourcesOf(image))].map((source) => ledger.sizeOf(source));
  const whole = sources.every((size) => size !== undefined)
    ? sources.reduce((sum, size) => sum + size, own)
    : undefined;
  return {
    digest,
    tags: [...tags].sort(),
    ...(platform === undefined ? {} : { platform }),
    mode: !kinds.has('index-only') ? 'full' : kinds.size === 1 ? 'index-only' : 'mixed',
    ownBytes: own,
    ...(whole === undefined ? {} : { bytes: whole }),
    ...(sourceDigest === undefined ? {} : { sourceDigest }),
    ...(base === undefined ? {} : { baseBytes: distinctBytes(base.blobs) }),
    ...(typeof start === 'string' ? { startUnknown: start } : { start }),
  };
}

/** A layer that is twice in an image is fetched and stored once. */
function distinctBytes(blobs: ReadManifest['blobs']): number {
  return [...new Map(blobs.map(({ digest, size }) => [digest, size])).values()].reduce((sum, size) => sum + size, 0);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
