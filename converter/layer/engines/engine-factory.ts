/** Makes the engines of a layer from what the image's conversion says. */
import { chainUuid } from '../chain.ts';
import { type ImageJob, layerIdOf } from '../image-job.ts';
import { wantsPieceLists } from '../piece-lists.ts';
import { FullEngine } from './full.ts';
import { IndexOnlyEngine, METADATA_BLOCK_SIZE } from './index-only.ts';

/** The full engine of a layer, with a spool file of its own. */
export async function makeFullEngine(job: ImageJob, index: number): Promise<FullEngine> {
  const { session, chain, virtualSize } = job;
  const { artifact } = session.request;
  const { threads, spool } = session.resources;
  const { algorithm, blockSize, level } = artifact;
  const { size: sourceSize } = layerIdOf(job, index);
  const parent = chain[index - 1];
  return new FullEngine({
    artifact,
    virtualSize,
    uuid: chainUuid(chain[index]!),
    parentUuid: parent === undefined ? undefined : chainUuid(parent),
    compressor: threads.compressor({ algorithm, blockSize, level }, sourceSize),
    file: await spool.file(),
    pieces: wantsPieceLists(session.request) ? threads.pieces(sourceSize) : undefined,
    digestFile: (path, size) => threads.digestFile(path, size),
    signal: session.signal,
  });
}

/** The index-only engine of a layer, with spool files of its own. */
export async function makeIndexEngine(job: ImageJob, index: number): Promise<IndexOnlyEngine> {
  const { session, virtualSize } = job;
  const { size } = layerIdOf(job, index);
  const { threads, spool } = session.resources;
  return new IndexOnlyEngine({
    virtualSize,
    compressor: threads.compressor({ algorithm: 'lz4', blockSize: METADATA_BLOCK_SIZE }, size),
    deflate: threads.deflater(size),
    pieceList: wantsPieceLists(session.request),
    metadata: await spool.file(),
    file: await spool.file(),
    signal: session.signal,
  });
}
