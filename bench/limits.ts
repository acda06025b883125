/** The limits that accel sets itself, as ratios of medians of one run: a ratio survives a slow machine, a time does not. */
import { cpuOf, figure, median, middle, type Row, type TableContext, wallOf, worstRss } from './report.ts';

/** A limit of wall time: by a slow baseline, and by a fast one, which leaves less time for the rest. */
export interface WallLimit {
  readonly usual: number;
  /** Where the baseline inflates more than {@link FAST_BASELINE} bytes a second. */
  readonly fast: number;
}

/** Bytes of tar a second above which a baseline is fast. */
export const FAST_BASELINE = 330e6;

/** The limits of one scenario; what is not named has none. */
export interface Limits {
  /** Wall time of full mode over the baseline's. */
  readonly fullWall?: number | WallLimit;
  /** Processor time of full mode over the baseline's. */
  readonly fullCpu?: number;
  /** Wall time of index-only mode over the baseline's. */
  readonly indexWall?: number | WallLimit;
  /** Wall time of full mode over that of `zstd -dc`, where the source is compressed by zstd. */
  readonly fullOverZstd?: number;
  /** Wall time of both tags in one run over full mode's. */
  readonly bothWall?: number;
  /** Bytes of the image that the defaults make over those of the source. */
  readonly fullSize?: number;
  /** Bytes of the image with zstd blocks of the level for size over those of the source. */
  readonly zstdSize?: number;
}

/** A limit and what was measured. */
export interface Verdict {
  readonly text: string;
  readonly held: boolean;
}

/** MiB of resident memory that no conversion may exceed, however large its image. */
export const MAX_RSS = 200;

/** Bytes written to disk over bytes pushed: nothing goes there twice. */
export const MAX_WRITTEN = 1.05;

/** Bytes pushed below which {@link MAX_WRITTEN} is not judged: directories and whole pages weigh too much there. */
export const LEAST_PUSHED = 5_000_000;

/** The limits of a scenario against its rows; a limit whose figure is missing says nothing. */
export function judge(rows: readonly Row[], context: TableContext, limits: Limits): Verdict[] {
  const find = (what: string) => rows.find((row) => row.what === what && row.rounds.length > 0);
  const [base, full, index, both] = [find(context.baseline), find('full'), find('index-only'), find('both')];
  const ratio = (row: Row | undefined, over: Row | undefined, pick: typeof wallOf) =>
    row === undefined || over === undefined ? Number.NaN : middle(row, pick) / middle(over, pick);
  const isFast = base !== undefined && context.tar / middle(base, wallOf) > FAST_BASELINE;
  const most = (limit: number | WallLimit | undefined) =>
    typeof limit === 'object' ? limit[isFast ? 'fast' : 'usual'] : limit;
  const zstd = find(ZSTD_MODE);
  return [
    verdict('wall time of full over node:zlib', ratio(full, base, wallOf), most(limits.fullWall)),
    verdict('CPU time of full over node:zlib', ratio(full, base, cpuOf), limits.fullCpu),
    verdict('wall time of index-only over node:zlib', ratio(index, base, wallOf), most(limits.indexWall)),
    verdict('wall time of full over zstd -dc', ratio(full, find('zstd -dc'), wallOf), limits.fullOverZstd),
    verdict('wall time of both over full', ratio(both, full, wallOf), limits.bothWall),
    verdict('size of full over source', (full?.pushed ?? Number.NaN) / context.source, limits.fullSize),
    verdict('size with zstd over source', (zstd?.pushed ?? Number.NaN) / context.source, limits.zstdSize),
    ...judgeResources(rows),
  ].filter((one) => one !== undefined);
}

/** Checks memory and disk of every conversion by the worst of the rows. */
export function judgeResources(rows: readonly Row[]): (Verdict | undefined)[] {
  const conversions = rows.filter((row) => row.pushed !== undefined && row.rounds.length > 0);
  const worst = (of: (row: Row) => number) => Math.max(...conversions.map(of));
  return [
    verdict(
      'peak RSS in MiB, the worst conversion',
      worst((row) => worstRss(row) / 2 ** 20),
      MAX_RSS,
      0,
    ),
    verdict('bytes written over pushed, the worst conversion', worst(writtenOverPushed), MAX_WRITTEN),
  ];
}

function writtenOverPushed({ rounds, pushed = 0 }: Row): number {
  return pushed < LEAST_PUSHED ? Number.NEGATIVE_INFINITY : median(rounds.map((usage) => usage.written)) / pushed;
}

/** Size of a zstd block in KiB: the largest that takes noise, because 64 KiB of it outgrow what a node reads. */
export const ZSTD_BLOCK = '32';

/** Level of zstd: the first with which the Debian image is no larger than its .tar.gz. */
export const ZSTD_LEVEL = '6';

/** The mode whose size the zstd limit is about. */
export const ZSTD_MODE = `full, zstd ${ZSTD_BLOCK} KiB, level ${ZSTD_LEVEL}` as const;

/** A figure against the most that it may be; undefined without either. */
export function verdict(what: string, measured: number, most: number | undefined, digits = 2): Verdict | undefined {
  if (most === undefined || !Number.isFinite(measured)) return undefined;
  const held = measured <= most;
  const text = `${what}: ${figure(measured, digits)}, at most ${figure(most, digits)}${held ? '' : ' (**not held**)'}`;
  return { text, held };
}

/** Verdicts as a Markdown list. */
export function formatVerdicts(verdicts: readonly Verdict[]): string {
  return verdicts.map(({ text }) => `* ${text}`).join('\n');
}
