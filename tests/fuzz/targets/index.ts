/** Every target. */
import type { FuzzTarget } from '../target.ts';
import { archiveTarget, layoutTarget } from './archive.ts';
import { commitTarTarget } from './commit-tar.ts';
import { ddgzidxTarget } from './ddgzidx.ts';
import { dockerConfigTarget } from './docker-config.ts';
import { configTarget, manifestTarget } from './documents.ts';
import { ext4LoadTarget, ext4Target } from './ext4.ts';
import { gzipTarget } from './gzip.ts';
import { imageTarget, layerCacheTarget } from './image.ts';
import { lsmtTarget } from './lsmt.ts';
import { pieceListTarget } from './piece-list.ts';
import { challengeTarget, referenceTarget } from './reference.ts';
import { tarTarget } from './tar.ts';
import { turboTarget } from './turbo.ts';
import { zfileTarget } from './zfile.ts';
import { zstdTarget } from './zstd.ts';

/** In the order of the way of the data. */
export const TARGETS: readonly FuzzTarget[] = [
  ...[referenceTarget, challengeTarget, dockerConfigTarget, layoutTarget, archiveTarget],
  ...[manifestTarget, configTarget, imageTarget, layerCacheTarget],
  ...[tarTarget, gzipTarget, zstdTarget],
  ...[commitTarTarget, zfileTarget, lsmtTarget, ddgzidxTarget, turboTarget, ext4Target, ext4LoadTarget],
  pieceListTarget,
];
