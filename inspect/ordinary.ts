/**
 * Determines the modes that the layers of an ordinary image allow: full conversion, or an index over the blob as it is
 * (docs/formats.md §5).
 */
import type { Descriptor } from '../oci/descriptor.ts';
import { unlessMissing } from '../oci/document.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { isEncryptedLayer, isLayer, isNonDistributableLayer, layerCompression } from '../oci/media-types.ts';
import type { RangeFetcher, ReadOptions } from '../oci/storage.ts';
import { compressionOf } from '../verify/source-tree/decompress.ts';
import type { OrdinaryLayerFacts, Verdict } from './facts.ts';

const YES: Verdict = { possible: 'yes', reason: '' };
const no = (reason: string): Verdict => ({ possible: 'no', reason });

/**
 * A gzip header with the extra field of BGZF: 10 bytes, its length, and the subfield's two letters (SAM spec, §4.1).
 */
const HEAD_BYTES = 16;
const FLAG_EXTRA = 4;
const STARGZ_ANNOTATION = 'containerd.io/snapshot/stargz/toc.digest';

/** Other compressions that a layer might turn out to have. */
const FOREIGN: readonly { readonly name: string; readonly magic: readonly number[] }[] = [
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a] },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68] },
  { name: 'lz4', magic: [0x04, 0x22, 0x4d, 0x18] },
];

/** Looks at the first bytes of every layer. */
export async function ordinaryLayers(
  fetcher: RangeFetcher,
  { layers }: ImageManifest,
  options: ReadOptions,
): Promise<OrdinaryLayerFacts[]> {
  const facts = await Promise.all(layers.map((layer) => inspectLayer(fetcher, layer, options)));
  const [bottom] = facts;
  if (bottom?.indexOnly.possible !== 'no') return facts;
  // The snapshotter learns of index-only layers from the lowest one.
  const reason = 'the lowest layer cannot be index-only';
  return facts.map((layer, i) =>
    i === 0 || layer.indexOnly.possible === 'no' ? layer : { ...layer, indexOnly: no(reason) },
  );
}

async function inspectLayer(
  fetcher: RangeFetcher,
  layer: Descriptor,
  options: ReadOptions,
): Promise<OrdinaryLayerFacts> {
  const { digest, mediaType, size } = layer;
  const common = { digest, mediaType, size };
  const isForeign = isNonDistributableLayer(mediaType);
  const isAbsent = isForeign && (await unlessMissing(() => fetcher.fetchRange(layer, 0, 1, options))) === undefined;
  const refused = isAbsent ? 'foreign: its content is not in the registry' : refusalOf(mediaType);
  if (refused !== undefined) {
    const compression = layerCompression(mediaType) ?? 'unknown';
    return { ...common, compression, full: no(refused), indexOnly: no(refused) };
  }
  const head = await fetcher.fetchRange(layer, 0, Math.min(HEAD_BYTES, size), options);
  const foreign = FOREIGN.find(({ magic }) => magic.every((byte, i) => head[i] === byte));
  if (foreign !== undefined) {
    const reason = `compressed with ${foreign.name}, which no runtime takes`;
    return { ...common, compression: foreign.name, full: no(reason), indexOnly: no(reason) };
  }
  return { ...common, compression: compressionOf(head), full: YES, indexOnly: indexVerdict(layer, head) };
}

function refusalOf(mediaType: string): string | undefined {
  if (isEncryptedLayer(mediaType)) return 'encrypted';
  return isLayer(mediaType) ? undefined : 'no file-system layer';
}

function indexVerdict(layer: Descriptor, head: Uint8Array): Verdict {
  const compression = compressionOf(head);
  if (compression === 'none') return YES;
  if (compression === 'zstd') return no('compressed with zstd, which cannot be indexed');
  if (layer.annotations?.[STARGZ_ANNOTATION] !== undefined) return no('eStargz: many gzip members');
  const isBgzf = (head[3]! & FLAG_EXTRA) !== 0 && head[12] === 0x42 && head[13] === 0x43;
  if (isBgzf) return no('BGZF: many gzip members');
  return { possible: 'unknown', reason: 'if it is one gzip member' };
}
