/** Makes the engines of a layer from what the image's conversion says. */
import { chainUuid } from '../chain.ts';
import type { ImageJob } from '../image-job.ts';
import { wantsPieceLists } from '../piece-lists.ts';
import { FullEngine } from './full.ts';
import { IndexOnlyEngine, METADATA_BLOCK_SIZE } from './index-only.ts';

/** The full engine of a layer, with a spool file of its own. */
export async function makeFullEngine({ session, chain, virtualSize }: ImageJob, index: number): Promise<FullEngine> {
  const { artifact } = session.request;
  const { threads, spool } = session.resources;
  const { algorithm, blockSize, level } = artifact;
  const parent = chain[index - 1];
  return new FullEngine({
    artifact,
    virtualSize,
    uuid: chainUuid(chain[index]!),
    parentUuid: parent === undefined ? undefined : chainUuid(parent),
    compressor: threads.compressor({ algorithm, blockSize, level }),
    file: await spool.file(),
    digestFile: (path, size) => threads.digestFile(path, { size, pieces: wantsPieceLists(session.request) }),
  });
}

/** The index-only engine of a layer. */
export function makeIndexEngine({ session, virtualSize }: ImageJob): IndexOnlyEngine {
  const compressor = session.resources.threads.compressor({ algorithm: 'lz4', blockSize: METADATA_BLOCK_SIZE });
  return new IndexOnlyEngine({ virtualSize, compressor, pieceList: wantsPieceLists(session.request) });
}
