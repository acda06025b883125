/** Writes a converted layer again with what a start reads at its front, or with access points beside it. */
import { finishPaced } from '../../../base/pacer.ts';
import { DiskFile } from '../../../disk/disk-file.ts';
import { decodeGzipIndex, gzipIndexPieces } from '../../../formats/gzip/gzip-index.ts';
import { indexHeader } from '../../../formats/gzip/layout.ts';
import { placePoints, pointsBeside } from '../../../formats/gzip/place-points.ts';
import { storedRange } from '../../../formats/gzip/stored.ts';
import { SECTOR_SIZE, TAG_REMOTE } from '../../../formats/lsmt/layout.ts';
import { type LsmtIndex, readLsmtIndex } from '../../../formats/lsmt/reader.ts';
import {
  type FrontRange,
  planRearrangement,
  type Rearrangement,
  rearrangedEnd,
  rearrangedHeader,
} from '../../../formats/lsmt/rearrange.ts';
import {
  LAYER_ANNOTATION,
  STARTUP_RANGES_ANNOTATION,
  STARTUP_SIZE_ANNOTATION,
  STORED_INDEX_ANNOTATION,
} from '../../../formats/overlaybd/annotations.ts';
import { unpackTurboLayer } from '../../../formats/turbo/turbo-layer.ts';
import { COMMIT_TAR_HEAD_SIZE, parseCommitTarHead } from '../../../formats/zfile/commit-tar.ts';
import { ZFileReader } from '../../../formats/zfile/reader.ts';
import type { ZFileWriter } from '../../../formats/zfile/writer.ts';
import type { Session } from '../../session.ts';
import type { LayerBlob } from '../engines/engine.ts';
import { FullLayerFile } from '../engines/full-layer-file.ts';
import { sealIndexLayer } from '../engines/index-only.ts';
import { wantsPieceLists } from '../piece-lists.ts';
import { joinRanges } from './join-ranges.ts';

/** Bytes copied at a time. */
const PIECE = 1 << 20;

/** The full layer with the data of the ranges at its front; the layer itself where it has nothing of them. */
export async function rearrangeFull(
  session: Session,
  blob: LayerBlob,
  ranges: readonly FrontRange[],
): Promise<LayerBlob> {
  const old = await DiskFile.open(blob.path!);
  try {
    const { zfileOffset, zfileSize } = parseCommitTarHead(await old.read(0, COMMIT_TAR_HEAD_SIZE));
    const readAt = (offset: number, length: number) => old.read(zfileOffset + offset, length);
    const zfile = await ZFileReader.open(readAt, zfileSize);
    const index = await readLsmtIndex((offset, length) => zfile.read(offset, length), zfile.size);
    const plan = planRearrangement(index, ranges, zfile.blockSize);
    return plan === undefined ? blob : await writeFull(session, { size: blob.size, zfile, readAt, index, plan });
  } finally {
    await old.close();
  }
}

interface OldLayer {
  /** Bytes of its blob. */
  readonly size: number;
  readonly zfile: ZFileReader;
  readonly readAt: (offset: number, length: number) => Promise<Uint8Array>;
  readonly index: LsmtIndex;
  readonly plan: Rearrangement;
}

async function writeFull(session: Session, old: OldLayer): Promise<LayerBlob> {
  const { threads, spool } = session.resources;
  const { artifact } = session.request;
  const { algorithm, blockSize, level } = artifact;
  const { index, plan } = old;
  const layer = new FullLayerFile({
    artifact,
    compressor: threads.compressor({ algorithm, blockSize, level }, old.size),
    file: await spool.file(),
    pieces: wantsPieceLists(session.request) ? threads.pieces(old.size) : undefined,
    digestFile: (path, size) => threads.digestFile(path, size),
  });
  const out = layer.zfile;
  try {
    out.write(rearrangedHeader(index));
    await copyPacked(old, out, session.signal);
    await copyBlocks(old, out, session.signal);
    const segments = await finishPaced(written(rearrangedEnd(index, plan), out), out, session.signal);
    const blob = await layer.finish(segments);
    const frontBlocks = Math.ceil((plan.frontEnd * SECTOR_SIZE) / blockSize);
    const front = COMMIT_TAR_HEAD_SIZE + out.blockOffset(frontBlocks);
    return { ...blob, annotations: { ...blob.annotations, [STARTUP_SIZE_ANNOTATION]: String(front) } };
  } finally {
    await layer.close();
  }
}

/** Decompresses what goes to the front, and writes it there. */
async function copyPacked({ zfile, plan }: OldLayer, out: ZFileWriter, signal: AbortSignal): Promise<void> {
  for (const { from, sectors } of plan.packed) {
    for (let done = 0; done < sectors * SECTOR_SIZE; done += PIECE) {
      signal.throwIfAborted();
      const length = Math.min(PIECE, sectors * SECTOR_SIZE - done);
      out.write(await zfile.read(from * SECTOR_SIZE + done, length));
      if (out.saturated) await out.drain();
    }
  }
  out.write(new Uint8Array(plan.packedEnd * SECTOR_SIZE - out.originalSize));
}

/** Copies the other blocks as they are. */
async function copyBlocks({ zfile, readAt, plan }: OldLayer, out: ZFileWriter, signal: AbortSignal): Promise<void> {
  for (const { first, count } of plan.kept) {
    for (let from = first; from < first + count; ) {
      signal.throwIfAborted();
      const { offset } = zfile.blockRange(from);
      const lengths: number[] = [];
      let size = 0;
      do {
        const { length } = zfile.blockRange(from++);
        lengths.push(length);
        size += length;
      } while (from < first + count && size < PIECE);
      out.writeCompressed({ bytes: await readAt(offset, size), lengths: Uint32Array.from(lengths) });
      if (out.saturated) await out.drain();
    }
  }
}

/** Writes what comes of a layer's end. */
function* written(end: Generator<Uint8Array | undefined, number>, out: ZFileWriter): Generator<undefined, number> {
  for (;;) {
    const step = end.next();
    if (step.done === true) return step.value;
    if (step.value !== undefined) out.write(step.value);
    yield;
  }
}

/**
 * The index-only layer with the access points of the span, and more of them beside the data of the ranges. Its data lies in the
 * source layer, where it stays.
 */
export async function rearrangeIndexOnly(
  session: Session,
  blob: LayerBlob,
  ranges: readonly FrontRange[],
): Promise<LayerBlob> {
  const old = await DiskFile.open(blob.path!);
  try {
    const { fsMeta, gzipIndex } = await unpackTurboLayer(await old.read(0, blob.size));
    const zfile = await ZFileReader.open(
      async (offset, length) => fsMeta.subarray(offset, offset + length),
      fsMeta.length,
    );
    const index = await readLsmtIndex((offset, length) => zfile.read(offset, length), zfile.size);
    const wanted = [...tarRanges(index, ranges)];
    const { annotations } = blob;
    const parts = joinRanges(wanted).map(({ offset, length }) => `${offset}+${length}`);
    const startup: Record<string, string> = parts.length === 0 ? {} : { [STARTUP_RANGES_ANNOTATION]: parts.join() };
    if (gzipIndex === undefined) return { ...blob, annotations: { ...annotations, ...startup } };
    const placed = placePoints(decodeGzipIndex(gzipIndex), session.request.artifact.span, wanted);
    const first = pointsBeside(placed, wanted);
    const file = await session.resources.spool.file();
    try {
      const sealed = await sealIndexLayer(file, {
        fsMeta: { size: fsMeta.length, open: () => once(fsMeta) },
        gzipIndex: gzipIndexPieces(placed, (point) => first.has(point)),
        source: {
          digest: annotations[LAYER_ANNOTATION.targetDigest]!,
          mediaType: annotations[LAYER_ANNOTATION.targetMediaType]!,
        },
        segments: blob.segments,
        pieceList: wantsPieceLists(session.request),
        signal: session.signal,
      });
      const windows = [...first].reduce((sum, { window }) => sum + window.length, 0);
      return { ...sealed, annotations: { ...sealed.annotations, ...startup, ...frontOf(sealed, windows) } };
    } finally {
      await file.close();
    }
  } finally {
    await old.close();
  }
}

/** Where the index is stored: up to where in the blob the metadata and the first windows are. */
function frontOf({ annotations }: LayerBlob, windows: number): Record<string, string> {
  const at = annotations[STORED_INDEX_ANNOTATION];
  if (at === undefined || windows === 0) return {};
  const { offset, length } = storedRange(0, indexHeader.size + windows);
  return { [STARTUP_SIZE_ANNOTATION]: String(Number(at) + offset + length) };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Where the data of parts of the device lies in the tar of the source layer. */
function* tarRanges(index: LsmtIndex, ranges: readonly FrontRange[]): Generator<FrontRange> {
  for (const range of ranges) {
    const end = range.offset + range.length;
    for (let i = index.find(range.offset); i < index.count; i++) {
      const { offset, length, moffset, tag, zeroed } = index.segment(i);
      if (offset >= end) break;
      if (tag !== TAG_REMOTE || zeroed) continue;
      const from = Math.max(offset, range.offset);
      const to = Math.min(offset + length, end);
      yield { offset: moffset + from - offset, length: to - from };
    }
  }
}
