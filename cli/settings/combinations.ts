/** Flags that go with others or not: a value of a lower place gives way, where the command line would be a mistake. */
import { isLz4Level } from '../../formats/kernels/lz4-levels.ts';
import type { Setting } from './setting.ts';

/** The flags of `accel convert` that ask for many images, and those that speak of one. */
const OF_MANY: readonly string[] = ['--from', '--tags', '--repository-pattern', '--rules'];
const OF_ONE: readonly string[] = [
  '--input-tag',
  '--input-digest',
  '--output-tag',
  '--overlaybd',
  '--turboOCI',
  '--fastoci',
  '--dump-manifest',
];

/** Flags of which one makes the other pointless, beside those that commander knows to conflict. */
const EXCLUSIVE: readonly (readonly [readonly string[], readonly string[]])[] = [
  [['--quiet'], ['--verbose']],
  [['--turboOCI'], ['--fastoci']],
  [['--no-prefetch'], ['--prefetch-path']],
  [['--dry-run'], ['--yes']],
  [OF_MANY, OF_ONE],
  [['--from'], ['--repository', '--tags', '--exclude', '--repository-pattern', '--rules']],
  [['--repository'], ['--repository-pattern', '--rules']],
];

/** Flags that say nothing without one of others. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  '--prefetch-format': ['--prefetch', '--prefetch-path'],
  '--prefetch-strict': ['--prefetch', '--prefetch-path'],
  '--password-stdin': ['--username'],
  '--exclude': OF_MANY,
  '--exclude-repository': OF_MANY,
  '--fail-fast': OF_MANY,
  '--report': OF_MANY,
};

/** Every flag that is named here; a test asks for each of them. */
export const COMBINED_FLAGS: readonly string[] = [...EXCLUSIVE.flat(2), ...Object.entries(NEEDS).flat(2)];

/** Whether two settings exclude each other. */
export function exclude(one: Setting, other: Setting): boolean {
  const names = ({ option }: Setting): readonly string[] =>
    // Commander has no other way to ask for it.
    (option as unknown as { conflictsWith: readonly string[] }).conflictsWith;
  return (
    names(one).includes(other.attribute) ||
    names(other).includes(one.attribute) ||
    EXCLUSIVE.some(
      ([left, right]) =>
        (left.includes(one.flag) && right.includes(other.flag)) ||
        (left.includes(other.flag) && right.includes(one.flag)),
    )
  );
}

/** The algorithm in effect, and the one that the place of a level names, if any. */
export interface Compressions {
  readonly inEffect: unknown;
  readonly ofPlace: unknown;
}

/** Whether a setting says something beside those that are given. */
export function applies({ flag }: Setting, given: ReadonlySet<string>): boolean {
  return NEEDS[flag]?.some((needed) => given.has(needed)) ?? true;
}

/**
 * Whether a level of some place says something: levels of one algorithm are not those of another. A level beside its
 * algorithm does in any case, so that a wrong one is noticed.
 */
export function levelApplies(level: unknown, { inEffect, ofPlace }: Compressions): boolean {
  if (ofPlace !== undefined) return ofPlace === inEffect;
  return inEffect !== 'lz4' || isLz4Level(Number(level));
}
