/**
 * The names that hosted conversion services give to their conversion of a tag. No format asks for it; users do, and whoever reads or
 * writes accelerated images has to know the names.
 */

/** Suffix of the tag that each mode makes by default. */
export const ACCELERATED_SUFFIX = '_accelerated';

/** Suffix of the second tag of full mode: containerd only, needs the base image. */
export const CONTAINERD_SUFFIX = '_containerd_accelerated';

/** Both, the longer one first: it ends in the shorter one. */
export const TAG_SUFFIXES = [CONTAINERD_SUFFIX, ACCELERATED_SUFFIX] as const;
