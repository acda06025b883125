/** The levels of LZ4. */
import { AccelError } from '../../base/error.ts';

/**
 * The levels that LZ4 has, named as liblz4's. Each looks at twice as many earlier positions as the one below; from 6 on the
 * blocks are about as small as those of liblz4's highest. Without a level the blocks are those of its fast compression.
 */
export const LZ4_LEVELS = { lowest: 3, highest: 12 } as const;

/** Whether LZ4 has a level. */
export function isLz4Level(level: number): boolean {
  return Number.isInteger(level) && level >= LZ4_LEVELS.lowest && level <= LZ4_LEVELS.highest;
}

/** Earlier positions that a level looks at for each. Throws AccelError `usage` for a level that LZ4 does not have. */
export function lz4Attempts(level: number): number {
  if (isLz4Level(level)) return 2 ** (level - 1);
  throw new AccelError('usage', 'no such LZ4 level', {
    expected: `${LZ4_LEVELS.lowest} to ${LZ4_LEVELS.highest}`,
    found: level,
  });
}
