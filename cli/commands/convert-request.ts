/** From the flags of `accel convert` to the request that the converter takes. */
import { AccelError } from '../../base/error.ts';
import type { ConvertRequest, PrefetchRequest } from '../../converter/options.ts';
import { isLz4Level, LZ4_LEVELS } from '../../formats/kernels/lz4-levels.ts';
import { chooseOutputs } from '../output-tags.ts';
import type { ConvertFlags } from './convert-flags.ts';

/** The request; throws `usage` or `tag-too-long` before anything is done. */
export function convertRequest(flags: ConvertFlags, prefetch?: PrefetchRequest): ConvertRequest {
  if (flags.level !== undefined && flags.algorithm === 'lz4' && !isLz4Level(flags.level))
    throw new AccelError('usage', 'LZ4 does not have this level', {
      expected: `${LZ4_LEVELS.lowest} to ${LZ4_LEVELS.highest}`,
      found: `--level ${flags.level}`,
      hint: 'Leave it out for the fastest compression, or add --algorithm zstd, which has levels 1 to 22.',
    });
  return {
    repository: repositoryOf(flags),
    ...(flags.targetRepository === undefined ? {} : { targetRepository: flags.targetRepository }),
    source: sourceOf(flags),
    outputs: chooseOutputs({
      inputTag: flags.inputTag,
      outputTag: flags.outputTag,
      overlaybd: flags.overlaybd,
      turboOci: turboTag(flags),
      mode: flags.mode,
    }),
    artifact: {
      ...(flags.vsize === undefined ? {} : { virtualSize: flags.vsize }),
      algorithm: flags.algorithm,
      blockSize: flags.bs,
      ...(flags.level === undefined ? {} : { level: flags.level }),
      span: flags.span,
      ...(flags.flattenAbove === undefined && flags.flatten !== true ? {} : { flattenAbove: flags.flattenAbove ?? 0 }),
      ...(flags.layout === 'startup' ? { layout: flags.layout } : {}),
      oci: flags.oci === true,
      referrer: flags.referrer === true || flags.subject === true,
      maxFiles: flags.maxFiles,
      maxLayerSize: flags.maxLayerSize,
    },
    ...(prefetch === undefined ? {} : { prefetch }),
    ...(flags.pieceList ? {} : { pieceList: false }),
    ...(flags.prefetch === false ? { noPrefetch: true } : {}),
    platforms: flags.platform,
    concurrency: flags.concurrencyLimit,
    workers: flags.workers,
    maxMemory: flags.maxMemory,
    noUpload: !flags.upload,
    cache: flags.cache,
    ...(flags.copyReferrers === true ? { copyReferrers: true } : {}),
    force: flags.force === true,
    ...(flags.dir === undefined ? {} : { workDirectory: flags.dir }),
  };
}

/** Not a mandatory option of commander: that would be complained about before a mistyped flag is. */
function repositoryOf({ repository }: ConvertFlags): string {
  if (repository !== undefined) return repository;
  throw new AccelError('usage', 'no repository to convert in', {
    hint: 'Name the image as HOST/NAME:TAG or oci:DIR:TAG, or its repository with -r HOST/NAME.',
  });
}

/** With both a tag and a digest the digest says what to convert, the tag only names the result. */
function sourceOf({ inputTag, inputDigest }: ConvertFlags): ConvertRequest['source'] {
  if (inputDigest !== undefined) return { digest: inputDigest };
  if (inputTag !== undefined) return { tag: inputTag };
  throw new AccelError('usage', 'no image to convert', { hint: 'Name it with -i TAG or -g DIGEST.' });
}

function turboTag({ turboOCI, fastoci }: ConvertFlags): string | undefined {
  if (turboOCI !== undefined && fastoci !== undefined && turboOCI !== fastoci) {
    throw new AccelError('usage', '--fastoci is the old name of --turboOCI, and the two differ', {
      expected: turboOCI,
      found: fastoci,
      hint: 'Leave --fastoci out.',
    });
  }
  return turboOCI ?? fastoci;
}
